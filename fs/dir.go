package fs

import (
	"errors"
	"syscall"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Offsets in directories. Those of a tree's entries are archive's cookies,
// which are greater; a synthetic directory's entries follow by position.
const (
	afterDot    = 1
	afterDotDot = 2
	firstCookie = 16
)

// A listing is what a synthetic directory held when it was read from the start.
type listing struct {
	entries []fuse.DirEntry
}

func (f *filesystem) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n, st := f.node(in.NodeId)
	switch {
	case st != fuse.OK:
		return st
	case n.kind == kindInode:
		// The kernel drops what it cached when it changes the directory.
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_CACHE_DIR
		f.use.opened()
		return fuse.OK
	case n.kind == kindLatest:
		return fuse.ENOTDIR
	}
	out.Fh = f.dirs.add(&listing{})
	f.use.opened()
	return fuse.OK
}

func (f *filesystem) ReleaseDir(in *fuse.ReleaseIn) {
	f.dirs.remove(in.Fh)
	f.use.closed()
}

// FsyncDir makes a directory's names durable; of the mount's own directories,
// everything.
func (f *filesystem) FsyncDir(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	n, st := f.node(in.NodeId)
	if st != fuse.OK {
		return st
	}
	var err error
	if n.kind == kindInode {
		err = n.view.tree.SyncDir(f.ctx, n.ino)
	} else {
		err = f.repo.Sync(f.ctx)
	}
	return f.status("fsyncdir", in.NodeId, err)
}

func (f *filesystem) ReadDir(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, out, false)
}

func (f *filesystem) ReadDirPlus(_ <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return f.readDir(in, out, true)
}

func (f *filesystem) readDir(in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	n, st := f.node(in.NodeId)
	if st != fuse.OK {
		return st
	}
	if n.kind != kindInode {
		return f.readList(n, in, out, plus)
	}
	t := n.view.tree
	if in.Offset < afterDotDot {
		above, err := f.above(n)
		if err != nil {
			return f.status("readdir", in.NodeId, err)
		}
		if !addDots(out, in.Offset, n.view.stIno(n.ino), above, plus) {
			return fuse.OK
		}
	}
	cookie := in.Offset
	if cookie < firstCookie {
		cookie = 0
	}
	var small []nodeID
	err := t.ReadDir(f.ctx, n.ino, cookie, plus, func(e archive.Entry) bool {
		d := fuse.DirEntry{Name: e.Name, Ino: n.view.stIno(e.Ino), Mode: e.Mode, Off: e.Cookie}
		if !plus {
			return out.AddDirEntry(d)
		}
		eo := out.AddDirLookupEntry(d)
		if eo == nil {
			return false
		}
		n.view.entry(eo, e.Attr)
		if f.prefetch.worth(n.view, e.Attr) {
			small = append(small, n.view.id(e.Ino))
		}
		return true
	})
	f.prefetch.listed(n.id, small)
	return f.status("readdir", in.NodeId, err)
}

// addDots adds . and .. where offset says that they haven't been read yet, and
// tells whether there was room.
func addDots(out *fuse.DirEntryList, offset, self, above uint64, plus bool) bool {
	if offset < afterDot && !add(out, fuse.DirEntry{Name: ".", Ino: self, Mode: syscall.S_IFDIR, Off: afterDot}, plus) {
		return false
	}
	return offset >= afterDotDot ||
		add(out, fuse.DirEntry{Name: "..", Ino: above, Mode: syscall.S_IFDIR, Off: afterDotDot}, plus)
}

// add adds an entry without its node, which the kernel looks up when it wants.
func add(out *fuse.DirEntryList, e fuse.DirEntry, plus bool) bool {
	if !plus {
		return out.AddDirEntry(e)
	}
	return out.AddDirLookupEntry(e) != nil
}

// above returns the st_ino of the directory that a directory of a tree is in.
func (f *filesystem) above(n node) (uint64, error) {
	if n.ino != n.view.top {
		a, err := n.view.tree.LookupParent(f.ctx, n.ino)
		if err != nil {
			if errors.Is(err, archive.ErrNotExist) { // it was removed, but is still open
				return n.view.stIno(n.ino), nil
			}
			return 0, err
		}
		n.view.tree.Forget(a.Ino, 1)
		return n.view.stIno(a.Ino), nil
	}
	if n.view == f.single {
		return n.view.stIno(n.ino), nil
	}
	k, ino := n.view.above.kind()
	if k == kindSnapshots {
		if live := f.views.get(n.view.above.view()); live != nil {
			return live.stIno(snapshotsFlag | ino), nil
		}
	}
	return uint64(n.view.above), nil
}

// readList reads a synthetic directory. Reading from the start takes stock
// anew; from there on positions stay what they are.
func (f *filesystem) readList(n node, in *fuse.ReadIn, out *fuse.DirEntryList, plus bool) fuse.Status {
	l := f.dirs.get(in.Fh)
	if l == nil {
		return fuse.EBADF
	}
	if in.Offset == 0 {
		entries, err := f.list(n)
		if err != nil {
			return f.status("readdir", in.NodeId, err)
		}
		l.entries = entries
	}
	for i := in.Offset; i < uint64(len(l.entries)); i++ {
		e := l.entries[i]
		e.Off = i + 1
		if !add(out, e, plus) {
			break
		}
	}
	return fuse.OK
}

// list returns all entries of a synthetic directory.
func (f *filesystem) list(n node) ([]fuse.DirEntry, error) {
	self, above, err := f.dots(n)
	if err != nil {
		return nil, err
	}
	entries := []fuse.DirEntry{
		{Name: ".", Ino: self, Mode: syscall.S_IFDIR},
		{Name: "..", Ino: above, Mode: syscall.S_IFDIR},
	}
	dir := func(name string, number uint32, ino archive.Ino) {
		entries = append(entries, fuse.DirEntry{Name: name, Ino: uint64(makeID(number, ino)), Mode: syscall.S_IFDIR})
	}
	switch n.kind {
	case kindRoot:
		entries = append(entries, fuse.DirEntry{Name: archivesName, Ino: uint64(snapshotsNode), Mode: syscall.S_IFDIR})
		for _, i := range f.repo.Archives() {
			if !i.Removed {
				dir(i.Name, i.Number, archive.RootIno)
			}
		}
	case kindArchives:
		for _, i := range f.repo.Archives() {
			entries = append(entries, fuse.DirEntry{Name: i.Name, Ino: uint64(archiveNode(i.Number)), Mode: syscall.S_IFDIR})
		}
	case kindArchive:
		all, err := f.snapshots(uint32(n.ino))
		if err != nil {
			return nil, err
		}
		for _, s := range all {
			dir(s.Name, s.Number, archive.RootIno)
		}
		if len(all) > 0 {
			entries = append(entries, fuse.DirEntry{Name: latestName, Ino: uint64(latestNode(uint32(n.ino))), Mode: syscall.S_IFLNK})
		}
	case kindSnapshots:
		err = f.eachVersion(n, func(s archive.Snapshot, ino archive.Ino) { dir(s.Name, s.Number, ino) })
	}
	return entries, err
}

// dots returns the st_ino of a synthetic directory and of the one above it.
func (f *filesystem) dots(n node) (self, above uint64, err error) {
	switch n.kind {
	case kindSnapshots:
		return n.view.stIno(snapshotsFlag | n.ino), n.view.stIno(n.ino), nil
	case kindArchive:
		return uint64(n.id), uint64(snapshotsNode), nil
	}
	return uint64(n.id), uint64(rootNode), nil
}

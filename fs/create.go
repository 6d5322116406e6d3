package fs

import (
	"errors"
	"log/slog"
	"syscall"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// parent resolves a directory that a name is to appear in or go from. Only the
// directories of live trees take any: the mount's root refuses with EPERM, all
// others with EROFS.
func (f *filesystem) parent(raw uint64, name string) (*view, archive.Ino, fuse.Status) {
	n, st := f.node(raw)
	switch {
	case st != fuse.OK:
		return nil, 0, st
	case n.kind == kindRoot:
		f.log.Warn("only archives live at the mount's root: make a directory there and put files into it",
			slog.String("name", name))
		return nil, 0, fuse.EPERM
	case n.kind != kindInode || !n.view.live:
		return nil, 0, fuse.EROFS
	case name == snapshotsName:
		return nil, 0, eexist
	}
	return n.view, n.ino, fuse.OK
}

// creation works out what a new inode in dir is like: the group and the
// set-group-ID bit come from a set-group-ID directory (inode_init_owner in the
// kernel), permissions and ACLs as inherit says.
func (f *filesystem) creation(t *archive.Tree, dir archive.Ino, in *fuse.InHeader, mode, umask uint32) (archive.Creation, error) {
	d, err := t.Attr(f.ctx, dir)
	if err != nil {
		return archive.Creation{}, err
	}
	acl, err := t.Getxattr(f.ctx, dir, aclDefault)
	if err != nil && !errors.Is(err, archive.ErrNoAttr) {
		return archive.Creation{}, err
	}
	c := archive.Creation{UID: in.Uid, GID: in.Gid}
	if c.Mode, c.Xattrs, err = inherit(acl, mode, umask); err != nil {
		return archive.Creation{}, errors.Join(archive.ErrDamaged, err)
	}
	if d.Mode&syscall.S_ISGID != 0 {
		c.GID = d.GID
		if mode&syscall.S_IFMT == syscall.S_IFDIR {
			c.Mode |= syscall.S_ISGID
		}
	}
	return c, nil
}

func (f *filesystem) mknod(in *fuse.InHeader, name string, mode, umask, rdev uint32, out *fuse.EntryOut) fuse.Status {
	v, dir, st := f.parent(in.NodeId, name)
	if st != fuse.OK {
		return st
	}
	c, err := f.creation(v.tree, dir, in, mode, umask)
	if err != nil {
		return f.status("create", in.NodeId, err)
	}
	c.Rdev = rdev
	a, err := v.tree.Mknod(f.ctx, dir, name, c)
	if err != nil {
		return f.status("create", in.NodeId, err)
	}
	v.entry(out, &a)
	return fuse.OK
}

func (f *filesystem) Mknod(_ <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return f.mknod(&in.InHeader, name, in.Mode, in.Umask, in.Rdev, out)
}

// Mkdir makes a directory; at the mount's root an archive; among snapshots a
// snapshot.
func (f *filesystem) Mkdir(_ <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	n, st := f.node(in.NodeId)
	if st != fuse.OK {
		return st
	}
	i, isShelf, err := f.shelf(n)
	switch {
	case err != nil:
	case isShelf:
		err = f.takeSnapshot(n, i, name, out)
	case n.kind == kindRoot:
		err = f.makeArchive(in, name, out)
	default:
		return f.mknod(&in.InHeader, name, syscall.S_IFDIR|in.Mode&0o7777, in.Umask, 0, out)
	}
	return f.status("mkdir", in.NodeId, err)
}

func (f *filesystem) makeArchive(in *fuse.MkdirIn, name string, out *fuse.EntryOut) error {
	if name == archivesName || name == snapshotsName {
		return archive.ErrExist
	}
	t, err := f.repo.CreateArchive(f.ctx, name, archive.Creation{
		Mode: archive.ModeDir | in.Mode&0o7777&^in.Umask, UID: in.Uid, GID: in.Gid,
	})
	if err != nil {
		return err
	}
	return f.enterTree(t, true, rootNode, name, out)
}

func (f *filesystem) Symlink(_ <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	v, dir, st := f.parent(in.NodeId, name)
	if st != fuse.OK {
		return st
	}
	c, err := f.creation(v.tree, dir, in, archive.ModeSymlink, 0)
	if err != nil {
		return f.status("symlink", in.NodeId, err)
	}
	a, err := v.tree.Symlink(f.ctx, dir, name, target, c)
	if err != nil {
		return f.status("symlink", in.NodeId, err)
	}
	v.entry(out, &a)
	return fuse.OK
}

// Link gives an inode, also one made by O_TMPFILE, a name.
func (f *filesystem) Link(_ <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	v, dir, st := f.parent(in.NodeId, name)
	if st != fuse.OK {
		return st
	}
	from, ino, st := f.inode(in.Oldnodeid, fuse.EXDEV)
	if st != fuse.OK {
		return st
	}
	if from != v {
		return fuse.EXDEV
	}
	a, err := v.tree.Link(f.ctx, ino, dir, name)
	if err != nil {
		return f.status("link", in.NodeId, err)
	}
	v.entry(out, &a)
	return fuse.OK
}

// Create makes a file and opens it. The kernel sends it for names that it
// thinks absent; should one be there after all, it is opened.
func (f *filesystem) Create(_ <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	v, dir, st := f.parent(in.NodeId, name)
	if st != fuse.OK {
		return st
	}
	c, err := f.creation(v.tree, dir, &in.InHeader, syscall.S_IFREG|in.Mode&0o7777, in.Umask)
	if err != nil {
		return f.status("create", in.NodeId, err)
	}
	a, err := v.tree.Mknod(f.ctx, dir, name, c)
	made := err == nil
	if errors.Is(err, archive.ErrExist) && in.Flags&syscall.O_EXCL == 0 {
		a, err = v.tree.Lookup(f.ctx, dir, name)
	}
	if err != nil {
		return f.status("create", in.NodeId, err)
	}
	if !made && in.Flags&syscall.O_TRUNC != 0 {
		a, err = v.tree.SetAttr(f.ctx, a.Ino, truncated(in.OpenFlags))
	}
	if err == nil {
		err = f.open(v, a.Ino, in.Flags, &out.OpenOut)
	}
	if err != nil {
		v.tree.Forget(a.Ino, 1)
		return f.status("create", in.NodeId, err)
	}
	v.entry(&out.EntryOut, &a)
	return fuse.OK
}

// Tmpfile makes a file without a name (O_TMPFILE) and opens it.
func (f *filesystem) Tmpfile(_ <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	v, dir, st := f.parent(in.NodeId, "")
	if st != fuse.OK {
		return st
	}
	c, err := f.creation(v.tree, dir, &in.InHeader, syscall.S_IFREG|in.Mode&0o7777, in.Umask)
	if err != nil {
		return f.status("tmpfile", in.NodeId, err)
	}
	a, err := v.tree.Tmpfile(f.ctx, dir, c)
	if err != nil {
		return f.status("tmpfile", in.NodeId, err)
	}
	if err := f.open(v, a.Ino, in.Flags, &out.OpenOut); err != nil {
		v.tree.Forget(a.Ino, 1)
		return f.status("tmpfile", in.NodeId, err)
	}
	v.entry(&out.EntryOut, &a)
	return fuse.OK
}

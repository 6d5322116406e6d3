package fs

import (
	"errors"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Lookup answers one name of one directory. An absent name in a tree is told as
// an entry without a node, so that the kernel remembers it: only the kernel
// makes names there.
func (f *filesystem) Lookup(_ <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	n, st := f.node(in.NodeId)
	if st != fuse.OK {
		return st
	}
	var err error
	switch n.kind {
	case kindInode:
		err = f.lookupInode(n, name, out)
		if errors.Is(err, archive.ErrNotExist) {
			*out = fuse.EntryOut{}
			out.SetEntryTimeout(forever)
			return fuse.OK
		}
	case kindSnapshots:
		err = f.lookupSnapshot(n, name, out)
	case kindRoot:
		err = f.lookupRoot(name, out)
	case kindArchives:
		err = f.lookupArchives(name, out)
	case kindArchive:
		err = f.lookupArchive(n, name, out)
	default:
		err = archive.ErrNotDir
	}
	return f.status("lookup", in.NodeId, err)
}

func (f *filesystem) lookupInode(n node, name string, out *fuse.EntryOut) error {
	v := n.view
	if name == snapshotsName && v.live {
		return f.synthetic(node{kind: kindSnapshots, id: v.id(snapshotsFlag | n.ino), view: v, ino: n.ino}, out)
	}
	a, err := v.tree.Lookup(f.ctx, n.ino, name)
	if err != nil {
		return err
	}
	v.entry(out, &a)
	return nil
}

// lookupSnapshot finds n's directory in a snapshot.
func (f *filesystem) lookupSnapshot(n node, name string, out *fuse.EntryOut) error {
	i, err := f.archive(n.view.tree.Number())
	if err != nil {
		return err
	}
	t, err := f.repo.SnapshotTree(f.ctx, i.Name, name)
	if err != nil {
		return err
	}
	path, err := n.view.tree.Path(f.ctx, n.ino)
	if err != nil {
		return err
	}
	a, err := f.walk(t, path)
	if err != nil {
		return err
	}
	v, err := f.views.enterBy(way{n.view.number, n.ino, t.Number()}, t, a.Ino, name)
	if err != nil {
		t.Forget(a.Ino, 1)
		return err
	}
	v.show(out, &a)
	out.SetEntryTimeout(briefly)
	return nil
}

func (f *filesystem) lookupRoot(name string, out *fuse.EntryOut) error {
	if name == archivesName {
		return f.synthetic(node{kind: kindArchives, id: snapshotsNode}, out)
	}
	t, err := f.repo.Live(name)
	if err != nil {
		return err
	}
	return f.enterTree(t, true, rootNode, name, out)
}

func (f *filesystem) lookupArchives(name string, out *fuse.EntryOut) error {
	for _, i := range f.repo.Archives() {
		if i.Name == name {
			return f.synthetic(node{kind: kindArchive, id: archiveNode(i.Number), ino: archive.Ino(i.Number)}, out)
		}
	}
	return archive.ErrNotExist
}

func (f *filesystem) lookupArchive(n node, name string, out *fuse.EntryOut) error {
	number := uint32(n.ino)
	if name == latestName {
		return f.synthetic(node{kind: kindLatest, id: latestNode(number), ino: n.ino}, out)
	}
	i, err := f.archive(number)
	if err != nil {
		return err
	}
	t, err := f.repo.SnapshotTree(f.ctx, i.Name, name)
	if err != nil {
		return err
	}
	return f.enterTree(t, false, n.id, name, out)
}

// enterTree answers with a tree's root.
func (f *filesystem) enterTree(t *archive.Tree, live bool, above nodeID, name string, out *fuse.EntryOut) error {
	v := f.views.enter(t, live, above, name)
	a, err := v.tree.Attr(f.ctx, archive.RootIno)
	if err != nil {
		f.views.lose(v, 1)
		return err
	}
	v.show(out, &a)
	out.Generation = v.generation
	out.SetEntryTimeout(briefly)
	return nil
}

// synthetic answers with a directory, or link, that is in no tree.
func (f *filesystem) synthetic(n node, out *fuse.EntryOut) error {
	a, ino, valid, err := f.attr(n)
	if err != nil {
		return err
	}
	if n.view != nil {
		n.view.gain()
	}
	*out = fuse.EntryOut{NodeId: uint64(n.id)}
	out.SetEntryTimeout(briefly)
	out.SetAttrTimeout(valid)
	fill(&out.Attr, &a, ino)
	return nil
}

// Forget takes references back. It does no I/O and doesn't fail.
func (f *filesystem) Forget(raw, n uint64) {
	k, ino := nodeID(raw).kind()
	if k != kindInode && k != kindSnapshots {
		return
	}
	v := f.views.get(nodeID(raw).view())
	if v == nil {
		return
	}
	if k == kindInode {
		v.tree.Forget(ino, n)
	}
	f.views.lose(v, n)
}

func (f *filesystem) Readlink(_ <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	n, st := f.node(in.NodeId)
	if st != fuse.OK {
		return nil, st
	}
	var (
		target string
		err    error
	)
	switch n.kind {
	case kindInode:
		target, err = n.view.tree.Readlink(f.ctx, n.ino)
	case kindLatest:
		target, err = f.latest(uint32(n.ino))
	default:
		err = archive.ErrInvalid
	}
	if err != nil {
		return nil, f.status("readlink", in.NodeId, err)
	}
	return []byte(target), fuse.OK
}

package fs

import (
	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func (f *filesystem) Unlink(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	v, dir, st := f.parent(in.NodeId, name)
	if st == eexist { // .snapshots
		return fuse.EPERM
	}
	if st != fuse.OK {
		return st
	}
	return f.status("unlink", in.NodeId, v.tree.Unlink(f.ctx, dir, name))
}

// Rmdir removes a directory; at the mount's root an empty archive; among
// snapshots a snapshot, whatever it holds.
func (f *filesystem) Rmdir(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	n, st := f.node(in.NodeId)
	if st != fuse.OK {
		return st
	}
	i, isShelf, err := f.shelf(n)
	switch {
	case err != nil:
	case isShelf && name == latestName:
		return fuse.EROFS
	case isShelf:
		err = f.repo.DeleteSnapshot(f.ctx, i.Name, name)
	case n.kind == kindRoot && name == archivesName:
		return fuse.EPERM
	case n.kind == kindRoot:
		err = f.repo.RemoveArchive(f.ctx, name)
	case n.kind != kindInode || !n.view.live:
		return fuse.EROFS
	case name == snapshotsName:
		return fuse.EPERM
	default:
		err = n.view.tree.Rmdir(f.ctx, n.ino, name)
	}
	return f.status("rmdir", in.NodeId, err)
}

// Rename moves a name within a tree; renames an archive at the mount's root,
// and a snapshot among the others of its archive.
func (f *filesystem) Rename(_ <-chan struct{}, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	from, st := f.node(in.NodeId)
	if st != fuse.OK {
		return st
	}
	to, st := f.node(in.Newdir)
	if st != fuse.OK {
		return st
	}
	i, isShelf, err := f.shelf(from)
	switch {
	case err != nil:
	case from.kind != to.kind || from.view != to.view:
		return fuse.EXDEV
	case from.kind == kindInode && !from.view.live:
		return fuse.EROFS
	case from.kind == kindInode && (oldName == snapshotsName || newName == snapshotsName):
		return fuse.EPERM
	case from.kind == kindInode:
		err = from.view.tree.Rename(f.ctx, from.ino, oldName, to.ino, newName, in.Flags)
	case from.ino != to.ino:
		return fuse.EXDEV
	case in.Flags&^archive.RenameNoReplace != 0:
		return fuse.EINVAL
	case isShelf && (oldName == latestName || newName == latestName):
		return fuse.EROFS
	case isShelf && newName == snapshotsName:
		return eexist
	case isShelf:
		err = f.repo.RenameSnapshot(f.ctx, i.Name, oldName, newName)
	case from.kind == kindRoot && (isReserved(oldName) || isReserved(newName)):
		return fuse.EPERM
	case from.kind == kindRoot:
		err = f.repo.RenameArchive(f.ctx, oldName, newName)
	default:
		return fuse.EROFS
	}
	return f.status("rename", in.NodeId, err)
}

// isReserved tells whether the mount gives a name a meaning of its own.
func isReserved(name string) bool { return name == archivesName || name == snapshotsName }

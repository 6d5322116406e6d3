package fs

import (
	"errors"
	"strings"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// isStored tells whether attributes of that name can be kept. Of the system
// namespace that is ACLs: the rest means something to particular filesystems.
func isStored(name string) bool {
	return !strings.HasPrefix(name, "system.") || name == aclAccess || name == aclDefault
}

func (f *filesystem) GetXAttr(_ <-chan struct{}, in *fuse.InHeader, name string, dest []byte) (uint32, fuse.Status) {
	if !isStored(name) {
		return 0, eopnotsupp
	}
	v, ino, st := f.inode(in.NodeId, fuse.ENODATA)
	if st != fuse.OK {
		return 0, st
	}
	value, err := v.tree.Getxattr(f.ctx, ino, name)
	if errors.Is(err, archive.ErrNoAttr) { // the usual answer, once a new file
		return 0, fuse.ENODATA
	}
	if err != nil {
		return 0, f.status("getxattr", in.NodeId, err)
	}
	return answer(dest, value)
}

// answer copies value as getxattr(2) does: a short dest only learns the size.
func answer(dest, value []byte) (uint32, fuse.Status) {
	if len(value) > len(dest) {
		return uint32(len(value)), fuse.ERANGE
	}
	return uint32(copy(dest, value)), fuse.OK
}

func (f *filesystem) ListXAttr(_ <-chan struct{}, in *fuse.InHeader, dest []byte) (uint32, fuse.Status) {
	n, st := f.node(in.NodeId)
	if st != fuse.OK || n.kind != kindInode {
		return 0, st
	}
	names, err := n.view.tree.Listxattr(f.ctx, n.ino)
	if err != nil {
		return 0, f.status("listxattr", in.NodeId, err)
	}
	// xattr(7): trusted attributes aren't visible to ordinary processes. The
	// caller is unknown (-1) where the mount is id-mapped.
	ordinary := in.Uid != 0 && in.Uid != ^uint32(0)
	var list []byte
	for _, name := range names {
		if ordinary && strings.HasPrefix(name, "trusted.") {
			continue
		}
		list = append(append(list, name...), 0)
	}
	return answer(dest, list)
}

func (f *filesystem) SetXAttr(_ <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) fuse.Status {
	if !isStored(name) {
		return eopnotsupp
	}
	v, ino, st := f.inode(in.NodeId, fuse.EROFS)
	if st != fuse.OK {
		return st
	}
	var err error
	switch name {
	case aclAccess:
		err = f.setAccessACL(v.tree, ino, value, in.SetXAttrFlags&fuse.SETXATTR_ACL_KILL_SGID != 0)
	case aclDefault:
		err = f.setDefaultACL(v.tree, ino, value)
	default:
		err = v.tree.Setxattr(f.ctx, ino, name, value, in.Flags)
	}
	return f.status("setxattr", in.NodeId, err)
}

// capability is the attribute that the kernel removes before a file changes.
const capability = "security.capability"

func (f *filesystem) RemoveXAttr(_ <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	if !isStored(name) {
		return eopnotsupp
	}
	v, ino, st := f.inode(in.NodeId, fuse.EROFS)
	if st != fuse.OK {
		return st
	}
	err := v.tree.Removexattr(f.ctx, ino, name)
	if name == capability {
		f.stripped.Store(in.NodeId)
	}
	if errors.Is(err, archive.ErrNoAttr) && (name == aclAccess || name == aclDefault) {
		return fuse.OK // as ext4: acl_delete_def_file(3) of none succeeds
	}
	return f.status("removexattr", in.NodeId, err)
}

package fs

import (
	"syscall"
	"time"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// fill makes out show a, with st as its inode number.
func fill(out *fuse.Attr, a *archive.Attr, st uint64) {
	*out = fuse.Attr{
		Ino:       st,
		Size:      a.Size,
		Blocks:    a.Blocks,
		Atime:     uint64(a.Atime.Sec), // the kernel takes it back as signed
		Mtime:     uint64(a.Mtime.Sec),
		Ctime:     uint64(a.Ctime.Sec),
		Atimensec: a.Atime.Nsec,
		Mtimensec: a.Mtime.Nsec,
		Ctimensec: a.Ctime.Nsec,
		Mode:      a.Mode,
		Nlink:     a.Nlink,
		Owner:     fuse.Owner{Uid: a.UID, Gid: a.GID},
		Rdev:      a.Rdev,
		Blksize:   blockSize,
	}
}

// entry makes out show an inode of v whose reference the kernel gets, and
// counts that.
func (v *view) entry(out *fuse.EntryOut, a *archive.Attr) {
	v.gain()
	v.show(out, a)
}

// show is entry for a reference that v has counted already.
func (v *view) show(out *fuse.EntryOut, a *archive.Attr) {
	*out = fuse.EntryOut{NodeId: uint64(v.id(a.Ino)), Generation: a.Generation}
	out.SetEntryTimeout(forever)
	out.SetAttrTimeout(forever)
	fill(&out.Attr, a, v.stIno(a.Ino))
}

// attr returns the attributes of any node, its st_ino, and how long they are
// good.
func (f *filesystem) attr(n node) (archive.Attr, uint64, time.Duration, error) {
	switch n.kind {
	case kindInode:
		a, err := n.view.tree.Attr(f.ctx, n.ino)
		return a, n.view.stIno(n.ino), forever, err
	case kindSnapshots:
		a, err := snapshotsAttr(f.ctx, n.view.tree)
		return a, n.view.stIno(snapshotsFlag | n.ino), briefly, err
	case kindLatest:
		a, err := f.latestAttr(uint32(n.ino))
		return a, uint64(n.id), 0, err
	case kindArchive:
		a, err := f.archiveAttr(uint32(n.ino))
		return a, uint64(n.id), briefly, err
	}
	f.root.mu.Lock()
	defer f.root.mu.Unlock()
	return f.root.attr, uint64(n.id), briefly, nil
}

func (f *filesystem) GetAttr(_ <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, st := f.node(in.NodeId)
	if st != fuse.OK {
		return st
	}
	a, ino, valid, err := f.attr(n)
	if err != nil {
		return f.status("getattr", in.NodeId, err)
	}
	out.SetTimeout(valid)
	fill(&out.Attr, &a, ino)
	return fuse.OK
}

// What Statx fills: everything of stat(2), and the birth time.
const statxMask = 0x7ff | 0x800 // STATX_BASIC_STATS, STATX_BTIME

// Statx is sent only for what stat(2) hasn't: the birth time.
func (f *filesystem) Statx(_ <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	n, st := f.node(in.NodeId)
	if st != fuse.OK {
		return st
	}
	a, ino, valid, err := f.attr(n)
	if err != nil {
		return f.status("statx", in.NodeId, err)
	}
	out.SetTimeout(valid)
	out.Statx = fuse.Statx{
		Mask:    statxMask,
		Blksize: blockSize,
		Nlink:   a.Nlink,
		Uid:     a.UID,
		Gid:     a.GID,
		Mode:    uint16(a.Mode),
		Ino:     ino,
		Size:    a.Size,
		Blocks:  a.Blocks,
		Atime:   statxTime(a.Atime),
		Btime:   statxTime(a.Btime),
		Ctime:   statxTime(a.Ctime),
		Mtime:   statxTime(a.Mtime),
		// The kernel's layout of a device number is that of makedev(3) below
		// 32 bits: 12 bits of major above 8 bits of minor, and 12 more.
		RdevMajor: a.Rdev >> 8 & 0xfff,
		RdevMinor: a.Rdev&0xff | a.Rdev>>12&0xfff00,
	}
	return fuse.OK
}

func statxTime(t archive.Time) fuse.SxTime { return fuse.SxTime{Sec: uint64(t.Sec), Nsec: t.Nsec} }

func (f *filesystem) SetAttr(_ <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, st := f.node(in.NodeId)
	if st != fuse.OK {
		return st
	}
	var (
		a   archive.Attr
		ino = uint64(n.id)
		err error
	)
	c := changeOf(in, time.Now())
	switch n.kind {
	case kindInode:
		out.SetTimeout(forever)
		if c == (archive.Change{}) {
			// chown(2) to nobody in particular, or a write will follow for which
			// set-user-ID bits have to go: the kernel won't ask for the mode after
			// that. But the write of root to a file with capabilities, which the
			// kernel has just removed, leaves the bits.
			c.KillSUIDGID = in.Uid != 0 || f.stripped.Swap(0) != in.NodeId
			out.SetTimeout(0)
		}
		ino = n.view.stIno(n.ino)
		a, err = f.change(n, c)
	case kindRoot:
		a, err = f.changeRoot(c)
		out.SetTimeout(briefly)
	default:
		return fuse.EROFS
	}
	if err != nil {
		return f.status("setattr", in.NodeId, err)
	}
	fill(&out.Attr, &a, ino)
	return fuse.OK
}

// changeOf translates a SETATTR.
func changeOf(in *fuse.SetAttrIn, now time.Time) archive.Change {
	c := archive.Change{KillSUIDGID: in.Valid&fuse.FATTR_KILL_SUIDGID != 0}
	if m, ok := in.GetMode(); ok {
		c.Mode = &m
	}
	if u, ok := in.GetUID(); ok {
		c.UID = &u
	}
	if g, ok := in.GetGID(); ok {
		c.GID = &g
	}
	if s, ok := in.GetSize(); ok {
		c.Size = &s
	}
	stamp := func(bit, nowBit uint32, sec uint64, nsec uint32) *archive.Time {
		switch {
		case in.Valid&bit == 0:
			return nil
		case in.Valid&nowBit != 0:
			t := archive.TimeOf(now)
			return &t
		}
		return &archive.Time{Sec: int64(sec), Nsec: nsec}
	}
	c.Atime = stamp(fuse.FATTR_ATIME, fuse.FATTR_ATIME_NOW, in.Atime, in.Atimensec)
	c.Mtime = stamp(fuse.FATTR_MTIME, fuse.FATTR_MTIME_NOW, in.Mtime, in.Mtimensec)
	c.Ctime = stamp(fuse.FATTR_CTIME, 0, in.Ctime, in.Ctimensec)
	return c
}

// change changes an inode, its ACL included.
func (f *filesystem) change(n node, c archive.Change) (archive.Attr, error) {
	t := n.view.tree
	if c == (archive.Change{}) {
		return t.Attr(f.ctx, n.ino)
	}
	if (c.UID != nil || c.GID != nil) && c.Mode == nil {
		// chown(2) drops them whoever calls it (notify_change in the kernel);
		// with HANDLE_KILLPRIV_V2 that is up to us. Directories keep theirs.
		a, err := t.Attr(f.ctx, n.ino)
		if err != nil {
			return a, err
		}
		c.KillSUIDGID = a.Mode&syscall.S_IFMT != syscall.S_IFDIR
	}
	if c.Mode != nil {
		if err := f.chmodACL(t, n.ino, *c.Mode); err != nil {
			return archive.Attr{}, err
		}
	}
	return t.SetAttr(f.ctx, n.ino, c)
}

// changeRoot changes the mount root's attributes, for as long as it is mounted.
func (f *filesystem) changeRoot(c archive.Change) (archive.Attr, error) {
	f.root.mu.Lock()
	defer f.root.mu.Unlock()
	a := &f.root.attr
	if c.Size != nil {
		return *a, archive.ErrIsDir
	}
	if c.Mode != nil {
		a.Mode = archive.ModeDir | *c.Mode&0o7777
	}
	if c.UID != nil {
		a.UID = *c.UID
	}
	if c.GID != nil {
		a.GID = *c.GID
	}
	if c.Atime != nil {
		a.Atime = *c.Atime
	}
	if c.Mtime != nil {
		a.Mtime = *c.Mtime
	}
	a.Ctime = archive.TimeOf(time.Now())
	return *a, nil
}

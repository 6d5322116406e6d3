package fs

import (
	"errors"
	"io"
	"syscall"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Open opens a regular file: nothing else is sent here.
func (f *filesystem) Open(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	v, ino, st := f.inode(in.NodeId, fuse.EISDIR)
	if st != fuse.OK {
		return st
	}
	if in.Flags&syscall.O_TRUNC != 0 {
		if _, err := v.tree.SetAttr(f.ctx, ino, truncated(in.Mode)); err != nil {
			return f.status("open", in.NodeId, err)
		}
	}
	if !v.live {
		f.prefetch.opened(v.id(ino))
	}
	return f.status("open", in.NodeId, f.open(v, ino, in.Flags, out))
}

// truncated is what O_TRUNC does to an inode.
func truncated(openFlags uint32) archive.Change {
	var zero uint64
	return archive.Change{Size: &zero, KillSUIDGID: openFlags&fuse.OPEN_KILL_SUIDGID != 0}
}

// open opens an inode and fills in the handle. The kernel may keep what it has
// cached of the content: all writes come through it.
func (f *filesystem) open(v *view, ino archive.Ino, flags uint32, out *fuse.OpenOut) error {
	writable := flags&syscall.O_ACCMODE != syscall.O_RDONLY
	h, err := v.tree.Open(f.ctx, ino, writable)
	if err != nil {
		return err
	}
	out.Fh = f.files.add(&openFile{h, v.id(ino)})
	f.use.opened()
	// close(2) doesn't ask for FLUSH: it would find nothing that write(2) and
	// fsync(2) don't report, and costs a tenth of what a small file costs.
	out.OpenFlags = fuse.FOPEN_KEEP_CACHE | fuse.FOPEN_NOFLUSH
	return nil
}

func (f *filesystem) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	if h := f.files.remove(in.Fh); h != nil {
		h.Release()
		f.use.closed()
	}
}

func (f *filesystem) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	h := f.handle(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	n, err := h.ReadAt(f.ctx, buf[:min(len(buf), int(in.Size))], int64(in.Offset))
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, f.status("read", in.NodeId, err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (f *filesystem) Write(_ <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	h := f.handle(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	n, err := h.WriteAt(f.ctx, data, int64(in.Offset), in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0)
	if err != nil {
		return 0, f.status("write", in.NodeId, err)
	}
	return uint32(n), fuse.OK
}

// Flush is close(2), from kernels before 5.16, which don't know FOPEN_NOFLUSH.
func (f *filesystem) Flush(_ <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	h := f.handle(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	return f.status("flush", in.NodeId, h.Flush(f.ctx))
}

func (f *filesystem) Fsync(_ <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	h := f.handle(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	return f.status("fsync", in.NodeId, h.Sync(f.ctx))
}

// Lseek looks for data or a hole; the kernel does the other kinds itself.
func (f *filesystem) Lseek(_ <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	h := f.handle(in.Fh)
	switch {
	case h == nil:
		return fuse.EBADF
	case in.Whence != unix.SEEK_DATA && in.Whence != unix.SEEK_HOLE:
		return fuse.EINVAL
	}
	off, err := h.Seek(f.ctx, in.Offset, in.Whence == unix.SEEK_HOLE)
	if errors.Is(err, archive.ErrRange) {
		return enxio
	}
	if err != nil {
		return f.status("lseek", in.NodeId, err)
	}
	out.Offset = off
	return fuse.OK
}

func (f *filesystem) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	h := f.handle(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	return f.status("fallocate", in.NodeId, h.Allocate(f.ctx, in.Offset, in.Length, in.Mode))
}

// copyMax is how much one request copies at most: the answer has 32 bits.
const copyMax = 1 << 31

func (f *filesystem) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	src, dst := f.handle(in.FhIn), f.handle(in.FhOut)
	switch {
	case src == nil || dst == nil:
		return 0, fuse.EBADF
	case in.Flags != 0:
		return 0, fuse.EINVAL
	}
	n, err := src.CopyRange(f.ctx, in.OffIn, dst.File, in.OffOut, min(in.Len, copyMax))
	if err != nil {
		return 0, f.status("copy_file_range", in.NodeId, err)
	}
	return uint32(n), fuse.OK
}

package fs

import (
	"context"
	"errors"
	"log/slog"
	"syscall"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	eexist     = fuse.Status(syscall.EEXIST)
	enxio      = fuse.Status(syscall.ENXIO)
	estale     = fuse.Status(syscall.ESTALE)
	eopnotsupp = fuse.Status(syscall.EOPNOTSUPP)
	eio        = fuse.EIO
)

// errnos is what archive's errors are for the kernel. ErrDamaged and ErrClosed
// come first: an error may be of several kinds.
var errnos = [...]struct { //nolint:gochecknoglobals // a table that nothing writes
	err    error
	status syscall.Errno
	log    bool
}{
	{archive.ErrDamaged, syscall.EIO, true},
	{archive.ErrClosed, syscall.EIO, true},
	{archive.ErrNotExist, syscall.ENOENT, false},
	{archive.ErrExist, syscall.EEXIST, false},
	{archive.ErrNotDir, syscall.ENOTDIR, false},
	{archive.ErrIsDir, syscall.EISDIR, false},
	{archive.ErrNotEmpty, syscall.ENOTEMPTY, false},
	{archive.ErrReadOnly, syscall.EROFS, false},
	{archive.ErrNoSpace, syscall.ENOSPC, true},
	{archive.ErrNameTooLong, syscall.ENAMETOOLONG, false},
	{archive.ErrNoAttr, syscall.ENODATA, false},
	{archive.ErrInvalid, syscall.EINVAL, false},
	{archive.ErrTooManyLinks, syscall.EMLINK, false},
	{archive.ErrCrossArchive, syscall.EXDEV, false},
	{archive.ErrPermission, syscall.EPERM, false},
	{archive.ErrRange, syscall.ERANGE, false},
	{archive.ErrTooBig, syscall.EFBIG, false},
	{archive.ErrStale, syscall.ESTALE, false},
	{archive.ErrNotSupported, syscall.EOPNOTSUPP, false},
	{context.Canceled, syscall.EINTR, false},
	{context.DeadlineExceeded, syscall.ETIMEDOUT, true},
}

// errno turns an error of package archive into what the kernel is told, and
// says whether the log should have it too. It never answers ENOSYS, which
// would switch an operation off for the whole mount.
func errno(err error) (st fuse.Status, log bool) {
	if err == nil {
		return fuse.OK, false
	}
	for _, e := range errnos {
		if errors.Is(err, e.err) {
			return fuse.Status(e.status), e.log
		}
	}
	return eio, true
}

// status is errno with the line in the log.
func (f *filesystem) status(op string, node uint64, err error) fuse.Status {
	st, log := errno(err)
	if log {
		f.log.Error("operation failed", slog.String("op", op), slog.Uint64("node", node), slog.Any("error", err))
	}
	return st
}

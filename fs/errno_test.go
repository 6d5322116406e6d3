package fs

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestErrno(t *testing.T) {
	wrap := func(err error) error { return fmt.Errorf("read inode 7: %w", err) }
	for _, c := range []struct {
		err    error
		status syscall.Errno
		log    bool
	}{
		{nil, 0, false},
		{wrap(archive.ErrNotExist), syscall.ENOENT, false},
		{wrap(archive.ErrReadOnly), syscall.EROFS, false},
		{wrap(archive.ErrNoAttr), syscall.ENODATA, false},
		{wrap(archive.ErrNoSpace), syscall.ENOSPC, true},
		{wrap(archive.ErrDamaged), syscall.EIO, true},
		{fmt.Errorf("%w: %w", archive.ErrNotExist, archive.ErrDamaged), syscall.EIO, true},
		{errors.Join(archive.ErrClosed, context.Canceled), syscall.EIO, true},
		{errors.New("something new"), syscall.EIO, true},
		{syscall.ENOSYS, syscall.EIO, true}, // would switch the operation off
	} {
		if st, log := errno(c.err); st != fuse.Status(c.status) || log != c.log {
			t.Errorf("%v: got %v, log %v, want %v, %v", c.err, st, log, fuse.Status(c.status), c.log)
		}
	}
}

package local

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"bkfs/archive/store"
)

// failure wraps what the system said, with its kind if it has one.
func failure(what, name string, err error) error {
	k := kind(err)
	var errno unix.Errno
	if errors.As(err, &errno) {
		err = errno // the path around it is the one we name
	}
	if k == nil || errors.Is(err, k) {
		return fmt.Errorf("%s %s: %w", what, name, err)
	}
	return fmt.Errorf("%s %s: %w: %w", what, name, k, err)
}

// kind is the store's kind of a system error; nil when none fits.
func kind(err error) error {
	if errors.Is(err, store.ErrExist) {
		return store.ErrExist
	}
	var errno unix.Errno
	if !errors.As(err, &errno) {
		return nil
	}
	switch errno {
	case unix.ENOENT, unix.ENOTDIR, unix.EISDIR:
		return store.ErrNotExist
	case unix.EEXIST:
		return store.ErrExist
	case unix.EACCES, unix.EPERM, unix.EROFS:
		return store.ErrAuth
	case unix.ENOSPC, unix.EDQUOT, unix.EFBIG:
		return store.ErrQuota
	case unix.EUCLEAN, unix.EBADMSG:
		return store.ErrCorrupt
	case unix.EINTR, unix.EAGAIN, unix.ENOMEM, unix.EMFILE, unix.ENFILE, unix.ETIMEDOUT:
		return store.ErrTransient
	case unix.EIO, unix.ENODEV, unix.ENXIO, unix.ENOTCONN, unix.ESTALE, unix.EHOSTDOWN, unix.EREMOTEIO:
		return store.ErrUnavailable
	}
	return nil
}

package fs

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// immutable is FS_IMMUTABLE_FL (linux/fs.h), chattr(1)'s i.
const immutable = 0x00000010

// ErrGuard is what Guard and Unguard answer where the directory's filesystem,
// or the caller's rights, don't allow it.
var ErrGuard = errors.New("can't be made immutable")

// Guard makes the directory that is to be mounted on immutable, so that nothing
// is ever written into it while the mount isn't there. Nothing may be mounted
// on it yet. It stays so until Unguard.
func Guard(dir string) error { return setImmutable(dir, true) }

// Unguard undoes Guard. The directory mustn't be mounted on.
func Unguard(dir string) error { return setImmutable(dir, false) }

func setImmutable(dir string, on bool) error {
	path, err := realPath(dir)
	if err != nil {
		return err
	}
	mounts, err := mountsAt(path)
	if err != nil {
		return err
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrMounted)
	}
	d, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("guard: %w", err)
	}
	defer d.Close()
	flags, err := unix.IoctlGetUint32(int(d.Fd()), unix.FS_IOC_GETFLAGS)
	if err != nil {
		return guardError(dir, err)
	}
	want := flags &^ immutable
	if on {
		want |= immutable
	}
	if want == flags {
		return nil
	}
	if err := unix.IoctlSetPointerInt(int(d.Fd()), unix.FS_IOC_SETFLAGS, int(want)); err != nil {
		return guardError(dir, err)
	}
	return nil
}

func guardError(dir string, err error) error {
	switch {
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("%s %w: that needs root (CAP_LINUX_IMMUTABLE): %w", dir, ErrGuard, err)
	case errors.Is(err, unix.ENOTTY), errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS):
		return fmt.Errorf("%s %w: its filesystem has no such attribute: %w", dir, ErrGuard, err)
	}
	return fmt.Errorf("%s %w: %w", dir, ErrGuard, err)
}

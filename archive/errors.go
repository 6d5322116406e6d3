package archive

import (
	"errors"
	"fmt"
)

// What an operation on a tree can answer. The fs package alone turns them into
// errno values.
var (
	ErrNotExist     = errors.New("no such file or directory")
	ErrExist        = errors.New("already exists")
	ErrNotDir       = errors.New("not a directory")
	ErrIsDir        = errors.New("is a directory")
	ErrNotEmpty     = errors.New("directory not empty")
	ErrReadOnly     = errors.New("read-only")
	ErrNoSpace      = errors.New("no space left in the repository's store")
	ErrNameTooLong  = errors.New("name too long")
	ErrNoAttr       = errors.New("no such extended attribute")
	ErrInvalid      = errors.New("invalid argument")
	ErrTooManyLinks = errors.New("too many links")
	ErrCrossArchive = errors.New("different archives")
	ErrPermission   = errors.New("operation not permitted")
	ErrRange        = errors.New("out of range")
	ErrTooBig       = errors.New("too big")
	ErrStale        = errors.New("stale inode")
	ErrClosed       = errors.New("repository is closed")
	ErrNotSupported = errors.New("not supported")
)

// What opening a repository can answer.
var (
	ErrNoRepository = errors.New("no repository")
	ErrFormat       = errors.New("unsupported repository format")
	ErrDamaged      = errors.New("damaged")
	ErrBadKey       = errors.New("the key does not belong to this repository")
)

// A LockedError says who has the repository open for writing.
type LockedError struct {
	PID        int    // 0 when unknown
	Host       string // "" when unknown
	Mountpoint string // "" when it isn't mounted
}

// ErrLocked is matched by every *LockedError.
var ErrLocked = errors.New("repository is in use")

func (e *LockedError) Error() string {
	s := "repository is in use"
	if e.PID != 0 {
		s += fmt.Sprintf(" by process %d", e.PID)
	}
	if e.Host != "" {
		s += " on " + e.Host
	}
	if e.Mountpoint != "" {
		s += ", mounted at " + e.Mountpoint
	}
	return s
}

func (e *LockedError) Is(target error) bool { return target == ErrLocked }

// damaged wraps err so that it is ErrDamaged as well.
func damaged(what string, err error) error {
	if err == nil {
		return fmt.Errorf("%s: %w", what, ErrDamaged)
	}
	if errors.Is(err, ErrDamaged) {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrDamaged, err)
}

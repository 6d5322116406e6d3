package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Store is a set of named objects. All methods may be called from several
// goroutines at once; none keeps the slices it is given. Names are as
// CheckName wants them. Errors wrap one of the kinds below where one fits.
type Store interface {
	// Put creates an object; it is durable when Put returns. An object of the
	// same name and the same bytes is success; with other bytes it is ErrExist
	// and stays as it is.
	Put(ctx context.Context, name string, data []byte) error

	// Replace creates or changes an object as a whole: whoever reads, also
	// after a power loss, gets the old or the new bytes. For the config only.
	Replace(ctx context.Context, name string, data []byte) error

	// Get fills p with the object's bytes from off on. An object that ends
	// before is ErrCorrupt: whoever asks knows the size.
	Get(ctx context.Context, name string, off int64, p []byte) error

	// Stat describes one object.
	Stat(ctx context.Context, name string) (Info, error)

	// List calls fn for the objects whose name begins with prefix and is
	// greater than after, in ascending order of names (by bytes). It stops at
	// fn's first error and returns it. Objects that come or go meanwhile may
	// be seen or not.
	List(ctx context.Context, prefix, after string, fn func(Info) error) error

	// Delete removes an object; one that isn't there is success. A deleted
	// object may be back after a power loss.
	Delete(ctx context.Context, name string) error

	// Space is what the backing store has room for.
	Space(ctx context.Context) (Space, error)
}

// Info describes an object. Size is in bytes.
type Info struct {
	Name    string
	Size    int64
	ModTime time.Time
}

// Space is the size of the backing store in bytes. Available is what this user
// may still fill: Free less what is reserved for others.
type Space struct {
	Total, Free, Available uint64
}

// The kinds of error, for callers that branch on them.
var (
	ErrNotExist    = errors.New("object does not exist")
	ErrExist       = errors.New("object exists with other contents")
	ErrAuth        = errors.New("access denied by the store")
	ErrQuota       = errors.New("no space left in the store")
	ErrCorrupt     = errors.New("object is damaged")
	ErrTransient   = errors.New("store failed for the moment")
	ErrUnavailable = errors.New("store is unavailable")
)

// MaxName bounds an object's name, in bytes.
const MaxName = 255

// CheckName refuses what isn't an object's name: one or more elements of
// a-z 0-9 . _ - between single slashes, none beginning with a dot. So a name
// can't leave the store's root, meet a temporary file, or collide with another
// on a file system that ignores case.
func CheckName(name string) error {
	if len(name) > MaxName {
		return fmt.Errorf("object name of %d bytes is too long", len(name))
	}
	for element := range strings.SplitSeq(name, "/") {
		if element == "" || element[0] == '.' {
			return fmt.Errorf("invalid object name %q", name)
		}
		for i := range len(element) {
			c := element[i]
			if (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '.' && c != '_' && c != '-' {
				return fmt.Errorf("invalid object name %q", name)
			}
		}
	}
	return nil
}

package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"

	"golang.org/x/sys/unix"

	"bkfs/archive/store"
)

// Store is a store.Store in a directory.
type Store struct {
	root *os.Root
	dir  *os.File // the same directory, for calls that os.Root lacks

	mu    sync.Mutex      // guards known only
	known map[string]bool // directories that exist durably
}

var _ store.Store = (*Store)(nil)

// Create makes the directory, with parents, unless it is there, and opens it.
func Create(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, failure("create directory", dir, err)
	}
	return New(dir)
}

// New opens the store in an existing directory. It changes nothing there.
func New(dir string) (*Store, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, failure("open directory", dir, err)
	}
	f, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, failure("open directory", dir, err)
	}
	return &Store{root: root, dir: f, known: map[string]bool{".": true}}, nil
}

// Close gives the directory back. No call may be running.
func (s *Store) Close() error {
	return errors.Join(s.root.Close(), s.dir.Close())
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, name string, data []byte) error {
	return s.write(ctx, "put", name, data, func(temporary string) error {
		err := s.moveNew(temporary, name)
		if errors.Is(err, fs.ErrExist) {
			return s.confirm(name, data)
		}
		return err
	})
}

// Replace implements store.Store.
func (s *Store) Replace(ctx context.Context, name string, data []byte) error {
	return s.write(ctx, "replace", name, data, func(temporary string) error {
		return s.root.Rename(temporary, name)
	})
}

// write brings data to disk under a temporary name, has publish move it to
// name, and makes that durable.
func (s *Store) write(ctx context.Context, what, name string, data []byte, publish func(temporary string) error) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	dir := path.Dir(name)
	err := s.makeDir(dir)
	if err == nil {
		err = s.withTemporary(data, publish)
	}
	if errors.Is(err, fs.ErrNotExist) { // someone removed an empty directory
		s.forgetDirs()
		if err = s.makeDir(dir); err == nil {
			err = s.withTemporary(data, publish)
		}
	}
	if err == nil {
		err = s.syncDir(dir)
	}
	if err != nil {
		return failure(what, name, err)
	}
	return nil
}

// confirm says whether name holds data, and makes sure that it stays: whoever
// put it may have died before its sync.
func (s *Store) confirm(name string, data []byte) error {
	f, err := s.root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	same, err := equal(f, data)
	if err != nil {
		return err
	}
	if !same {
		return store.ErrExist
	}
	return f.Sync()
}

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, name string, off int64, p []byte) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	if off < 0 {
		return fmt.Errorf("get %s: negative offset %d", name, off)
	}
	f, err := s.root.Open(name)
	if err != nil {
		return failure("get", name, err)
	}
	defer f.Close()
	n, err := f.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, io.EOF):
		return fmt.Errorf("get %s: %w: it ends at %d, before %d", name, store.ErrCorrupt, off+int64(n), off+int64(len(p)))
	}
	return failure("get", name, err)
}

// Stat implements store.Store.
func (s *Store) Stat(ctx context.Context, name string) (store.Info, error) {
	if err := check(ctx, name); err != nil {
		return store.Info{}, err
	}
	info, err := s.root.Lstat(name)
	if err == nil && !info.Mode().IsRegular() {
		err = unix.ENOENT
	}
	if err != nil {
		return store.Info{}, failure("stat", name, err)
	}
	return store.Info{Name: name, Size: info.Size(), ModTime: info.ModTime()}, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, name string) error {
	if err := check(ctx, name); err != nil {
		return err
	}
	// Not root.Remove, which would remove an empty directory of that name.
	dir, err := s.root.Open(path.Dir(name))
	if err == nil {
		err = unix.Unlinkat(int(dir.Fd()), path.Base(name), 0)
		dir.Close()
	}
	if err != nil && !errors.Is(kind(err), store.ErrNotExist) {
		return failure("delete", name, err)
	}
	return nil
}

// Space implements store.Store.
func (s *Store) Space(ctx context.Context) (store.Space, error) {
	if err := ctx.Err(); err != nil {
		return store.Space{}, err
	}
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(s.dir.Fd()), &st); err != nil {
		return store.Space{}, failure("ask for space of", s.root.Name(), err)
	}
	unit := uint64(st.Frsize) // what the kernel counts blocks in, where it says so
	if unit == 0 {
		unit = uint64(st.Bsize)
	}
	return store.Space{Total: st.Blocks * unit, Free: st.Bfree * unit, Available: st.Bavail * unit}, nil
}

func check(ctx context.Context, name string) error {
	if err := store.CheckName(name); err != nil {
		return err
	}
	return ctx.Err()
}

// equal compares what f holds from its beginning with data.
func equal(f *os.File, data []byte) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() != int64(len(data)) {
		return false, err
	}
	buf := make([]byte, min(len(data), 1<<20))
	for len(data) > 0 {
		n := min(len(data), len(buf))
		if _, err := io.ReadFull(f, buf[:n]); err != nil {
			return false, err
		}
		if string(buf[:n]) != string(data[:n]) {
			return false, nil
		}
		data = data[n:]
	}
	return true, nil
}

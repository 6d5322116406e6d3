package local

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/unix"
)

// temporaryDir is no element of an object name.
const temporaryDir = ".tmp"

// withTemporary writes data to a temporary file, syncs it, and calls publish to
// move it away. The file is locked for as long as it is in use, which is how
// RemoveTemporary tells it from one that a crash left behind.
func (s *Store) withTemporary(data []byte, publish func(name string) error) error {
	f, name, err := s.createTemporary()
	if err != nil {
		return err
	}
	defer f.Close()
	if err = writeAll(f, data); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = publish(name)
	}
	// Published by rename it is gone already; a name left over wastes space
	// until the next RemoveTemporary.
	_ = s.root.Remove(name)
	return err
}

func (s *Store) createTemporary() (*os.File, string, error) {
	for {
		name := path.Join(temporaryDir, rand.Text())
		f, err := s.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
		if errors.Is(err, fs.ErrNotExist) {
			if err = s.root.Mkdir(temporaryDir, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
				continue
			}
		}
		if err != nil {
			return nil, "", err
		}
		// Lost only against a RemoveTemporary between the two calls. A file
		// system without locks has no RemoveTemporary either.
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == unix.EWOULDBLOCK {
			f.Close()
			continue
		}
		return f, name, nil
	}
}

// RemoveTemporary removes temporary files that a crash left behind, not those
// that are being written by this or another process. For opening for writing.
func (s *Store) RemoveTemporary() error {
	dir, err := s.root.Open(temporaryDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failure("open", temporaryDir, err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return failure("read", temporaryDir, err)
	}
	var failed error
	for _, name := range names {
		if err := s.removeTemporary(path.Join(temporaryDir, name)); err != nil {
			failed = errors.Join(failed, failure("remove", name, err))
		}
	}
	return failed
}

func (s *Store) removeTemporary(name string) error {
	f, err := s.root.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil
	}
	if err := s.root.Remove(name); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// moveNew moves a temporary file to name, or fails with fs.ErrExist.
func (s *Store) moveNew(temporary, name string) error {
	fd := int(s.dir.Fd())
	err := unix.Renameat2(fd, temporary, fd, name, unix.RENAME_NOREPLACE)
	if err == unix.EINVAL || err == unix.ENOSYS || err == unix.ENOTSUP { // NFS, old FUSE servers
		return s.root.Link(temporary, name)
	}
	return err
}

// makeDir makes a directory with its parents durably, once.
func (s *Store) makeDir(dir string) error {
	s.mu.Lock()
	known := s.known[dir]
	s.mu.Unlock()
	if known {
		return nil
	}
	parent := path.Dir(dir)
	if err := s.makeDir(parent); err != nil {
		return err
	}
	if err := s.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Also when it was there: whoever made it may not have got this far.
	if err := s.syncDir(parent); err != nil {
		return err
	}
	s.mu.Lock()
	s.known[dir] = true
	s.mu.Unlock()
	return nil
}

func (s *Store) forgetDirs() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
	s.known["."] = true
}

func (s *Store) syncDir(dir string) error {
	f, err := s.root.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, unix.EINVAL) { // some FUSE and network file systems can't
		return fmt.Errorf("sync directory: %w", err)
	}
	return nil
}

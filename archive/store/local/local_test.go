package local

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"bkfs/archive/store"
	"bkfs/archive/store/storetest"
)

func create(tb testing.TB) (*Store, string) {
	tb.Helper()
	dir := tb.TempDir()
	s, err := Create(dir)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.Close() })
	return s, dir
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store {
		s, _ := create(t)
		return s
	})
}

func TestNewWantsDirectory(t *testing.T) {
	dir := t.TempDir()
	if _, err := New(filepath.Join(dir, "none")); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("New without a directory: %v, want ErrNotExist", err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(file); err == nil {
		t.Error("New on a plain file succeeds")
	}
}

func TestModes(t *testing.T) {
	s, dir := create(t)
	if err := s.Put(t.Context(), "packs/ab/x", nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]fs.FileMode{
		"packs": 0o700 | fs.ModeDir, "packs/ab": 0o700 | fs.ModeDir, temporaryDir: 0o700 | fs.ModeDir, "packs/ab/x": 0o600,
	} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode() != want {
			t.Errorf("%s: mode %v, %v, want %v", name, info.Mode(), err, want)
		}
	}
}

func TestRemoveTemporary(t *testing.T) {
	s, dir := create(t)
	if err := s.RemoveTemporary(); err != nil {
		t.Fatalf("RemoveTemporary of a new store: %v", err)
	}
	left := func() []os.DirEntry {
		entries, err := os.ReadDir(filepath.Join(dir, temporaryDir))
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	if err := s.Put(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a", []byte("other")); !errors.Is(err, store.ErrExist) {
		t.Fatalf("Put of other bytes: %v", err)
	}
	if n := len(left()); n != 0 {
		t.Errorf("Puts left %d temporary files", n)
	}
	if err := os.WriteFile(filepath.Join(dir, temporaryDir, "crashed"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := s.withTemporary([]byte("x"), func(string) error { // beside a Put
		if err := s.RemoveTemporary(); err != nil {
			return err
		}
		if n := len(left()); n != 1 {
			return fmt.Errorf("%d temporary files, want the one in use", n)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

// Not every file system can rename without replacing.
func TestLinkInsteadOfRename(t *testing.T) {
	s, dir := create(t)
	err := s.withTemporary([]byte("x"), func(name string) error { return s.root.Link(name, "a") })
	if err != nil {
		t.Fatal(err)
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, temporaryDir)); len(entries) != 0 {
		t.Errorf("%d temporary files left", len(entries))
	}
	if err := s.Put(t.Context(), "a", []byte("x")); err != nil {
		t.Error(err)
	}
}

func TestRemovedDirectoryComesBack(t *testing.T) {
	s, dir := create(t)
	for _, name := range []string{"packs/ab/1", "packs/ab/2"} {
		if err := s.Put(t.Context(), name, nil); err != nil {
			t.Fatalf("Put(%s): %v", name, err)
		}
		if err := os.RemoveAll(filepath.Join(dir, "packs")); err != nil {
			t.Fatal(err)
		}
	}
}

// Nothing is written beside a repository whose directory went away.
func TestDirectoryMovedAway(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "repository")
	s, err := Create(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if err := os.Rename(dir, dir+".away"); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a second directory appeared: %v", err)
	}
}

func TestSymlinkOutIsRefused(t *testing.T) {
	s, dir := create(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "packs")); err != nil {
		t.Fatal(err)
	}
	if err := s.Get(t.Context(), "packs/secret", 0, make([]byte, 1)); err == nil {
		t.Error("Get through a symbolic link out of the store succeeds")
	}
	if err := s.Put(t.Context(), "packs/new", nil); err == nil {
		t.Error("Put through a symbolic link out of the store succeeds")
	}
}

func TestKind(t *testing.T) {
	for errno, want := range map[unix.Errno]error{
		unix.ENOENT: store.ErrNotExist, unix.EEXIST: store.ErrExist, unix.EROFS: store.ErrAuth,
		unix.ENOSPC: store.ErrQuota, unix.EDQUOT: store.ErrQuota, unix.EUCLEAN: store.ErrCorrupt,
		unix.EMFILE: store.ErrTransient, unix.EIO: store.ErrUnavailable,
	} {
		err := failure("put", "a", &fs.PathError{Op: "write", Path: "/x", Err: errno})
		if !errors.Is(err, want) || !errors.Is(err, errno) {
			t.Errorf("failure(%v) = %v, want it to be %v too", errno, err, want)
		}
	}
}

// A full disk is told as such and leaves nothing behind. RLIMIT_FSIZE stands in
// for the disk; it gives EFBIG where a disk gives ENOSPC.
func TestQuota(t *testing.T) {
	s, dir := create(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &old); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: 4096, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	err := s.Put(t.Context(), "packs/ab/big", make([]byte, 1<<20))
	if err2 := unix.Setrlimit(unix.RLIMIT_FSIZE, &old); err2 != nil {
		t.Fatal(err2)
	}
	if !errors.Is(err, store.ErrQuota) {
		t.Errorf("Put on a full disk: %v, want ErrQuota", err)
	}
	if entries, _ := os.ReadDir(filepath.Join(dir, temporaryDir)); len(entries) != 0 {
		t.Errorf("%d temporary files left", len(entries))
	}
	if _, err := s.Stat(t.Context(), "packs/ab/big"); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("Stat afterwards: %v, want ErrNotExist", err)
	}
}

func BenchmarkPut(b *testing.B) {
	for _, size := range []int{4 << 10, 16 << 20} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			s, _ := create(b)
			data := bytes.Repeat([]byte{1}, size)
			b.SetBytes(int64(size))
			for i := 0; b.Loop(); i++ {
				if err := s.Put(b.Context(), fmt.Sprintf("packs/%02x/%d", i%256, i), data); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkPlainWrite is the bound of BenchmarkPut: the same bytes, one file,
// one sync.
func BenchmarkPlainWrite(b *testing.B) {
	dir := b.TempDir()
	data := bytes.Repeat([]byte{1}, 16<<20)
	b.SetBytes(int64(len(data)))
	for i := 0; b.Loop(); i++ {
		f, err := os.Create(filepath.Join(dir, fmt.Sprint(i)))
		if err == nil {
			_, err = f.Write(data)
		}
		if err == nil {
			err = f.Sync()
		}
		if err = errors.Join(err, f.Close()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s, _ := create(b)
	if err := s.Put(b.Context(), "packs/ab/x", make([]byte, 16<<20)); err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{4 << 10, 256 << 10} {
		b.Run(fmt.Sprintf("%dKiB", size>>10), func(b *testing.B) {
			pool := sync.Pool{New: func() any { return new([256 << 10]byte) }}
			b.SetBytes(int64(size))
			b.RunParallel(func(pb *testing.PB) {
				p := pool.Get().(*[256 << 10]byte)
				for pb.Next() {
					if err := s.Get(b.Context(), "packs/ab/x", 1<<20, p[:size]); err != nil {
						b.Fatal(err)
					}
				}
			})
		})
	}
}

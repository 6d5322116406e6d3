package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"bkfs/archive/journal"
	"bkfs/archive/store/local"

	"github.com/google/go-cmp/cmp"
)

// halt stops a repository as kill -9 would, and leaves it so.
func (f *fixture) halt() {
	f.t.Helper()
	old := f.Repository
	f.t.Cleanup(func() { old.writer.close() })
	old.committer.close()
	if err := errors.Join(old.index.Close(), old.lock.release()); err != nil {
		f.t.Fatal(err)
	}
}

// tryOpen opens a repository that may be damaged.
func (f *fixture) tryOpen(change ...func(*Options)) error {
	f.t.Helper()
	st, err := local.New(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	o := Options{Dir: f.dir, Store: st, Key: f.key, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
	for _, fn := range change {
		fn(&o)
	}
	r, err := Open(f.t.Context(), o)
	if err != nil {
		return err
	}
	f.Repository = r
	f.t.Cleanup(func() { r.Close(context.Background()) })
	return nil
}

// newest is the path of the newest file in a directory of the repository.
func (f *fixture) newest(dir string) string {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.dir, dir, "*"))
	if err != nil || len(files) == 0 {
		f.t.Fatalf("no files in %s, %v", dir, err)
	}
	return slices.Max(files)
}

func (f *fixture) load(path string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	return b
}

func (f *fixture) save(path string, b []byte) {
	f.t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		f.t.Fatal(err)
	}
}

// listing is everything in an archive, with a hash of every file's bytes.
func (f *fixture) listing(name string) map[string]string {
	f.t.Helper()
	list := make(map[string]string)
	listTree(f.t, f.live(name), RootIno, "", list)
	return list
}

func (f *fixture) mustSync() {
	f.t.Helper()
	if err := f.Sync(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
}

// filled is a repository with an archive "a" of some files, synced.
func filled(t *testing.T) *fixture {
	t.Helper()
	f := newFixture(t)
	tree := f.archive("a")
	for i, n := range []int{0, 10, 5000, 400_000} {
		write(t, tree, RootIno, fmt.Sprint("file", i), random(n))
	}
	f.mustSync()
	return f
}

// Every byte of a root counts.
func TestFlippedByteInARoot(t *testing.T) {
	f := filled(t)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := local.New(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := newKeys(f)
	if err != nil {
		t.Fatal(err)
	}
	defer keys.Destroy()
	path := f.newest("roots")
	whole := f.load(path)
	for i := range whole {
		b := bytes.Clone(whole)
		b[i] ^= 0x40
		f.save(path, b)
		_, err := latestRoot(t.Context(), st, keys)
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d of %d flipped: got %v, want ErrDamaged", i, len(whole), err)
		}
	}
	for n := range whole {
		f.save(path, whole[:n])
		if _, err := latestRoot(t.Context(), st, keys); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d of %d bytes: got %v, want ErrDamaged", n, len(whole), err)
		}
	}
	b := bytes.Clone(whole)
	b[len(b)/2] ^= 1
	f.save(path, b)
	if err := f.tryOpen(); !errors.Is(err, ErrDamaged) {
		t.Errorf("open: got %v, want ErrDamaged", err)
	}
	f.save(path, whole)
	if err := f.tryOpen(); err != nil {
		t.Errorf("open with the whole root again: %v", err)
	}
}

func TestRenamedRoot(t *testing.T) {
	f := filled(t)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := f.newest("roots")
	next := filepath.Join(f.dir, rootName(f.root.generation+1))
	if err := os.Rename(old, next); err != nil {
		t.Fatal(err)
	}
	if err := f.tryOpen(); !errors.Is(err, ErrDamaged) {
		t.Errorf("a root under the next one's name: got %v, want ErrDamaged", err)
	}
	if err := os.Rename(next, old); err != nil {
		t.Fatal(err)
	}
	// Names that aren't a root's don't count.
	f.save(filepath.Join(f.dir, "roots", "ffffffffffffffff.old"), []byte("x"))
	f.save(filepath.Join(f.dir, "roots", "FFFFFFFFFFFFFFFF"), []byte("x"))
	if err := f.tryOpen(); err != nil {
		t.Error(err)
	}
}

func TestMissingJournal(t *testing.T) {
	f := filled(t)
	f.halt()
	if err := os.Remove(f.newest("journal")); err != nil {
		t.Fatal(err)
	}
	if err := f.tryOpen(); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

func TestJournalOfAnotherGeneration(t *testing.T) {
	f := newFixture(t)
	f.archive("a")
	f.mustSync()
	earlier := f.load(f.newest("journal"))
	if _, err := f.TakeSnapshot(t.Context(), "a", "s", false); err != nil {
		t.Fatal(err)
	}
	write(t, f.live("a"), RootIno, "file", []byte("x"))
	f.mustSync()
	f.halt()
	path := f.newest("journal")
	whole := f.load(path)
	f.save(path, earlier)
	if err := f.tryOpen(); !errors.Is(err, ErrDamaged) {
		t.Errorf("an earlier journal in its place: got %v, want ErrDamaged", err)
	}
	next := filepath.Join(filepath.Dir(path), fmt.Sprintf("%016x", f.root.journal+1))
	f.save(path, whole)
	f.save(next, earlier)
	if err := f.tryOpen(); !errors.Is(err, ErrDamaged) {
		t.Errorf("an earlier journal behind it: got %v, want ErrDamaged", err)
	}
	if err := os.Remove(next); err != nil {
		t.Fatal(err)
	}
	if err := f.tryOpen(); err != nil {
		t.Errorf("with the right journal again: %v", err)
	}
}

// A journal of the right generation, by a writer that went on from a copy of
// the same repository.
func TestJournalOfACopy(t *testing.T) {
	f := filled(t)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := f.dir
	f.dir = filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(f.dir, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	f.open()
	f.halt()
	other := f.load(f.newest("journal"))
	f.dir = dir
	f.open()
	f.halt()
	f.save(f.newest("journal"), other)
	if err := f.tryOpen(); !errors.Is(err, ErrDamaged) {
		t.Errorf("got %v, want ErrDamaged", err)
	}
}

// Wherever a crash cuts the journal's last batch, what was synced before is
// there, and of the last one all or nothing.
func TestTornJournal(t *testing.T) {
	f := filled(t)
	before, size := f.listing("a"), len(f.load(f.newest("journal")))
	write(t, f.live("a"), RootIno, "last", random(2000))
	f.mustSync()
	after, generation := f.listing("a"), f.root.journal
	f.halt()
	path := f.newest("journal")
	if want := fmt.Sprintf("%016x", generation); filepath.Base(path) != want {
		t.Fatalf("the newest journal is %s, want %s", path, want)
	}
	whole, dir := f.load(path), f.dir
	for _, n := range []int{size, size + 1, size + 511, size + 512, (size + len(whole)) / 2, len(whole) - 1, len(whole)} {
		f.dir = filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(f.dir, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		f.save(filepath.Join(f.dir, "journal", filepath.Base(path)), whole[:n])
		f.open()
		want := before
		if n == len(whole) {
			want = after
		}
		if diff := cmp.Diff(want, f.listing("a")); diff != "" {
			t.Errorf("%d of %d bytes (-want +got):\n%s", n, len(whole), diff)
		}
		if err := f.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	// A batch that isn't the last was acknowledged.
	b := bytes.Clone(whole)
	b[size-100] ^= 1
	f.dir = dir
	f.save(path, b)
	if err := f.tryOpen(); !errors.Is(err, ErrDamaged) {
		t.Errorf("an earlier batch is damaged: got %v, want ErrDamaged", err)
	}
}

// A crash between a new journal and the root that names it: the records are in
// two journals.
func TestTwoJournals(t *testing.T) {
	f := filled(t)
	if err := f.beginCheckpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	write(t, f.live("a"), RootIno, "second", random(3000))
	if err := f.live("a").Unlink(t.Context(), RootIno, "file1"); err != nil {
		t.Fatal(err)
	}
	f.mustSync()
	want, first := f.listing("a"), f.root.journal
	f.halt()
	files, err := journal.List(f.journalDir)
	if err != nil || len(files) != 2 || files[0].Generation != first {
		t.Fatalf("journals %v, %v; want two from %d on", files, err, first)
	}
	whole := f.load(files[0].Path)
	f.save(files[0].Path, whole[:len(whole)-512])
	if err := f.tryOpen(); !errors.Is(err, ErrDamaged) {
		t.Errorf("the first lacks its end: got %v, want ErrDamaged", err)
	}
	f.save(files[0].Path, whole)
	if err := f.tryOpen(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, f.listing("a")); diff != "" {
		t.Errorf("after replay (-want +got):\n%s", diff)
	}
}

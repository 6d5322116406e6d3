package archive

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
	"bkfs/archive/seal"

	"github.com/google/go-cmp/cmp"
)

func newKeys(f *fixture) (*seal.Keys, error) { return seal.NewKeys(f.key, f.config.ID) }

// The index is a cache: without it everything is there.
func TestIndexDeleted(t *testing.T) {
	f := filled(t)
	tree := f.live("a")
	write(t, tree, RootIno, "large", random(5<<20))
	if _, err := f.TakeSnapshot(t.Context(), "a", "s", false); err != nil {
		t.Fatal(err)
	}
	write(t, tree, RootIno, "synced", random(9000))
	f.mustSync()
	want := f.listing("a")
	for _, how := range []string{"after a crash", "after closing"} {
		if how == "after a crash" {
			f.halt()
		} else if err := f.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Join(f.dir, "index")); err != nil {
			t.Fatal(err)
		}
		f.open()
		if !f.index.Fresh() {
			t.Error("the index is not fresh")
		}
		if diff := cmp.Diff(want, f.listing("a")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", how, diff)
		}
		s, err := f.SnapshotTree(t.Context(), "a", "s")
		if err != nil {
			t.Fatal(err)
		}
		list := make(map[string]string)
		listTree(t, s, RootIno, "", list)
		if got, want := list["/large"], want["/large"]; got != want || len(list) != 6 {
			t.Errorf("%s the snapshot has %d entries and %q, want 6 and %q", how, len(list), got, want)
		}
		f.clean(how)
	}
}

// clean says that a check finds nothing.
func (f *fixture) clean(what string) {
	f.t.Helper()
	rep, err := f.Check(f.t.Context(), CheckOptions{ReadData: true})
	if err != nil || len(rep.Damage) > 0 {
		f.t.Errorf("%s: check finds %v, %v", what, rep, err)
	}
}

// placeOf is where a chunk of a file is: one that has a blob of its own, if
// there is one.
func (f *fixture) placeOf(name string) pack.Place {
	f.t.Helper()
	tree := f.live("a")
	a, err := tree.Lookup(f.t.Context(), RootIno, name)
	if err != nil {
		f.t.Fatal(err)
	}
	defer tree.Forget(a.Ino, 1)
	var v view
	if err := tree.read(f.t.Context(), a.Ino, func(n *node) { v = n.view(0, a.Size) }); err != nil {
		f.t.Fatal(err)
	}
	var p pack.Place
	err = f.chunks.extents(f.t.Context(), v, 0, a.Size, func(e extent) (err error) {
		if p.Sealed == 0 || p.Length < sharedBelow {
			p, _, err = f.chunks.locate(f.t.Context(), chunk.KindData, e.Chunk)
		}
		return err
	})
	if err != nil || p.Sealed == 0 {
		f.t.Fatalf("place of %s: %v, %v", name, p, err)
	}
	return p
}

// readErr reads a file whole.
func readErr(t *testing.T, tree *Tree, name string) ([]byte, error) {
	t.Helper()
	a, err := tree.Lookup(t.Context(), RootIno, name)
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Forget(a.Ino, 1)
	h, err := tree.Open(t.Context(), a.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	data := make([]byte, a.Size)
	_, err = h.ReadAt(t.Context(), data, 0)
	return data, err
}

// damaging closes a repository with three files, lets bad damage the one in
// the middle, and looks what is left. Each file is in a pack of its own when
// apart, else all are in one.
func damaging(t *testing.T, apart, noIndex bool, bad func(f *fixture, p pack.Place, path string)) {
	t.Helper()
	f := newFixture(t)
	tree := f.archive("a")
	names := []string{"one", "two", "three"}
	files := make(map[string][]byte)
	for _, name := range names {
		files[name] = random(journalChunks + 100_000) // more than a commit leaves to the journal
		write(t, tree, RootIno, name, files[name])
		if apart {
			f.mustSync()
		}
	}
	f.reopen()
	p := f.placeOf("two")
	if same := f.placeOf("one").Pack == p.Pack; same == apart {
		t.Fatalf("files in one pack: %t", same)
	}
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	bad(f, p, filepath.Join(f.dir, filepath.FromSlash(p.Pack.Name())))
	if noIndex {
		if err := os.RemoveAll(filepath.Join(f.dir, "index")); err != nil {
			t.Fatal(err)
		}
	}
	f.open()
	tree = f.live("a")
	for _, name := range names {
		data, err := readErr(t, tree, name)
		if name == "two" {
			if !errors.Is(err, ErrDamaged) {
				t.Errorf("read the damaged file: got %v, want ErrDamaged", err)
			}
		} else if err != nil || !bytes.Equal(data, files[name]) {
			t.Errorf("read its sibling %s: %v", name, err)
		}
	}
	rep, err := f.Check(t.Context(), CheckOptions{ReadData: true})
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, d := range rep.Damage {
		switch {
		case d.Path != "":
			paths = append(paths, d.Archive+":"+d.Path)
		case !strings.Contains(d.What, p.Pack.String()):
			t.Errorf("check finds %v, which isn't about pack %s", d, p.Pack)
		}
	}
	if diff := cmp.Diff([]string{"a:/two"}, paths); diff != "" {
		t.Errorf("files that check names (-want +got):\n%s", diff)
	}
}

func flipBit(f *fixture, path string, at int) {
	f.t.Helper()
	b := f.load(path)
	b[at] ^= 0x10
	f.save(path, b)
}

func TestFlippedBitInAPack(t *testing.T) {
	for _, noIndex := range []bool{false, true} {
		damaging(t, false, noIndex, func(f *fixture, p pack.Place, path string) {
			flipBit(f, path, int(p.Offset+p.Sealed/2))
		})
	}
}

func TestMissingPack(t *testing.T) {
	for _, noIndex := range []bool{false, true} {
		damaging(t, true, noIndex, func(f *fixture, _ pack.Place, path string) {
			if err := os.Remove(path); err != nil {
				f.t.Fatal(err)
			}
		})
	}
}

func TestSecondWriterIsLockedOut(t *testing.T) {
	f := filled(t)
	err := f.tryOpen(func(o *Options) { o.Mountpoint = "/mnt/second" })
	var locked *LockedError
	if !errors.As(err, &locked) || !errors.Is(err, ErrLocked) {
		t.Fatalf("got %v, want a *LockedError", err)
	}
	if locked.PID != os.Getpid() || locked.Mountpoint != "" {
		t.Errorf("locked by process %d at %q, want %d at no mountpoint", locked.PID, locked.Mountpoint, os.Getpid())
	}
	f.clean("after the second was refused")
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := f.tryOpen(func(o *Options) { o.Mountpoint = "/mnt/second" }); err != nil {
		t.Fatal(err)
	}
	if err := f.tryOpen(); !errors.As(err, &locked) || locked.Mountpoint != "/mnt/second" {
		t.Errorf("got %v, want that it is mounted at /mnt/second", err)
	}
}

// A reader beside a writer sees what was synced before it came, for as long as
// it is open, and changes nothing.
func TestReaderBesideAWriter(t *testing.T) {
	f := filled(t)
	writer := f.Repository
	want := f.listing("a")
	write(t, f.live("a"), RootIno, "later", random(1000))
	before := f.stored()
	if err := f.tryOpen(func(o *Options) { o.ReadOnly, o.IndexDir = true, filepath.Join(t.TempDir(), "index") }); err != nil {
		t.Fatal(err)
	}
	reader := f.Repository
	if diff := cmp.Diff(want, f.listing("a")); diff != "" {
		t.Errorf("the reader sees (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, f.stored()); diff != "" {
		t.Errorf("opening for reading changed (-before +after):\n%s", diff)
	}
	if _, err := f.CreateArchive(t.Context(), "b", Creation{Mode: 0o755}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("create an archive: got %v, want ErrReadOnly", err)
	}
	if _, err := f.live("a").Mknod(t.Context(), RootIno, "x", Creation{Mode: ModeFile}); !errors.Is(err, ErrReadOnly) {
		t.Errorf("create a file: got %v, want ErrReadOnly", err)
	}
	f.Repository = writer
	f.mustSync()
	if _, err := f.TakeSnapshot(t.Context(), "a", "s", false); err != nil {
		t.Fatal(err)
	}
	if err := f.live("a").Unlink(t.Context(), RootIno, "file3"); err != nil {
		t.Fatal(err)
	}
	f.reopen()
	f.clean("the writer")
	f.Repository = reader
	if diff := cmp.Diff(want, f.listing("a")); diff != "" {
		t.Errorf("after the writer went on the reader sees (-want +got):\n%s", diff)
	}
}

// stored is the size of every stored file.
func (f *fixture) stored() map[string]int64 {
	f.t.Helper()
	sizes := make(map[string]int64)
	for _, pattern := range []string{"config*", "lock", "roots/*", "journal/*", "packs/*/*"} {
		paths, err := filepath.Glob(filepath.Join(f.dir, pattern))
		if err != nil {
			f.t.Fatal(err)
		}
		for _, path := range paths {
			info, err := os.Stat(path)
			if err != nil {
				f.t.Fatal(err)
			}
			sizes[strings.TrimPrefix(path, f.dir)] = info.Size()
		}
	}
	return sizes
}

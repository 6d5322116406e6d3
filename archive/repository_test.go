package archive

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"bkfs/archive/seal"
	"bkfs/archive/store/local"
)

// fixture is a repository on disk that can be opened again and again.
type fixture struct {
	t   *testing.T
	dir string
	key *seal.Key
	*Repository
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Destroy)
	f := &fixture{t: t, dir: filepath.Join(t.TempDir(), "repository"), key: key}
	if err := os.Mkdir(f.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	st, err := local.New(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), st, key, seal.NewRepositoryID(), nil); err != nil {
		t.Fatal(err)
	}
	f.open()
	t.Cleanup(func() { f.Close(context.Background()) })
	return f
}

func (f *fixture) open() {
	f.t.Helper()
	st, err := local.New(f.dir)
	if err != nil {
		f.t.Fatal(err)
	}
	f.Repository, err = Open(f.t.Context(), Options{Dir: f.dir, Store: st, Key: f.key, Log: slog.New(slog.NewTextHandler(f.t.Output(), nil))})
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) reopen() {
	f.t.Helper()
	if err := f.Close(context.Background()); err != nil {
		f.t.Fatal(err)
	}
	f.open()
}

func (f *fixture) archive(name string) *Tree {
	f.t.Helper()
	t, err := f.CreateArchive(f.t.Context(), name, Creation{Mode: 0o755})
	if err != nil {
		f.t.Fatal(err)
	}
	return t
}

func (f *fixture) live(name string) *Tree {
	f.t.Helper()
	t, err := f.Live(name)
	if err != nil {
		f.t.Fatal(err)
	}
	return t
}

func write(t *testing.T, tree *Tree, dir Ino, name string, data []byte) Ino {
	t.Helper()
	a, err := tree.Mknod(t.Context(), dir, name, Creation{Mode: ModeFile | 0o644})
	if err != nil {
		t.Fatal(err)
	}
	h, err := tree.Open(t.Context(), a.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	for off := 0; off < len(data); off += 1 << 20 {
		if _, err := h.WriteAt(t.Context(), data[off:min(off+1<<20, len(data))], int64(off), false); err != nil {
			t.Fatal(err)
		}
	}
	h.Release()
	return a.Ino
}

func read(t *testing.T, tree *Tree, dir Ino, name string) []byte {
	t.Helper()
	a, err := tree.Lookup(t.Context(), dir, name)
	if err != nil {
		t.Fatalf("lookup %s: %v", name, err)
	}
	h, err := tree.Open(t.Context(), a.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	data := make([]byte, a.Size)
	if _, err := h.ReadAt(t.Context(), data, 0); err != nil && a.Size > 0 {
		t.Fatalf("read %s: %v", name, err)
	}
	tree.Forget(a.Ino, 1)
	return data
}

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

func TestFilesComeBack(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("docs")
	files := make(map[string][]byte)
	d, err := tree.Mknod(t.Context(), RootIno, "dir", Creation{Mode: ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{0, 1, 4096, 100_000, 1 << 20, 9<<20 + 17} {
		name := fmt.Sprint("file", i)
		files[name] = random(n)
		write(t, tree, d.Ino, name, files[name])
	}
	check := func(what string, tree *Tree) {
		t.Helper()
		a, err := tree.Lookup(t.Context(), RootIno, "dir")
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for name, want := range files {
			if got := read(t, tree, a.Ino, name); !bytes.Equal(got, want) {
				t.Errorf("%s: %s has %d other bytes, want %d", what, name, len(got), len(want))
			}
		}
		n := 0
		if err := tree.ReadDir(t.Context(), a.Ino, 0, false, func(Entry) bool { n++; return true }); err != nil || n != len(files) {
			t.Errorf("%s: %d entries, %v; want %d", what, n, err, len(files))
		}
		tree.Forget(a.Ino, 1)
	}
	check("at once", tree)
	if err := f.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("after sync", tree)
	s, err := f.TakeSnapshot(t.Context(), "docs", "one", false)
	if err != nil {
		t.Fatal(err)
	}
	check("after snapshot", tree)
	f.reopen()
	check("after reopening", f.live("docs"))
	snap, err := f.SnapshotTree(t.Context(), "docs", s.Name)
	if err != nil {
		t.Fatal(err)
	}
	check("in the snapshot", snap)
}

// crash stops a repository as kill -9 would: nothing is closed.
func (f *fixture) crash() {
	f.t.Helper()
	old := f.Repository
	f.t.Cleanup(func() { old.writer.close() })
	old.committer.close()
	if err := old.index.Close(); err != nil {
		f.t.Fatal(err)
	}
	if err := old.lock.release(); err != nil {
		f.t.Fatal(err)
	}
	f.open()
}

func TestSyncedChangesSurviveACrash(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("a")
	ctx := t.Context()
	base := random(3 << 20)
	write(t, tree, RootIno, "base", base)
	write(t, tree, RootIno, "linked", []byte("one"))
	write(t, tree, RootIno, "removed", random(100))
	d, err := tree.Mknod(ctx, RootIno, "d", Creation{Mode: ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	write(t, tree, d.Ino, "inner", []byte("inner"))
	if _, err := f.TakeSnapshot(ctx, "a", "s", false); err != nil {
		t.Fatal(err)
	}

	small := []byte("small change in place")
	at := 1<<20 + 12345
	copy(base[at:], small)
	a, err := tree.Lookup(ctx, RootIno, "base")
	if err != nil {
		t.Fatal(err)
	}
	h, err := tree.Open(ctx, a.Ino, true)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.WriteAt(ctx, small, int64(at), false); err != nil {
		t.Fatal(err)
	}
	if err := tree.Rename(ctx, RootIno, "d", RootIno, "moved", 0); err != nil {
		t.Fatal(err)
	}
	l, err := tree.Lookup(ctx, RootIno, "linked")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Link(ctx, l.Ino, d.Ino, "second"); err != nil {
		t.Fatal(err)
	}
	if err := tree.Unlink(ctx, RootIno, "removed"); err != nil {
		t.Fatal(err)
	}
	fresh := random(700_000)
	write(t, tree, d.Ino, "fresh", fresh)
	if err := h.Sync(ctx); err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time there is a new root and an empty journal
		f.crash()
		tree = f.live("a")
		if got := read(t, tree, RootIno, "base"); !bytes.Equal(got, base) {
			t.Error("the change in place is lost")
		}
		m, err := tree.Lookup(ctx, RootIno, "moved")
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, tree, m.Ino, "fresh"); !bytes.Equal(got, fresh) {
			t.Error("the new file is lost")
		}
		if got := read(t, tree, m.Ino, "inner"); string(got) != "inner" {
			t.Errorf("the file in the renamed directory has %q", got)
		}
		x, err := tree.Lookup(ctx, m.Ino, "second")
		if err != nil {
			t.Fatal(err)
		}
		y, err := tree.Lookup(ctx, RootIno, "linked")
		if err != nil || x.Ino != y.Ino || x.Nlink != 2 {
			t.Errorf("hard link: inodes %d and %d with %d links, %v", x.Ino, y.Ino, x.Nlink, err)
		}
		if _, err := tree.Lookup(ctx, RootIno, "removed"); !errors.Is(err, ErrNotExist) {
			t.Errorf("removed file: %v, want ErrNotExist", err)
		}
		rep, err := f.Check(ctx, CheckOptions{ReadData: true})
		if err != nil || len(rep.Damage) > 0 {
			t.Errorf("check: %v, %v", rep, err)
		}
	}
}

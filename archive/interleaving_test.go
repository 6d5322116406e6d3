package archive

import (
	"bytes"
	"context"
	"errors"
	"math/rand"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"bkfs/archive/store"
	"bkfs/archive/store/local"
)

// Each of these was once lost, wrong, or a repository that wouldn't open.

func seeded(n int, seed int64) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(seed)).Read(b)
	return b
}

func snapshot(t *testing.T, f *fixture, a, n string) {
	t.Helper()
	if _, err := f.TakeSnapshot(t.Context(), a, n, false); err != nil {
		t.Fatal(err)
	}
}

func writeAt(t *testing.T, h *File, b []byte, off int64) {
	t.Helper()
	for len(b) > 0 {
		n := min(len(b), 1<<20)
		if _, err := h.WriteAt(t.Context(), b[:n], off, false); err != nil {
			t.Fatal(err)
		}
		b, off = b[n:], off+int64(n)
	}
}

// open-unlinked file that is written after a checkpoint
func TestOrphanAfterCheckpoint(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("w")
	write(t, tree, RootIno, "tmp", []byte("hello"))
	snapshot(t, f, "w", "s1")
	a, err := tree.Lookup(t.Context(), RootIno, "tmp")
	if err != nil {
		t.Fatal(err)
	}
	h, _ := tree.Open(t.Context(), a.Ino, true)
	if err := tree.Unlink(t.Context(), RootIno, "tmp"); err != nil {
		t.Fatal(err)
	}
	snapshot(t, f, "w", "s2")
	writeAt(t, h, []byte("more"), 0)
	f.mustSync()
	f.crash()
}

func TestMoveOutAndRmdir(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("w")
	d, err := tree.Mknod(t.Context(), RootIno, "d", Creation{Mode: ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	write(t, tree, d.Ino, "f", []byte("hello"))
	snapshot(t, f, "w", "s1")
	if err := tree.Rename(t.Context(), d.Ino, "f", RootIno, "f", 0); err != nil {
		t.Fatal(err)
	}
	if err := tree.Rmdir(t.Context(), RootIno, "d"); err != nil {
		t.Fatal(err)
	}
	tree.Forget(d.Ino, 1)
	f.mustSync()
	f.crash()
	if got := read(t, f.live("w"), RootIno, "f"); string(got) != "hello" {
		t.Fatalf("%q", got)
	}
}

func TestTmpfileLinkedAfterCheckpoint(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("w")
	a, err := tree.Tmpfile(t.Context(), RootIno, Creation{Mode: 0o644})
	if err != nil {
		t.Fatal(err)
	}
	want := seeded(300000, 1)
	h, _ := tree.Open(t.Context(), a.Ino, true)
	writeAt(t, h, want, 0)
	snapshot(t, f, "w", "s1")
	if _, err := tree.Link(t.Context(), a.Ino, RootIno, "f"); err != nil {
		t.Fatal(err)
	}
	if err := h.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	f.crash()
	if got := read(t, f.live("w"), RootIno, "f"); !bytes.Equal(got, want) {
		t.Fatalf("differs: %d bytes, zero: %v", len(got), bytes.Equal(got, make([]byte, len(got))))
	}
}

func TestMiddleAndAppend(t *testing.T) {
	for _, how := range []string{"snapshot", "cut"} {
		t.Run(how, func(t *testing.T) {
			f := newFixture(t)
			tree := f.archive("w")
			want := seeded(60000, 1)
			write(t, tree, RootIno, "f", want)
			snapshot(t, f, "w", "s0")
			a, _ := tree.Lookup(t.Context(), RootIno, "f")
			h, _ := tree.Open(t.Context(), a.Ino, true)
			writeAt(t, h, []byte("NEW DATA"), 30000)
			writeAt(t, h, []byte("appended"), 60000)
			copy(want[30000:], "NEW DATA")
			want = append(want, "appended"...)
			if how == "snapshot" {
				snapshot(t, f, "w", "s1")
			} else if err := h.f.cut(t.Context()); err != nil {
				t.Fatal(err)
			}
			h.f.mu.Lock()
			h.f.settle()
			h.f.mu.Unlock()
			if got := read(t, tree, RootIno, "f"); !bytes.Equal(got, want) {
				t.Fatalf("differs at 30000: %q vs %q", got[30000:30008], want[30000:30008])
			}
		})
	}
}

func TestUncutOrder(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("w")
	a, err := tree.Mknod(t.Context(), RootIno, "f", Creation{Mode: ModeFile | 0o644})
	if err != nil {
		t.Fatal(err)
	}
	h, _ := tree.Open(t.Context(), a.Ino, true)
	acked := []byte("this was fsynced")
	writeAt(t, h, acked, 10<<20)
	if err := h.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The workers are slow: flights stay. (Nothing else about it is unusual.)
	f.chunks.data.busy.Lock()
	writeAt(t, h, seeded(5<<20, 2), 0)
	// what commit does after its settle, when a writer has gone on meanwhile
	f.commitMu.Lock()
	tree.gate.Lock()
	batch := tree.capture(nil)
	tree.gate.Unlock()
	err = f.journal.Append([][]byte{batch})
	f.commitMu.Unlock()
	f.chunks.data.busy.Unlock()
	if err != nil {
		t.Fatal(err)
	}
	f.crash()
	got := read(t, f.live("w"), RootIno, "f")
	if !bytes.Equal(got[10<<20:], acked) {
		t.Fatalf("fsynced bytes are %q", got[10<<20:])
	}
}

func TestConcurrentCut(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("w")
	a, _ := tree.Mknod(t.Context(), RootIno, "f", Creation{Mode: ModeFile | 0o644})
	h, _ := tree.Open(t.Context(), a.Ino, true)
	stop := make(chan struct{})
	done := make(chan struct{})
	go func() { // what admit and commit do from other goroutines
		defer close(done)
		for {
			select {
			case <-stop:
				return
			default:
				h.f.cut(context.Background())
			}
		}
	}()
	want := make([]byte, 8<<20)
	for i := range 100 {
		b := seeded(1<<20, int64(i))
		off := (i * 5 % 8) << 20
		if i%3 == 0 {
			b = append(b, seeded(4<<20, int64(i)+1)...)
			off = (i % 4) << 20
		}
		writeAt(t, h, b, int64(off))
		copy(want[off:], b)
	}
	close(stop)
	<-done
	h.f.cut(t.Context())
	h.f.mu.Lock()
	h.f.settle()
	held := h.f.held.Load()
	h.f.mu.Unlock()
	f.writer.mu.Lock()
	for f.writer.flying > 0 {
		f.writer.changed.Wait()
	}
	dirty, flying := f.writer.dirty, f.writer.flying
	f.writer.mu.Unlock()
	got := read(t, tree, RootIno, "f")
	if !bytes.Equal(got, want) {
		t.Error("content differs")
	}
	if held != 0 || dirty != 0 || flying != 0 {
		t.Fatalf("held %d dirty %d flying %d", held, dirty, flying)
	}
}

type hookedStore struct {
	store.Store
	put func(name string, put func() error) error
	get func(name string)
}

func (h hookedStore) Put(ctx context.Context, name string, data []byte) error {
	if h.put == nil {
		return h.Store.Put(ctx, name, data)
	}
	return h.put(name, func() error { return h.Store.Put(ctx, name, data) })
}

func (h hookedStore) Get(ctx context.Context, name string, off int64, p []byte) error {
	err := h.Store.Get(ctx, name, off, p)
	if h.get != nil {
		h.get(name)
	}
	return err
}

var errGone = errors.New("disk has gone")

// the root is stored, but its Put reports an error (fsync of the directory)
func TestRootPutUnsure(t *testing.T) {
	f := newFixture(t)
	f.archive("w")
	snapshot(t, f, "w", "s0")
	var once atomic.Bool
	f.Repository.store = hookedStore{Store: f.Repository.store, put: func(name string, put func() error) error {
		err := put()
		if strings.HasPrefix(name, "roots/") && once.CompareAndSwap(false, true) {
			return errGone
		}
		return err
	}}
	_, err := f.TakeSnapshot(t.Context(), "w", "s1", false)
	t.Log("s1:", err)
	for range 3 {
		_, err = f.TakeSnapshot(t.Context(), "w", "s2", false)
		if err == nil {
			return
		}
	}
	t.Fatal("for ever:", err)
}

func TestMemoryFailingStore(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("w")
	f.chunks.data.st = hookedStore{Store: f.chunks.data.st, put: func(string, func() error) error { return errGone }}
	a, _ := tree.Mknod(t.Context(), RootIno, "f", Creation{Mode: ModeFile | 0o644})
	h, _ := tree.Open(t.Context(), a.Ino, true)
	for i := range 400 {
		if _, err := h.WriteAt(t.Context(), seeded(1<<20, int64(i)), int64(i)<<20, false); err != nil {
			t.Log("refused after MiB", i, err)
			break
		}
	}
	t.Logf("in memory: %d MiB", f.chunks.unsavedBytes()>>20)
	if f.chunks.unsavedBytes() > 200<<20 {
		t.Fail()
	}
}

func TestReaderBesideCheckpoint(t *testing.T) {
	f := newFixture(t)
	f.archive("w")
	snapshot(t, f, "w", "s0")
	st, _ := local.New(f.dir)
	var once atomic.Bool
	z := hookedStore{Store: st, get: func(name string) {
		if strings.HasPrefix(name, "roots/") && once.CompareAndSwap(false, true) {
			snapshot(t, f, "w", "s1")
		}
	}}
	r, err := Open(t.Context(), Options{Dir: f.dir, Store: z, Key: f.key, ReadOnly: true, IndexDir: filepath.Join(t.TempDir(), "i")})
	if err != nil {
		t.Fatal(err)
	}
	r.Close(context.Background())
}

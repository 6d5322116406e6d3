package archive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"

	"bkfs/archive/seal"
	"bkfs/archive/store"
	"bkfs/archive/store/storetest"
)

// openOn opens a repository whose objects are in st.
func openOn(t *testing.T, dir string, st store.Store, key *seal.Key) *Repository {
	t.Helper()
	r, err := Open(t.Context(), Options{Dir: dir, Store: st, Key: key, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func newOn(t *testing.T, st store.Store) (*Repository, string, *seal.Key) {
	t.Helper()
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Destroy)
	if _, err := Create(t.Context(), st, key, seal.NewRepositoryID(), nil); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	return openOn(t, dir, st, key), dir, key
}

// A full store is told to whoever syncs; nothing is lost, and all is well when
// there is room again.
func TestAFullStoreLosesNothing(t *testing.T) {
	var full atomic.Bool
	st := new(storetest.Memory)
	st.Fault = func(op, name string) error {
		if full.Load() && op == "put" && strings.HasPrefix(name, "packs/") {
			return fmt.Errorf("%s: %w", name, store.ErrQuota)
		}
		return nil
	}
	r, dir, key := newOn(t, st)
	tree, err := r.CreateArchive(t.Context(), "a", Creation{Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	full.Store(true)
	want := random(20 << 20)
	write(t, tree, RootIno, "big", want)
	if err := r.Sync(t.Context()); !errors.Is(err, ErrNoSpace) {
		t.Errorf("sync on a full store: %v, want ErrNoSpace", err)
	}
	if got := read(t, tree, RootIno, "big"); !bytes.Equal(got, want) {
		t.Error("what couldn't be stored can't be read either")
	}
	if _, err := r.TakeSnapshot(t.Context(), "a", "s", false); !errors.Is(err, ErrNoSpace) {
		t.Errorf("snapshot on a full store: %v, want ErrNoSpace", err)
	}
	full.Store(false)
	if err := r.Sync(t.Context()); err != nil {
		t.Errorf("sync with room again: %v", err)
	}
	if list, err := r.Snapshots("a"); err != nil || len(list) != 0 {
		t.Errorf("the snapshot that failed is there: %v, %v", list, err)
	}
	if err := r.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	r = openOn(t, dir, st, key)
	defer r.Close(context.Background())
	tree, err = r.Live("a")
	if err != nil {
		t.Fatal(err)
	}
	if got := read(t, tree, RootIno, "big"); !bytes.Equal(got, want) {
		t.Error("the file isn't what was written")
	}
}

// Every put is made to fail once: whatever Sync acknowledged before is there
// after a crash, and the repository works on.
func TestEachPutMayFailOnce(t *testing.T) {
	for i := int64(1); ; i++ {
		var n atomic.Int64
		st := new(storetest.Memory)
		r, dir, key := newOn(t, st)
		st.Fault = func(op, name string) error {
			if op == "put" && n.Add(1) == i {
				return fmt.Errorf("%s: %w", name, store.ErrTransient)
			}
			return nil
		}
		tree, err := r.CreateArchive(t.Context(), "a", Creation{Mode: 0o755})
		if err != nil {
			t.Fatal(err)
		}
		acknowledged := map[string][]byte{}
		for step := range 3 {
			name := fmt.Sprint("f", step)
			data := random(3 << 20)
			write(t, tree, RootIno, name, data)
			if err := r.Sync(t.Context()); err == nil {
				acknowledged[name] = data
			}
			if _, err := r.TakeSnapshot(t.Context(), "a", fmt.Sprint("s", step), false); err == nil {
				acknowledged[name] = data
			}
		}
		r.committer.close()
		r.writer.close()
		r.index.Close()
		r.lock.release()
		failed := n.Load() >= i
		st.Fault = nil
		r = openOn(t, dir, st, key)
		tree, err = r.Live("a")
		if err != nil {
			t.Fatalf("put %d failed: %v", i, err)
		}
		for name, want := range acknowledged {
			if got := read(t, tree, RootIno, name); !bytes.Equal(got, want) {
				t.Errorf("put %d failed: %s was acknowledged and isn't there", i, name)
			}
		}
		rep, err := r.Check(t.Context(), CheckOptions{ReadData: true})
		if err != nil || len(rep.Damage) > 0 {
			t.Errorf("put %d failed: check: %+v, %v", i, rep, err)
		}
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if !failed {
			if len(acknowledged) != 3 {
				t.Errorf("without a failure %d of 3 files were acknowledged", len(acknowledged))
			}
			return
		}
	}
}

// A snapshot of a large tree with one change costs a few pages, not the tree.
func TestASnapshotCostsWhatChanged(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("a")
	for i := range 60 {
		d, err := tree.Mknod(t.Context(), RootIno, fmt.Sprint("d", i), Creation{Mode: ModeDir | 0o755})
		if err != nil {
			t.Fatal(err)
		}
		for k := range 100 {
			write(t, tree, d.Ino, fmt.Sprint("f", k), []byte(fmt.Sprint(i, k)))
		}
	}
	stored := func() uint64 {
		s, err := f.Stats(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s.Metadata
	}
	before := stored()
	if _, err := f.TakeSnapshot(t.Context(), "a", "first", false); err != nil {
		t.Fatal(err)
	}
	all := stored() - before
	d, err := tree.Lookup(t.Context(), RootIno, "d7")
	if err != nil {
		t.Fatal(err)
	}
	write(t, tree, d.Ino, "one more", []byte("x"))
	before = stored()
	if _, err := f.TakeSnapshot(t.Context(), "a", "second", false); err != nil {
		t.Fatal(err)
	}
	if cost := stored() - before; cost > all/10 {
		t.Errorf("a snapshot with one new file costs %d bytes of metadata, the first one cost %d", cost, all)
	}
	before = stored()
	if _, err := f.TakeSnapshot(t.Context(), "a", "third", false); err != nil {
		t.Fatal(err)
	}
	if cost := stored() - before; cost > 4096 {
		t.Errorf("a snapshot without any change costs %d bytes of metadata", cost)
	}
}

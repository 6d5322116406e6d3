package archive

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"bkfs/archive/pack"
	"bkfs/archive/store"
	"bkfs/archive/store/local"

	"github.com/google/go-cmp/cmp"
)

// A crash while the next journal was being created: it has no whole header,
// and nothing was acknowledged in it.
func TestTornHeaderOfTheNextJournal(t *testing.T) {
	for _, n := range []int{0, 100, 512} {
		f := filled(t)
		want := f.listing("a")
		f.halt()
		f.save(filepath.Join(f.journalDir, fmt.Sprintf("%016x", f.root.journal+1)), make([]byte, n))
		if err := f.tryOpen(); err != nil {
			t.Errorf("a header of %d bytes: %v", n, err)
			continue
		}
		if diff := cmp.Diff(want, f.listing("a")); diff != "" {
			t.Errorf("a header of %d bytes (-want +got):\n%s", n, diff)
		}
		f.reopen()
		f.clean("opened again")
	}
}

// A pack that has lost its footer gives up what is whole, also when the index
// is built anew.
func TestLostFooter(t *testing.T) {
	f := newFixture(t)
	write(t, f.archive("a"), RootIno, "two", random(journalChunks+100_000))
	f.reopen()
	want := f.listing("a")
	p := f.placeOf("two")
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(f.dir, filepath.FromSlash(p.Pack.Name()))
	flipBit(f, path, len(f.load(path))-1)
	if err := os.RemoveAll(filepath.Join(f.dir, "index")); err != nil {
		t.Fatal(err)
	}
	f.open()
	if _, err := readErr(t, f.live("a"), "two"); err != nil {
		t.Error(err)
	} else if diff := cmp.Diff(want, f.listing("a")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTruncatedPack(t *testing.T) {
	for _, noIndex := range []bool{false, true} {
		damaging(t, true, noIndex, func(f *fixture, p pack.Place, path string) {
			f.save(path, f.load(path)[:p.Offset+100])
		})
	}
}

func TestPackInAnothersPlace(t *testing.T) {
	damaging(t, true, false, func(f *fixture, p pack.Place, path string) {
		packs, err := filepath.Glob(filepath.Join(f.dir, "packs", "*", "*"))
		if err != nil {
			f.t.Fatal(err)
		}
		for _, o := range packs {
			if o != path {
				f.save(path, f.load(o))
				return
			}
		}
	})
}

// The copy of another repository, or one that says so, doesn't hide ours.
func TestForgedConfigID(t *testing.T) {
	for _, name := range []string{configName, configCopy} {
		c := newConfigs(t)
		c.edit(c.id.String(), "00112233445566778899aabbccddeeff", name)
		c.edit(`"generation": 1`, `"generation": 9`, name)
		if cfg, err := c.verified(); err != nil || cfg.ID != c.id {
			t.Errorf("%s is another's: got %v, want repository %s", name, err, c.id)
		}
	}
}

// failing is a store that can be made to fail.
type failing struct {
	store.Store
	full atomic.Bool
}

func (s *failing) Put(ctx context.Context, name string, data []byte) error {
	if s.full.Load() {
		return store.ErrQuota
	}
	return s.Store.Put(ctx, name, data)
}

// Neither the journal nor a root could be written; then there is room again,
// and what Sync acknowledges is there after a crash.
func TestSyncAfterJournalAndRootFailed(t *testing.T) {
	f := newFixture(t)
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := local.New(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	full := &failing{Store: st}
	f.Repository, err = Open(t.Context(), Options{Dir: f.dir, Store: full, Key: f.key, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	tree := f.archive("a")
	write(t, tree, RootIno, "before", []byte("x"))
	f.mustSync()
	d, err := tree.Mknod(t.Context(), RootIno, "dir", Creation{Mode: ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	full.full.Store(true)
	f.commitMu.Lock()
	f.journal.Close() // its next append fails, as on a full disk
	f.commitMu.Unlock()
	if err := f.Sync(t.Context()); err == nil {
		t.Fatal("sync succeeds though nothing can be written")
	}
	write(t, tree, d.Ino, "after", []byte("y"))
	if err := f.Sync(t.Context()); err == nil {
		t.Error("sync succeeds though what it needs was never written")
	}
	full.full.Store(false)
	f.mustSync()
	want := f.listing("a")
	f.halt()
	if err := f.tryOpen(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, f.listing("a")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

package index

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"bkfs/archive/pack"
)

func (f *fixture) write(name, content string) {
	f.Helper()
	if err := os.WriteFile(filepath.Join(f.dir, name), []byte(content), 0o600); err != nil {
		f.Fatal(err)
	}
}

func TestForeignDirectory(t *testing.T) {
	for _, name := range []string{"letter.txt", "000001.sst.bak", "instance~", ".hidden", "x.sst", ".sst", "sub/"} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.close(f.open())
			if dir, ok := strings.CutSuffix(name, "/"); ok {
				if err := os.Mkdir(filepath.Join(f.dir, dir), 0o700); err != nil {
					t.Fatal(err)
				}
			} else {
				f.write(name, "mine")
			}
			before, _ := os.ReadDir(f.dir)
			if _, err := Open(f.dir, testKeys(t, 2), f.log); !errors.Is(err, ErrForeign) {
				t.Errorf("Open: %v, want ErrForeign", err)
			}
			if after, _ := os.ReadDir(f.dir); len(after) != len(before) {
				t.Errorf("%d files became %d", len(before), len(after))
			}
		})
	}
}

func TestInUse(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	f.add(x, 0, 1)
	if _, err := Open(f.dir, f.keys, f.log); !errors.Is(err, ErrInUse) {
		t.Errorf("second Open: %v, want ErrInUse", err)
	}
	f.want(x, 1, 0)
}

func TestAnotherRepository(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	f.add(x, 0, 1)
	f.close(x)
	f.keys = testKeys(t, 2)
	x = f.open()
	if !x.Fresh() || x.HasPack(packID(0)) {
		t.Errorf("fresh %t, has pack %t, want true, false", x.Fresh(), x.HasPack(packID(0)))
	}
	f.add(x, 1, 1)
	x = f.reopen(x)
	f.want(x, 1, 1)
}

// A process that dies loses nothing: its mapped files are the kernel's.
func TestProcessKilled(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	for n := range 20 {
		f.add(x, n, n, 100+n)
	}
	g := f.copy()
	y := g.open()
	g.retain(y)
	if y.Fresh() {
		t.Error("the index was discarded")
	}
	for n := range 20 {
		g.want(y, 100+n, n)
	}
}

// A power loss may keep a marker and lose entries that were written before.
func TestPowerLoss(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	f.add(x, 0, 1, 2)
	f.add(x, 1, 3)
	w := x.newWriter()
	if err := errors.Join(w.delete(chunkKey(chunkID(2))), w.flush()); err != nil {
		t.Fatal(err)
	}
	g := f.copy()
	g.write(stateFile, "another boot")
	y := g.open()
	g.retain(y)
	if y.Fresh() || y.HasPack(packID(0)) || !y.HasPack(packID(1)) {
		t.Errorf("fresh %t, has packs %t, %t, want false, false, true", y.Fresh(), y.HasPack(packID(0)), y.HasPack(packID(1)))
	}
	g.want(y, 1, -1)
	g.want(y, 3, 1)
	g.add(y, 0, 1, 2)
	y = g.reopen(y)
	g.want(y, 2, 0)
}

// An old copy of the directory knows less, and nothing false.
func TestOldCopy(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	f.add(x, 0, 1)
	f.close(x)
	old := f.copy()
	x = f.open()
	f.retain(x)
	f.add(x, 1, 1, 2)
	f.close(x)
	y := old.open()
	old.retain(y)
	old.want(y, 1, 0)
	old.want(y, 2, -1)
	old.add(y, 2, 2)
	old.want(y, 2, 2)
}

func TestDiesWhileOpening(t *testing.T) {
	for _, state := range []string{stateOpening, ""} { // empty: torn
		f := newFixture(t)
		x := f.open()
		f.add(x, 0, 1)
		f.close(x)
		f.write(stateFile, state)
		if x = f.open(); !x.Fresh() {
			t.Errorf("state %q: the index wasn't discarded", state)
		}
		f.add(x, 1, 1)
		f.want(x, 1, 1)
	}
}

// Whatever file is cut, changed or lost: Open succeeds, no hit is false, and
// what is added afterwards is found, by a Reset at worst.
func TestDamagedFiles(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	many := make([]int, 3000)
	for i := range many {
		many[i] = i
	}
	f.add(x, 0, many...)
	x = f.reopen(x) // now there is a table
	f.add(x, 1, 1, 5000)
	running := f.copy()
	f.close(x)
	damages := map[string]func(b []byte) []byte{
		"lost":      func([]byte) []byte { return nil },
		"empty":     func([]byte) []byte { return []byte{} },
		"cut":       func(b []byte) []byte { return b[:len(b)/2] },
		"begin":     func(b []byte) []byte { b[min(1, len(b)-1)] ^= 1; return b },
		"middle":    func(b []byte) []byte { b[len(b)/2] ^= 1; return b },
		"end":       func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"scattered": func(b []byte) []byte { scatter(b); return b },
	}
	for state, f := range map[string]*fixture{"closed": f, "running": running} {
		entries, err := os.ReadDir(f.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			for damage, do := range damages {
				t.Run(state+"/"+e.Name()+"/"+damage, func(t *testing.T) {
					g := f.copy()
					g.TB = t
					path := filepath.Join(g.dir, e.Name())
					b, err := os.ReadFile(path)
					if err != nil {
						t.Fatal(err)
					}
					if b = do(b); b == nil {
						err = os.Remove(path)
					} else {
						err = os.WriteFile(path, b, 0o600)
					}
					if err != nil {
						t.Fatal(err)
					}
					g.useDamaged(len(many))
				})
			}
		}
	}
}

func scatter(b []byte) {
	for i := 97; i < len(b); i += 1009 {
		b[i] ^= 0x10
	}
}

func (f *fixture) useDamaged(chunks int) {
	f.Helper()
	x := f.open()
	f.retain(x)
	for c := range chunks {
		got, ok, err := x.Get(chunkID(c))
		if err != nil && !errors.Is(err, ErrDamaged) {
			f.Fatalf("Get(chunk %d): %v, want ErrDamaged or none", c, err)
		}
		if ok && got != placeOf(0, c) && got != placeOf(1, c) {
			f.Fatalf("Get(chunk %d) = %+v: a false hit", c, got)
		}
	}
	if x.AddPack(packID(7), pack.KindData, 1, entries(7, 1, 9999)) != nil || x.damaged.Load() {
		if err := x.Reset(); err != nil {
			f.Fatalf("Reset: %v", err)
		}
		f.add(x, 7, 1, 9999)
	}
	x = f.reopen(x)
	f.want(x, 9999, 7)
}

// A sealed value at another's key is refused, and the index discarded.
func TestMovedValue(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	f.add(x, 0, 1)
	f.add(x, 1, 2)
	err := x.db.Update(func(txn *badger.Txn) error {
		item, err := txn.Get(chunkKey(chunkID(1)))
		if err != nil {
			return err
		}
		sealed, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		return txn.Set(chunkKey(chunkID(2)), sealed)
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := x.Get(chunkID(2)); ok || !errors.Is(err, ErrDamaged) {
		t.Errorf("Get = %t, %v, want ErrDamaged", ok, err)
	}
	f.close(x)
	if x = f.open(); !x.Fresh() {
		t.Error("a damaged index was kept")
	}
}

func TestNoSpace(t *testing.T) {
	f := newFixture(t)
	f.free = 1 << 40
	x := f.open()
	f.add(x, 0, 1)
	f.free = reserve - 1
	f.add(x, 1, 2)
	f.want(x, 1, 0)
	f.want(x, 2, 1)
	if got := x.Stats().Held; got != 1 {
		t.Errorf("%d chunks are held, want 1", got)
	}
	f.free = reserve + 1 // not enough to begin again
	f.add(x, 2, 1)
	f.want(x, 1, 2)
	if got := x.Stats().Held; got != 2 {
		t.Errorf("%d chunks are held, want 2", got)
	}
	f.free = 3 * reserve
	f.add(x, 3, 3)
	if got := x.Stats().Held; got != 0 {
		t.Errorf("%d chunks are held, want 0", got)
	}
	x = f.reopen(x)
	f.want(x, 1, 2)
	f.want(x, 2, 1)
	f.want(x, 3, 3)

	many := make([]int, maxHeld+1)
	for i := range many {
		many[i] = 100 + i
	}
	f.free = 1
	if err := x.AddPack(packID(9), pack.KindData, 1, entries(9, many...)); !errors.Is(err, ErrFull) {
		t.Errorf("AddPack of %d chunks without space: %v, want ErrFull", len(many), err)
	}
}

func TestOpenWithoutSpace(t *testing.T) {
	f := newFixture(t)
	f.free = 1
	x := f.open() // nothing there
	f.add(x, 0, 1)
	f.want(x, 1, 0)
	f.close(x)
	f.free = 1 << 40
	x = f.open()
	if x.HasPack(packID(0)) {
		t.Error("a pack that was never written is known")
	}
	f.add(x, 0, 1)
	unclean := f.copy()
	f.close(x)

	f.free = 1
	x = f.open() // closed in good order: read only
	f.retain(x)
	f.want(x, 1, 0)

	unclean.free = 1
	y := unclean.open() // would have to write to recover: discarded
	if !y.Fresh() {
		t.Error("an index was recovered on a full disk")
	}
	unclean.add(y, 5, 1)
	unclean.want(y, 1, 5)
}

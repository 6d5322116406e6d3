package index

import (
	"encoding/binary"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
	"bkfs/archive/seal"
)

// testKeys are the keys of a repository; another n gives another one's.
func testKeys(tb testing.TB, n byte) *seal.Keys {
	tb.Helper()
	secret := [32]byte{n}
	key, err := seal.KeyFrom(secret[:])
	if err != nil {
		tb.Fatal(err)
	}
	defer key.Destroy()
	keys, err := seal.NewKeys(key, seal.RepositoryID{n})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(keys.Destroy)
	return keys
}

type fixture struct {
	testing.TB
	dir  string
	keys *seal.Keys
	log  *slog.Logger
	free uint64 // space, when not 0
}

func newFixture(tb testing.TB) *fixture {
	return &fixture{TB: tb, dir: filepath.Join(tb.TempDir(), "index"), keys: testKeys(tb, 1), log: slog.New(slog.DiscardHandler)}
}

func (f *fixture) open() *Index {
	f.Helper()
	var available func() (uint64, error)
	if f.free != 0 {
		available = func() (uint64, error) { return f.free, nil }
	}
	x, err := open(f.dir, f.keys, f.log, available)
	if err != nil {
		f.Fatalf("open: %v", err)
	}
	f.Cleanup(func() { x.Close() })
	return x
}

// reopen closes x and opens it again, with every known pack live.
func (f *fixture) reopen(x *Index) *Index {
	f.Helper()
	f.close(x)
	x = f.open()
	f.retain(x)
	return x
}

func (f *fixture) close(x *Index) {
	f.Helper()
	if err := x.Close(); err != nil {
		f.Fatalf("Close: %v", err)
	}
}

func (f *fixture) retain(x *Index) {
	f.Helper()
	if err := x.Retain(func(pack.ID) bool { return true }); err != nil {
		f.Fatalf("Retain: %v", err)
	}
}

// add adds pack n with the given chunks.
func (f *fixture) add(x *Index, n int, chunks ...int) {
	f.Helper()
	if err := x.AddPack(packID(n), pack.KindData, 1<<24, entries(n, chunks...)); err != nil {
		f.Fatalf("AddPack: %v", err)
	}
}

// want checks that the chunk is found in pack n; -1 means a miss.
func (f *fixture) want(x *Index, c, n int) {
	f.Helper()
	got, ok, err := x.Get(chunkID(c))
	if err != nil || ok != (n >= 0) {
		f.Errorf("Get(chunk %d) = %t, %v, want pack %d", c, ok, err, n)
		return
	}
	if ok && got != placeOf(n, c) {
		f.Errorf("Get(chunk %d) = %+v, want %+v", c, got, placeOf(n, c))
	}
}

// copy makes a copy of the directory as it is, as a crash would leave it.
func (f *fixture) copy() *fixture {
	f.Helper()
	g := *f
	g.dir = filepath.Join(f.TempDir(), "copy")
	if err := os.CopyFS(g.dir, os.DirFS(f.dir)); err != nil {
		f.Fatal(err)
	}
	return &g
}

// Ids are spread like the real ones, and 0 isn't the zero value.
func packID(n int) (id pack.ID)   { return pack.ID(spread(n + 1)) }
func chunkID(n int) (id chunk.ID) { return chunk.ID(spread(-n - 1)) }

func spread(n int) (b [32]byte) {
	x := uint64(n) * 0x9e3779b97f4a7c15
	for i := 0; i < len(b); i += 8 {
		x ^= x >> 29
		x *= 0xbf58476d1ce4e5b9
		binary.BigEndian.PutUint64(b[i:], x)
	}
	return b
}

func placeOf(n, c int) pack.Place {
	return pack.Place{Pack: packID(n), Offset: uint32(c) * 100, Sealed: 90, Record: uint32(c), Start: uint32(n), Length: 80}
}

func entries(n int, chunks ...int) []pack.Entry {
	es := make([]pack.Entry, len(chunks))
	for i, c := range chunks {
		es[i] = pack.Entry{Chunk: chunkID(c), Place: placeOf(n, c)}
	}
	return es
}

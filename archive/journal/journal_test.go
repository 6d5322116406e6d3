package journal

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"bkfs/archive/seal"
)

var update = flag.Bool("update", false, "write testdata anew: only with a new format")

// testKeys are the same in every run, so that testdata opens.
func testKeys(t testing.TB) *seal.Keys {
	t.Helper()
	key, err := seal.KeyFrom(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Destroy)
	keys, err := seal.NewKeys(key, seal.RepositoryID{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Destroy)
	return keys
}

func pattern(n int, seed byte) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i)*3 + seed + byte(i>>8)
	}
	return b
}

// write makes a journal of these batches and returns its path, and the file's
// length behind the header and behind each batch.
func write(t testing.TB, dir string, keys *seal.Keys, batches [][]byte) (string, []int64, Link) {
	t.Helper()
	w, err := Create(dir, keys, 5, &Link{Generation: 4, ID: [32]byte{9}, Batches: 17, Chain: [32]byte{8}})
	if err != nil {
		t.Fatal(err)
	}
	ends := []int64{w.Size()}
	for i, b := range batches {
		cut := len(b) * i / max(len(batches), 1)
		if err := w.Append([][]byte{b[:cut], nil, b[cut:]}); err != nil {
			t.Fatal(err)
		}
		ends = append(ends, w.Size())
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name(5)), ends, w.Link()
}

func replayAll(t testing.TB, path string, keys *seal.Keys) ([][]byte, Tail, error) {
	t.Helper()
	var got [][]byte
	tail, err := Replay(t.Context(), path, keys, func(b []byte) error {
		got = append(got, bytes.Clone(b))
		return nil
	})
	return got, tail, err
}

// replayBytes is replayAll for a file in memory.
func replayBytes(t testing.TB, data []byte, keys *seal.Keys) ([][]byte, Tail, error) {
	t.Helper()
	var got [][]byte
	tail := Tail{Link: Link{Generation: 5}}
	r := reader{file: bytes.NewReader(data), size: int64(len(data)), at: slot}
	err := r.replay(t.Context(), keys, &tail, func(b []byte) error {
		got = append(got, bytes.Clone(b))
		return nil
	})
	return got, tail, err
}

func TestReplay(t *testing.T) {
	keys := testKeys(t)
	rapid.Check(t, func(rt *rapid.T) {
		var batches [][]byte
		for i := range rapid.IntRange(0, 4).Draw(rt, "batches") {
			n := rapid.SampledFrom([]int{1, 100, slot - headSize - seal.Overhead, 5000, maxPayload, maxPayload + 1, 2*maxPayload + 7}).Draw(rt, "size")
			batches = append(batches, pattern(n, byte(i)))
		}
		path, _, link := write(t, t.TempDir(), keys, batches)
		got, tail, err := replayAll(t, path, keys)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(len(batches), len(got)); diff != "" {
			rt.Fatal(diff)
		}
		for i := range got {
			if !bytes.Equal(got[i], batches[i]) {
				rt.Fatalf("batch %d differs", i)
			}
		}
		prev := &Link{Generation: 4, ID: [32]byte{9}, Batches: 17, Chain: [32]byte{8}}
		if diff := cmp.Diff(Tail{Link: link, Prev: prev}, tail); diff != "" {
			rt.Fatal(diff)
		}
	})
}

// However a crash cuts the file, exactly the batches before the cut come back.
func TestTruncated(t *testing.T) {
	keys := testKeys(t)
	for _, batches := range [][][]byte{
		{pattern(10, 1), pattern(1000, 2), pattern(3, 3)},
		{pattern(10, 1), pattern(maxPayload+50, 2)}, // a batch of two records
	} {
		path, ends, _ := write(t, t.TempDir(), keys, batches)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		step := int64(1)
		if len(whole) > 1<<20 {
			step = 4099
		}
		for n := int64(0); n <= int64(len(whole)); n += step {
			want := 0
			for want < len(batches) && ends[want+1] <= n {
				want++
			}
			got, tail, err := replayBytes(t, whole[:n], keys)
			torn := n != ends[want]
			if err != nil || len(got) != want || tail.Torn != torn || tail.Batches != uint64(want) {
				t.Fatalf("cut at %d: %d batches, torn %t, %v; want %d, %t", n, len(got), tail.Torn, err, want, torn)
			}
			for i := range got {
				if !bytes.Equal(got[i], batches[i]) {
					t.Fatalf("cut at %d: batch %d differs", n, i)
				}
			}
		}
	}
}

// A tail that a crash left as zeros or as garbage, instead of short, is torn.
func TestTornTail(t *testing.T) {
	keys := testKeys(t)
	path, ends, _ := write(t, t.TempDir(), keys, [][]byte{pattern(10, 1), pattern(2*maxPayload, 2)})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := ends[1]; at < ends[2]; at += 97 * slot {
		b := bytes.Clone(whole)
		clear(b[at : at+slot]) // one lost block, with good records of the same batch behind it
		got, tail, err := replayBytes(t, b, keys)
		if err != nil || len(got) != 1 || !tail.Torn {
			t.Fatalf("block lost at %d: %d batches, torn %t, %v", at, len(got), tail.Torn, err)
		}
	}
}

// Any changed bit is damage, but for the last batch, which can't be told from a
// torn one. Nothing wrong is ever delivered.
func TestFlipped(t *testing.T) {
	keys := testKeys(t)
	batches := [][]byte{pattern(10, 1), pattern(700, 2), pattern(3, 3)}
	path, ends, _ := write(t, t.TempDir(), keys, batches)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		b := bytes.Clone(whole)
		b[n] ^= 1 << (n % 8)
		got, tail, err := replayBytes(t, b, keys)
		last := int64(n) >= ends[len(ends)-2]
		switch {
		case last && (err != nil || !tail.Torn || len(got) != len(batches)-1):
			t.Fatalf("byte %d of the last batch: %d batches, torn %t, %v", n, len(got), tail.Torn, err)
		case !last && !errors.Is(err, ErrDamaged) && !(n < fieldsSize && errors.Is(err, ErrFormat)):
			t.Fatalf("byte %d: %v, want ErrDamaged", n, err)
		}
		for i := range got {
			if !bytes.Equal(got[i], batches[i]) {
				t.Fatalf("byte %d: batch %d differs", n, i)
			}
		}
	}
}

func TestReplayRefuses(t *testing.T) {
	keys := testKeys(t)
	path, ends, _ := write(t, t.TempDir(), keys, [][]byte{pattern(10, 1), pattern(700, 2), pattern(3, 3)})
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(from, to int64) []byte { return append(bytes.Clone(whole[:from]), whole[to:]...) }
	change := func(at int, b byte) []byte {
		c := bytes.Clone(whole)
		c[at] = b
		return c
	}
	tests := []struct {
		class, name string
		data        []byte
		want        error
	}{
		{"a batch taken out", name(5), cut(ends[1], ends[2]), nil}, // torn: the third doesn't open at the second's place
		{"a batch repeated", name(5), append(bytes.Clone(whole[:ends[2]]), whole[ends[1]:]...), nil},
		{"blocks swapped", name(5), append(append(bytes.Clone(whole[:ends[1]]), whole[ends[1]+slot:ends[2]]...), append(bytes.Clone(whole[ends[1]:ends[1]+slot]), whole[ends[2]:]...)...), ErrDamaged},
		{"another file's name", name(6), whole, ErrDamaged},
		{"format changed", name(5), change(9, 2), ErrDamaged}, // it opens all the same
		{"suite changed", name(5), change(10, 2), ErrDamaged},
		{"not a journal", name(5), pattern(4*slot, 0), ErrDamaged},
	}
	for _, tt := range tests {
		p := filepath.Join(t.TempDir(), tt.name)
		if err := os.WriteFile(p, tt.data, 0o600); err != nil {
			t.Fatal(err)
		}
		_, tail, err := replayAll(t, p, keys)
		if !errors.Is(err, tt.want) || (err == nil && !tail.Torn) {
			t.Errorf("%s: %v, torn %t; want %v", tt.class, err, tail.Torn, tt.want)
		}
	}
	future := bytes.Clone(whole)
	future[9] = 2
	clear(future[sealedAt:slot]) // what a later format seals doesn't open here
	p := filepath.Join(t.TempDir(), name(5))
	if err := os.WriteFile(p, future, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := replayAll(t, p, keys); !errors.Is(err, ErrFormat) {
		t.Errorf("later format: %v, want ErrFormat", err)
	}
	other, err := seal.NewKeys(mustKey(t), seal.RepositoryID{1, 2, 3})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Destroy()
	if _, _, err := replayAll(t, path, other); !errors.Is(err, ErrDamaged) {
		t.Errorf("another key: %v, want ErrDamaged", err)
	}
}

func mustKey(t *testing.T) *seal.Key {
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Destroy)
	return key
}

func TestAppendRefuses(t *testing.T) {
	w, err := Create(t.TempDir(), testKeys(t), 1, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Append(nil); !errors.Is(err, ErrSize) {
		t.Errorf("empty batch: %v, want ErrSize", err)
	}
	if err := w.Append([][]byte{make([]byte, MaxBatch), {1}}); !errors.Is(err, ErrSize) {
		t.Errorf("long batch: %v, want ErrSize", err)
	}
	if err := w.Append([][]byte{{1}}); err != nil {
		t.Errorf("after refused batches: %v", err)
	}
	w.file.Close() // the disk fails
	if err := w.Append([][]byte{{1}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("failed write: %v", err)
	}
	if err := w.Append([][]byte{{1}}); !errors.Is(err, os.ErrClosed) {
		t.Errorf("after a failed write: %v, want the same error", err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
}

func TestCreateAndList(t *testing.T) {
	dir, keys := t.TempDir(), testKeys(t)
	want := []File{}
	for _, g := range []uint64{1, 2, 0xabc, 1 << 63} {
		w, err := Create(dir, keys, g, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		want = append(want, File{filepath.Join(dir, name(g)), g})
	}
	if _, err := Create(dir, keys, 2, nil); !errors.Is(err, os.ErrExist) {
		t.Errorf("same generation again: %v, want ErrExist", err)
	}
	for _, other := range []string{"x", "000000000000000A", "01", "0000000000000001.tmp"} {
		if err := os.WriteFile(filepath.Join(dir, other), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := List(dir)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// testdata/v1 was written by format 1 and is read for ever.
func TestGolden(t *testing.T) {
	keys := testKeys(t)
	batches := [][]byte{[]byte("first"), pattern(1000, 2), []byte("last\x00")}
	path := filepath.Join("testdata", "v1", name(5))
	if *update {
		os.Remove(path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Dir(path), keys, batches)
	}
	got, tail, err := replayAll(t, path, keys)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(batches, got); diff != "" {
		t.Error(diff)
	}
	if chain := fmt.Sprintf("%x", tail.Chain); chain != goldenChain {
		t.Errorf("chain %s, want %s", chain, goldenChain)
	}
}

const goldenChain = "3802050a04bda46eb16c81fed04b1690f2e6beb55a1bbeedbb547bf27eff11e3"

func BenchmarkAppend4K(b *testing.B) {
	w, err := Create(b.TempDir(), testKeys(b), 1, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer w.Close()
	batch := [][]byte{make([]byte, 4096)}
	b.SetBytes(4096)
	for b.Loop() {
		if err := w.Append(batch); err != nil {
			b.Fatal(err)
		}
	}
}

package pack

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"bkfs/archive/chunk"
	"bkfs/archive/seal"
	"bkfs/archive/store"
	"bkfs/archive/store/storetest"
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

func random(n int, seed uint64) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)}).Read(b)
	return b
}

func chunksOf(keys *seal.Keys, data ...[]byte) []Chunk {
	chunks := make([]Chunk, len(data))
	for i, d := range data {
		chunks[i] = Chunk{keys.ChunkID(byte(chunk.KindData), d), d}
	}
	return chunks
}

// build makes a data pack of these blobs.
func build(t testing.TB, keys *seal.Keys, id ID, blobs ...[]Chunk) ([]byte, []Entry) {
	t.Helper()
	w, err := newWriter(keys, id, KindData, 3)
	if err != nil {
		t.Fatal(err)
	}
	e := NewEncoder()
	var entries []Entry
	for _, chunks := range blobs {
		b, err := e.Encode(chunks)
		if err != nil {
			t.Fatal(err)
		}
		before, adds := w.Size(), b.Size()
		es, err := w.Append(b)
		if err != nil {
			t.Fatal(err)
		}
		if got := w.Size() - before; got != adds {
			t.Fatalf("the blob added %d bytes, not %d", got, adds)
		}
		entries = append(entries, es...)
	}
	size, begun := w.Size(), bytes.Clone(w.Bytes())
	image, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(image, begun) || w.ID() != id {
		t.Fatal("Finish changed what was there")
	}
	if len(image) != padded(size) {
		t.Fatalf("%d bytes long, want %d padded to %d", len(image), size, padded(size))
	}
	image = bytes.Clone(image)
	w.Release()
	return image, entries
}

func put(t testing.TB, id ID, image []byte) store.Store {
	t.Helper()
	m := new(storetest.Memory)
	if err := m.Put(t.Context(), id.Name(), image); err != nil {
		t.Fatal(err)
	}
	return m
}

func small(keys *seal.Keys) [][]Chunk {
	return [][]Chunk{
		chunksOf(keys, []byte("a"), bytes.Repeat([]byte("text "), 40), []byte("bc")),
		chunksOf(keys, random(300, 1)),
		chunksOf(keys, random(20, 2), bytes.Repeat([]byte{0}, 500)),
	}
}

func TestRoundTrip(t *testing.T) {
	keys := testKeys(t)
	rapid.Check(t, func(rt *rapid.T) {
		var blobs [][]Chunk
		want := map[chunk.ID][]byte{}
		seed := rapid.Uint64Range(0, 1<<20).Draw(rt, "seed")
		for range rapid.IntRange(1, 5).Draw(rt, "blobs") {
			var data [][]byte
			for range rapid.IntRange(1, 20).Draw(rt, "chunks") {
				seed++
				d := random(rapid.SampledFrom([]int{1, 50, 4096, 60000}).Draw(rt, "size"), seed)
				if rapid.Bool().Draw(rt, "compressible") {
					d = bytes.Repeat(d[:(len(d)+9)/10], 10)
				}
				data = append(data, d)
			}
			chunks := chunksOf(keys, data...)
			for _, c := range chunks {
				want[c.ID] = c.Data
			}
			blobs = append(blobs, chunks)
		}
		id := ID{byte(seed)}
		image, entries := build(t, keys, id, blobs...)
		r := NewReader(put(t, id, image), keys)
		info, listed, err := r.Footer(t.Context(), id)
		if err != nil {
			rt.Fatal(err)
		}
		if diff := cmp.Diff(Info{KindData, 3, int64(len(image))}, info); diff != "" {
			rt.Fatal(diff)
		}
		if diff := cmp.Diff(entries, listed); diff != "" {
			rt.Fatal(diff)
		}
		var buf []byte
		for _, e := range entries {
			if buf, err = r.Blob(t.Context(), buf, e.Place); err != nil {
				rt.Fatal(err)
			}
			if got := buf[e.Place.Start:][:e.Place.Length]; !bytes.Equal(got, want[e.Chunk]) {
				rt.Fatalf("chunk %s differs", e.Chunk)
			}
		}
		i := 0
		err = r.Walk(t.Context(), id, func(e Entry, data []byte) error {
			if e != entries[i] || !bytes.Equal(data, want[e.Chunk]) {
				return fmt.Errorf("entry %d differs", i)
			}
			i++
			return nil
		})
		if err != nil || i != len(entries) {
			rt.Fatalf("walk: %d chunks, %v", i, err)
		}
	})
}

// Whatever byte changes: Walk says so, and nothing wrong comes out of any way
// to read. One blob's damage leaves the others readable; the footer's and the
// header's leave all.
func TestFlipped(t *testing.T) {
	keys := testKeys(t)
	id := ID{1, 2}
	blobs := small(keys)
	image, entries := build(t, keys, id, blobs...)
	want := map[chunk.ID][]byte{}
	for _, b := range blobs {
		for _, c := range b {
			want[c.ID] = c.Data
		}
	}
	for n := range image {
		bad := bytes.Clone(image)
		bad[n] ^= 1 << (n % 8)
		r := NewReader(put(t, id, bad), keys)
		got, lost := 0, 0
		err := r.Walk(t.Context(), id, func(e Entry, data []byte) error {
			if data == nil {
				lost++
				return nil
			}
			got++
			if !bytes.Equal(data, want[e.Chunk]) {
				t.Errorf("byte %d: wrong data", n)
			}
			return nil
		})
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("byte %d: walk: %v, want ErrDamaged", n, err)
		}
		if got+lost != len(entries) || lost > 3 {
			t.Fatalf("byte %d: %d chunks and %d lost, of %d", n, got, lost, len(entries))
		}
		if _, listed, err := r.Footer(t.Context(), id); err == nil {
			if diff := cmp.Diff(entries, listed); diff != "" {
				t.Fatalf("byte %d: footer: %s", n, diff)
			}
		}
		for _, e := range entries {
			if p, err := r.Blob(t.Context(), nil, e.Place); err == nil && !bytes.Equal(p[e.Place.Start:][:e.Place.Length], want[e.Chunk]) {
				t.Fatalf("byte %d: blob: wrong data", n)
			}
		}
	}
}

func TestTruncated(t *testing.T) {
	keys := testKeys(t)
	id := ID{1, 2}
	image, entries := build(t, keys, id, small(keys)...)
	for n := 0; n < len(image); n += 7 {
		r := NewReader(put(t, id, image[:n]), keys)
		got := 0
		err := r.Walk(t.Context(), id, func(e Entry, data []byte) error {
			if e != entries[got] || data == nil {
				t.Errorf("cut at %d: entry %d differs", n, got)
			}
			got++
			return nil
		})
		if !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: walk: %v, want ErrDamaged", n, err)
		}
		last := entries[got:]
		if len(last) > 0 && int(last[0].Place.Offset+last[0].Place.Sealed) <= n-trailerSize {
			t.Fatalf("cut at %d: chunk %d is there, but wasn't found", n, got)
		}
		if _, _, err := r.Footer(t.Context(), id); !errors.Is(err, ErrDamaged) {
			t.Fatalf("cut at %d: footer: %v, want ErrDamaged", n, err)
		}
	}
}

func TestBlobRefuses(t *testing.T) {
	keys := testKeys(t)
	id := ID{1, 2}
	image, entries := build(t, keys, id, small(keys)...)
	st := put(t, id, image)
	good := entries[1].Place
	tests := []struct {
		class  string
		change func(p *Place)
		want   error
	}{
		{"another pack", func(p *Place) { p.Pack[0]++ }, store.ErrNotExist},
		{"another offset", func(p *Place) { p.Offset++ }, ErrDamaged},
		{"another record", func(p *Place) { p.Record += 2 }, ErrDamaged},
		{"shorter", func(p *Place) { p.Sealed-- }, ErrDamaged},
		{"shorter than any", func(p *Place) { p.Sealed = 3 }, ErrDamaged},
		{"beyond the pack", func(p *Place) { p.Offset = uint32(len(image)) }, ErrDamaged},
		{"beyond any pack", func(p *Place) { p.Offset = 1<<32 - 1 }, ErrDamaged},
		{"longer than any", func(p *Place) { p.Sealed = 1<<32 - 1 }, ErrDamaged},
		{"chunk in the table", func(p *Place) { p.Start = 4 }, ErrDamaged},
		{"chunk beyond the end", func(p *Place) { p.Length = 1<<32 - 1 }, ErrDamaged},
	}
	for _, tt := range tests {
		p := good
		tt.change(&p)
		if _, err := NewReader(st, keys).Blob(t.Context(), nil, p); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.class, err, tt.want)
		}
	}
}

func TestWriterRefuses(t *testing.T) {
	keys, e := testKeys(t), NewEncoder()
	if _, err := NewWriter(keys, 9, 0); err == nil {
		t.Error("kind 9 was accepted")
	}
	for class, chunks := range map[string][]Chunk{
		"no chunks":   nil,
		"empty chunk": {{}},
		"too long":    {{Data: make([]byte, MaxPayload)}},
	} {
		if _, err := e.Encode(chunks); err == nil {
			t.Errorf("%s: accepted", class)
		}
	}
	w, err := NewWriter(keys, KindMeta, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Finish(); err == nil {
		t.Error("an empty pack was finished")
	}
	big := []Chunk{{Data: random(MaxPayload-lengthSize, 1)}}
	for err == nil {
		b, encodeErr := e.Encode(big)
		if encodeErr != nil {
			t.Fatal(encodeErr)
		}
		_, err = w.Append(b)
	}
	if !errors.Is(err, ErrFull) {
		t.Errorf("%v, want ErrFull", err)
	}
	image, err := w.Finish()
	if err != nil || len(image) > MaxSize {
		t.Errorf("%d bytes, %v; want at most %d", len(image), err, MaxSize)
	}
	if _, err := w.Finish(); err == nil {
		t.Error("a pack was finished twice")
	}
}

// testdata/v1.pack was written by format 1 and is read for ever.
func TestGolden(t *testing.T) {
	keys := testKeys(t)
	id := ID{0xfe, 1}
	path := filepath.Join("testdata", "v1.pack")
	blobs := small(keys)
	if *update {
		image, _ := build(t, keys, id, blobs...)
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, image, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	image, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var want, got [][]byte
	for _, b := range blobs {
		for _, c := range b {
			want = append(want, c.Data)
		}
	}
	err = NewReader(put(t, id, image), keys).Walk(t.Context(), id, func(e Entry, data []byte) error {
		got = append(got, bytes.Clone(data))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

package page

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"bkfs/archive/chunk"
)

// memory keeps pages by hash and counts what is asked of it.
type memory struct {
	pages      map[chunk.ID][]byte
	reads, put int
}

func newMemory() *memory { return &memory{pages: map[chunk.ID][]byte{}} }

func (m *memory) Page(_ context.Context, id chunk.ID) ([]byte, error) {
	m.reads++
	data, ok := m.pages[id]
	if !ok {
		return nil, fmt.Errorf("no page %s", id)
	}
	return data, nil
}

func (m *memory) PutPage(_ context.Context, data []byte) (chunk.ID, error) {
	m.put++
	id := chunk.ID(sha256.Sum256(data))
	m.pages[id] = data
	return id, nil
}

func editsOf(model map[string]string) []Edit {
	var edits []Edit
	for _, k := range slices.Sorted(maps.Keys(model)) {
		edits = append(edits, Edit{Key: []byte(k), Value: []byte(model[k])})
	}
	return edits
}

func contents(t testing.TB, m *memory, r Root, from []byte) []Edit {
	t.Helper()
	var got []Edit
	err := Scan(t.Context(), m, r, from, func(k, v []byte) (bool, error) {
		got = append(got, Edit{Key: k, Value: v})
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// number is a key that sorts as its number does.
func number(i int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

func numbered(n int) []Edit {
	edits := make([]Edit, n)
	for i := range edits {
		edits[i] = Edit{Key: number(i), Value: []byte(fmt.Sprintf("value of %d, some forty bytes in all", i))}
	}
	return edits
}

// Random edits agree with a Go map, leave the same root as one bulk build of
// the same content does, and never need a page that was not put.
func TestApplyModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		m, model, root := newMemory(), map[string]string{}, Root{}
		space := rapid.SampledFrom([]int{8, 200, 3000, 40000}).Draw(rt, "keys")
		longest := rapid.SampledFrom([]int{4, 60, 2000, 20000}).Draw(rt, "value")
		seed := rapid.Uint64().Draw(rt, "seed")
		next := func(n int) int { // cheap draws: rapid's own are slow by the thousand
			seed = seed*6364136223846793005 + 1442695040888963407
			return int(seed>>33) % n
		}
		for range rapid.IntRange(1, 8).Draw(rt, "rounds") {
			size := rapid.SampledFrom([]int{1, 3, 50, 2500}).Draw(rt, "edits")
			remove := rapid.SampledFrom([]int{0, 30, 100}).Draw(rt, "deletions")
			start, width := 0, space
			if rapid.Bool().Draw(rt, "dense") {
				start = next(space)
				width = space - start
			}
			batch := map[string]Edit{}
			for i := range size {
				k := start + next(width)
				if size == 2500 {
					k = start + i%width // a run without gaps
				}
				e := Edit{Key: number(k), Delete: next(100) < remove}
				if !e.Delete {
					e.Value = bytes.Repeat([]byte{byte(next(256))}, next(longest))
				}
				batch[string(e.Key)] = e
			}
			var edits []Edit
			for _, k := range slices.Sorted(maps.Keys(batch)) {
				e := batch[k]
				edits = append(edits, e)
				if e.Delete {
					delete(model, k)
				} else {
					model[k] = string(e.Value)
				}
			}
			var err error
			if root, err = Apply(t.Context(), m, m, root, edits); err != nil {
				rt.Fatal(err)
			}
			bulk, err := Apply(t.Context(), m, newMemory(), Root{}, editsOf(model))
			if err != nil {
				rt.Fatal(err)
			}
			if root != bulk {
				rt.Fatalf("root after edits %+v, of a bulk build %+v", root, bulk)
			}
		}
		if int(root.Count) != len(model) {
			rt.Fatalf("count %d, want %d", root.Count, len(model))
		}
		want := editsOf(model)
		if diff := cmp.Diff(want, contents(t, m, root, nil), cmp.Comparer(sameEdit), cmpopts.EquateEmpty()); diff != "" {
			rt.Fatal(diff)
		}
		from := number(next(space))
		i, _ := slices.BinarySearchFunc(want, from, func(e Edit, k []byte) int { return bytes.Compare(e.Key, k) })
		if diff := cmp.Diff(want[i:], contents(t, m, root, from), cmp.Comparer(sameEdit), cmpopts.EquateEmpty()); diff != "" {
			rt.Fatalf("scan from %x: %s", from, diff)
		}
		for range 20 {
			k := number(next(space))
			got, ok, err := Get(t.Context(), m, root, k)
			want, found := model[string(k)]
			if err != nil || ok != found || string(got) != want {
				rt.Fatalf("get %x: %q, %t, %v; want %q, %t", k, got, ok, err, want, found)
			}
		}
	})
}

func sameEdit(a, b Edit) bool {
	return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && a.Delete == b.Delete
}

func TestPages(t *testing.T) {
	m := newMemory()
	root, err := Apply(t.Context(), m, m, Root{}, numbered(100000))
	if err != nil {
		t.Fatal(err)
	}
	seen, leaves, longest, sum := map[chunk.ID]bool{}, 0, 0, 0
	err = Pages(t.Context(), m, root, func(id chunk.ID, leaf bool) (bool, error) {
		seen[id] = true
		longest = max(longest, len(m.pages[id]))
		if leaf {
			leaves++
			sum += len(m.pages[id])
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(seen) != len(m.pages) {
		t.Errorf("saw %d pages, want %d", len(seen), len(m.pages))
	}
	if longest >= 64<<10 {
		t.Errorf("longest page is %d bytes", longest)
	}
	if mean := sum / leaves; mean < 12<<10 || mean > 20<<10 {
		t.Errorf("leaves are %d bytes on average, want about 16 KiB", mean)
	}
	reads := m.reads
	m.reads = 0
	err = Pages(t.Context(), m, root, func(chunk.ID, bool) (bool, error) { return false, nil })
	if err != nil || m.reads != 0 {
		t.Errorf("a refused root cost %d reads, %v", m.reads, err)
	}
	if reads > len(seen)-leaves {
		t.Errorf("%d reads for %d pages above the leaves", reads, len(seen)-leaves)
	}
}

// One edit in a big map costs a few pages; edits that change nothing cost none.
func TestApplyCost(t *testing.T) {
	const n = 1_000_000
	m := newMemory()
	root, err := Apply(t.Context(), m, m, Root{}, numbered(n))
	if err != nil {
		t.Fatal(err)
	}
	total, most := 0, 0
	const rounds = 200
	for i := range rounds {
		m.put = 0
		e := Edit{Key: append(number(i*4999), 1), Value: []byte("new")}
		if i%3 == 0 {
			e = Edit{Key: number(i * 4999), Delete: true}
		}
		next, err := Apply(t.Context(), m, m, root, []Edit{e})
		if err != nil {
			t.Fatal(err)
		}
		total, most = total+m.put, max(most, m.put)
		m.put = 0
		again, err := Apply(t.Context(), m, m, next, []Edit{e})
		if err != nil || again != next || m.put != 0 {
			t.Fatalf("the same edit again: %+v, %d pages put, %v; want %+v", again, m.put, err, next)
		}
	}
	t.Logf("height %d, pages put for an edit: %.2f on average, %d at most", root.Height, float64(total)/rounds, most)
	if float64(total)/rounds > 2*float64(root.Height) {
		t.Errorf("%d pages for %d edits, height %d", total, rounds, root.Height)
	}
}

func TestApplyRefuses(t *testing.T) {
	tests := []struct {
		class string
		edits []Edit
	}{
		{"descending", []Edit{{Key: number(2)}, {Key: number(1)}}},
		{"repeated", []Edit{{Key: number(1)}, {Key: number(1)}}},
		{"long key", []Edit{{Key: make([]byte, MaxKey+1)}}},
		{"long value", []Edit{{Value: make([]byte, MaxValue+1)}}},
	}
	for _, tt := range tests {
		if _, err := Apply(t.Context(), nil, nil, Root{}, tt.edits); !errors.Is(err, ErrEdits) {
			t.Errorf("%s: %v, want ErrEdits", tt.class, err)
		}
	}
	if _, err := Apply(t.Context(), nil, nil, Root{Height: 200}, numbered(1)); !errors.Is(err, ErrDamaged) {
		t.Errorf("height 200: %v, want ErrDamaged", err)
	}
}

func TestLongestPage(t *testing.T) {
	m := newMemory()
	edits := numbered(1000)
	var size int
	for i, e := range edits { // just short of a cut, then the longest entry
		size += len(e.Key) + len(e.Value) + entryOverhead
		if i > 5 && size > 20000 {
			edits = append(edits[:i], Edit{Key: bytes.Repeat([]byte{255}, MaxKey), Value: make([]byte, MaxValue)})
			break
		}
	}
	root, err := Apply(t.Context(), m, m, Root{}, edits)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok, err := Get(t.Context(), m, root, edits[len(edits)-1].Key); !ok || err != nil {
		t.Errorf("longest entry: %t, %v", ok, err)
	}
}

func TestGetDoesNotAllocate(t *testing.T) {
	m := newMemory()
	root, err := Apply(t.Context(), m, m, Root{}, numbered(100000))
	if err != nil {
		t.Fatal(err)
	}
	key, ctx := number(77777), t.Context()
	if n := testing.AllocsPerRun(100, func() { Get(ctx, m, root, key) }); n != 0 {
		t.Errorf("%.0f allocations a Get", n)
	}
}

func BenchmarkBuild80000(b *testing.B) {
	edits := numbered(80000)
	for b.Loop() {
		m := newMemory()
		if _, err := Apply(b.Context(), m, m, Root{}, edits); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkMap(b *testing.B) (*memory, Root) {
	m := newMemory()
	root, err := Apply(b.Context(), m, m, Root{}, numbered(1_000_000))
	if err != nil {
		b.Fatal(err)
	}
	return m, root
}

func BenchmarkGet(b *testing.B) {
	m, root := benchmarkMap(b)
	ctx := b.Context()
	for i := 0; b.Loop(); i++ {
		Get(ctx, m, root, number(i*7919%1_000_000))
	}
}

func BenchmarkEdit(b *testing.B) {
	m, root := benchmarkMap(b)
	ctx := b.Context()
	for i := 0; b.Loop(); i++ {
		Apply(ctx, m, m, root, []Edit{{Key: number(i * 7919 % 1_000_000), Value: []byte("new")}})
	}
}

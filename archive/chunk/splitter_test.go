package chunk

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var testSeed = [32]byte([]byte("a seed of 32 bytes for the tests"))

// small parameters let property tests see many cuts in little data.
func small() Params {
	return Params{Name: Gear64, Min: 128, Avg: 512, Max: 2048, Normalization: 2}
}

func splitter(tb testing.TB, p Params) *Splitter {
	tb.Helper()
	s, err := NewSplitter(p, testSeed)
	if err != nil {
		tb.Fatalf("NewSplitter(%+v): %v", p, err)
	}
	return s
}

// random is deterministic: ChaCha8's output is fixed by its specification.
func random(seed byte, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// cuts are the lengths of all chunks of data.
func cuts(s *Splitter, data []byte) []int {
	var out []int
	for len(data) > 0 {
		n := s.Next(data, true)
		out = append(out, n)
		data = data[n:]
	}
	return out
}

func TestGolden(t *testing.T) {
	text := bytes.Repeat([]byte("the quick brown fox jumps over the lazy dog\n"), 100_000)
	tests := []struct {
		name   string
		params Params
		data   []byte
		want   []int
	}{
		{"random, default", DefaultParams(), random(7, 2<<20), goldenDefault},
		{"random, small", small(), random(8, 6000), goldenSmall},
		{"no normalization", Params{Gear64, 128, 2048, 512, 0}, random(8, 6000), goldenPlain},
		{"zeros run to max", DefaultParams(), make([]byte, 5<<19), []int{1 << 20, 1 << 20, 1 << 19}},
		{"period shorter than the window", DefaultParams(), text[:3<<20], []int{1 << 20, 1 << 20, 1 << 20}},
		{"shorter than min", DefaultParams(), random(9, 1000), []int{1000}},
		{"empty", DefaultParams(), nil, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, cuts(splitter(t, tt.params), tt.data)); diff != "" {
				t.Errorf("cuts changed: what is stored would not be found again (-want +got):\n%s", diff)
			}
		})
	}
}

var (
	goldenDefault = []int{222675, 213535, 459881, 213474, 362268, 222894, 245737, 156688}
	goldenSmall   = []int{559, 478, 428, 520, 1328, 490, 427, 769, 249, 622, 130}
	goldenPlain   = []int{2034, 1312, 260, 197, 427, 793, 225, 752}
)

func TestSeedMovesCuts(t *testing.T) {
	data := random(3, 1<<16)
	a := splitter(t, small())
	b, err := NewSplitter(small(), [32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(cuts(a, data), cuts(b, data)); diff == "" {
		t.Error("two seeds give the same cuts")
	}
}

func TestAverage(t *testing.T) {
	const size = 64 << 20
	p := DefaultParams()
	mean := size / len(cuts(splitter(t, p), random(5, size)))
	if mean < p.Avg*85/100 || mean > p.Avg*115/100 {
		t.Errorf("mean chunk of random data is %d bytes, want %d within 15 %%", mean, p.Avg)
	}
}

func TestBoundsAndWhole(t *testing.T) {
	s := splitter(t, small())
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t)
		sum := 0
		got := cuts(s, data)
		for i, n := range got {
			if n > s.Params().Max || (n < s.Params().Min && i < len(got)-1) {
				t.Fatalf("chunk %d of %d has %d bytes", i, len(got), n)
			}
			sum += n
		}
		if sum != len(data) {
			t.Fatalf("chunks have %d bytes in all, want %d", sum, len(data))
		}
	})
}

// A caller that gathers in any steps, with Next or NextAfter, sees the cuts of
// one that has everything at once.
func TestBuffering(t *testing.T) {
	s := splitter(t, small())
	rapid.Check(t, func(t *rapid.T) {
		data := drawData(t)
		remember := rapid.Bool().Draw(t, "remember")
		var got []int
		start, have, known := 0, 0, 0
		for start < len(data) {
			n := s.NextAfter(data[start:have], known, have == len(data))
			if n == 0 {
				if have-start >= s.Params().Max {
					t.Fatalf("no cut in %d bytes", have-start)
				}
				if remember {
					known = have - start
				}
				have = min(len(data), have+rapid.IntRange(1, 3000).Draw(t, "step"))
				continue
			}
			got = append(got, n)
			start, known = start+n, 0
		}
		if diff := cmp.Diff(cuts(s, data), got); diff != "" {
			t.Fatalf("cuts depend on buffering (-at once +in steps):\n%s", diff)
		}
	})
}

// After an insertion near the beginning the cuts fall into step again.
func TestResynchronises(t *testing.T) {
	s := splitter(t, small())
	rapid.Check(t, func(t *rapid.T) {
		data := random(rapid.Byte().Draw(t, "seed"), 64<<10)
		at := rapid.IntRange(0, 1000).Draw(t, "at")
		insert := rapid.SliceOfN(rapid.Byte(), 1, 500).Draw(t, "insert")
		changed := bytes.Join([][]byte{data[:at], insert, data[at:]}, nil)
		ends := map[int]bool{} // distance of each cut from the end of the data
		left := len(data)
		for _, n := range cuts(s, data) {
			left -= n
			ends[left] = true
		}
		left = len(changed)
		for _, n := range cuts(s, changed) {
			left -= n
			if ends[left] && left > 0 {
				return
			}
		}
		t.Fatalf("%d bytes at %d: no common cut in %d bytes", len(insert), at, len(data))
	})
}

// drawData mixes what cuts differently: noise, runs of one byte, short periods.
func drawData(t *rapid.T) []byte {
	var data []byte
	for range rapid.IntRange(0, 6).Draw(t, "pieces") {
		n := rapid.IntRange(1, 5000).Draw(t, "length")
		switch rapid.IntRange(0, 2).Draw(t, "sort") {
		case 0:
			data = append(data, random(rapid.Byte().Draw(t, "seed"), n)...)
		case 1:
			data = append(data, bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, n)...)
		case 2:
			period := rapid.SliceOfN(rapid.Byte(), 2, 100).Draw(t, "period")
			data = append(data, bytes.Repeat(period, 1+n/len(period))...)
		}
	}
	return data
}

func TestParams(t *testing.T) {
	change := func(f func(*Params)) Params { p := DefaultParams(); f(&p); return p }
	tests := []struct {
		name    string
		params  Params
		unknown bool
	}{
		{"unknown chunker", change(func(p *Params) { p.Name = "rabin" }), true},
		{"no name", change(func(p *Params) { p.Name = "" }), true},
		{"min below the window", Params{Gear64, 32, 4096, 512, 2}, false},
		{"max asks for too much memory", change(func(p *Params) { p.Max = 1 << 40 }), false},
		{"negative", change(func(p *Params) { p.Min = -1 }), false},
		{"avg not a power of two", change(func(p *Params) { p.Avg = 250_000 }), false},
		{"avg above max", change(func(p *Params) { p.Avg = 1 << 21 }), false},
		{"min above avg", change(func(p *Params) { p.Min = 1 << 19 }), false},
		{"normalization", change(func(p *Params) { p.Normalization = 9 }), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := NewSplitter(tt.params, testSeed)
			if err == nil {
				t.Fatalf("NewSplitter(%+v) succeeds", tt.params)
			}
			if got := errors.Is(err, ErrUnknownChunker); got != tt.unknown {
				t.Errorf("%v: is ErrUnknownChunker %t, want %t", err, got, tt.unknown)
			}
		})
	}
}

func BenchmarkSplit(b *testing.B) {
	data := random(1, 64<<20)
	s := splitter(b, DefaultParams())
	b.Run("whole", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			cuts(s, data)
		}
	})
	b.Run("128KiB", func(b *testing.B) { // as FUSE writes come
		b.SetBytes(int64(len(data)))
		for b.Loop() {
			start, have, known := 0, 0, 0
			for start < len(data) {
				n := s.NextAfter(data[start:have], known, have == len(data))
				if n == 0 {
					known = have - start
					have = min(len(data), have+128<<10)
					continue
				}
				start, known = start+n, 0
			}
		}
	})
}

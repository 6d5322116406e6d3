package index

import (
	"fmt"
	"testing"
)

// BenchmarkOpenClose is what a mount pays for an index in good order.
func BenchmarkOpenClose(b *testing.B) {
	f := newFixture(b)
	x := f.open()
	f.add(x, 0, 1, 2, 3)
	for b.Loop() {
		x = f.reopen(x)
	}
}

// BenchmarkAddPack adds packs of a hundred chunks, as large files make them.
func BenchmarkAddPack(b *testing.B) {
	for _, chunks := range []int{100, 4000} {
		b.Run(fmt.Sprint(chunks), func(b *testing.B) {
			f := newFixture(b)
			x := f.open()
			n := 0
			for b.Loop() {
				ids := make([]int, chunks)
				for i := range ids {
					ids[i] = n*chunks + i
				}
				f.add(x, n, ids...)
				n++
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(n*chunks), "ns/chunk")
		})
	}
}

// BenchmarkGet looks up among a million chunks (250 GB).
func BenchmarkGet(b *testing.B) {
	const packs, each = 1000, 1000
	f := newFixture(b)
	x := f.open()
	for n := range packs {
		ids := make([]int, each)
		for i := range ids {
			ids[i] = n*each + i
		}
		f.add(x, n, ids...)
	}
	x = f.reopen(x)
	look := func(first, many int) func(b *testing.B) {
		return func(b *testing.B) {
			i := 0
			for b.Loop() {
				if _, _, err := x.Get(chunkID(first + i*7919%many)); err != nil {
					b.Fatal(err)
				}
				i++
			}
		}
	}
	b.Run("hit", look(0, packs*each))
	b.Run("hot", look(0, 1000))
	b.Run("miss", look(packs*each, 1<<30))
}

package seal

import (
	"fmt"
	"testing"
)

var sizes = []int{512, 64 << 10, 1 << 20}

func BenchmarkChunkID(b *testing.B) {
	keys := readVectors(b).keys(b)
	for _, n := range sizes {
		data := make([]byte, n)
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				keys.ChunkID(1, data)
			}
		})
	}
}

func BenchmarkNameHash(b *testing.B) {
	keys := readVectors(b).keys(b)
	b.ReportAllocs()
	for b.Loop() {
		keys.NameHash(42, "a-file-name-of-usual-length.txt")
	}
}

func BenchmarkObject(b *testing.B) {
	v := readVectors(b)
	keys := v.keys(b)
	b.Run("derive", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			object(b, keys, PurposePack, v.Object)
		}
	})
	o := object(b, keys, PurposePack, v.Object)
	for _, n := range sizes {
		plain := make([]byte, n)
		sealed := o.Seal(nil, plain, 1, 1)
		b.Run(fmt.Sprintf("seal/%d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				o.Seal(sealed[:0], plain, 1, 1)
			}
		})
		b.Run(fmt.Sprintf("open/%d", n), func(b *testing.B) {
			b.SetBytes(int64(n))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := o.Open(plain[:0], sealed, 1, 1); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	value := make([]byte, 32)
	dst := make([]byte, 0, 64)
	b.Run("random/32", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := o.OpenRandom(nil, o.SealRandom(dst, value, value), value); err != nil {
				b.Fatal(err)
			}
		}
	})
}

package pack

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// source is C or Go source in solid 256 KiB pieces: the tree BKFS_BENCH_TREE
// names, else Go's own.
func source(b *testing.B) [][]byte {
	tree := os.Getenv("BKFS_BENCH_TREE")
	if tree == "" {
		tree = filepath.Join(os.Getenv("GOROOT"), "src")
	}
	var blobs [][]byte
	var blob []byte
	err := filepath.WalkDir(tree, func(path string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		data, err := os.ReadFile(path)
		for len(data) > 0 {
			n := min(len(data), 256<<10-len(blob))
			blob, data = append(blob, data[:n]...), data[n:]
			if len(blob) == 256<<10 {
				blobs, blob = append(blobs, blob), nil
			}
		}
		if len(blobs) >= 128 {
			return filepath.SkipAll
		}
		return err
	})
	if err != nil || len(blobs) == 0 {
		b.Skipf("no source tree: %v", err)
	}
	return blobs
}

func BenchmarkLevel(b *testing.B) {
	blobs := source(b)
	for _, level := range []zstd.EncoderLevel{zstd.SpeedFastest, zstd.SpeedDefault, zstd.SpeedBetterCompression} {
		b.Run(level.String(), func(b *testing.B) {
			z, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(256 << 10)
			var in, out int
			var buf []byte
			for i := 0; b.Loop(); i++ {
				buf = z.EncodeAll(blobs[i%len(blobs)], buf[:0])
				in, out = in+(256<<10), out+len(buf)
			}
			b.ReportMetric(float64(out)/float64(in), "ratio")
		})
	}
}

func benchmarkEncode(b *testing.B, data []byte) {
	keys := testKeys(b)
	e := NewEncoder()
	chunks := chunksOf(keys, data)
	w, err := NewWriter(keys, KindData, 0)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		blob, err := e.Encode(chunks)
		if err != nil {
			b.Fatal(err)
		}
		if w.Size()+blob.Size() > TargetSize {
			if _, err := w.Finish(); err != nil {
				b.Fatal(err)
			}
			w.Release()
			if w, err = NewWriter(keys, KindData, 0); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := w.Append(blob); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkWriteSource(b *testing.B) { benchmarkEncode(b, source(b)[0]) }
func BenchmarkWriteRandom(b *testing.B) { benchmarkEncode(b, random(256<<10, 1)) }

func BenchmarkReadSource(b *testing.B) { benchmarkRead(b, source(b)[0]) }
func BenchmarkReadRandom(b *testing.B) { benchmarkRead(b, random(256<<10, 1)) }

func benchmarkRead(b *testing.B, data []byte) {
	keys := testKeys(b)
	image, entries := build(b, keys, ID{1}, chunksOf(keys, data))
	r := NewReader(put(b, ID{1}, image), keys)
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	var buf []byte
	var err error
	for b.Loop() {
		if buf, err = r.Blob(b.Context(), buf, entries[0].Place); err != nil {
			b.Fatal(err)
		}
	}
}

package pack

import (
	"bytes"
	"context"
	"testing"

	"golang.org/x/sync/errgroup"

	"bkfs/archive/store"
)

// unfinished is a store that has one pack, the one being written.
type unfinished struct {
	store.Store
	w *Writer
}

func (u unfinished) Get(_ context.Context, _ string, off int64, p []byte) error {
	copy(p, u.w.Bytes()[off:])
	return nil
}

// Blobs are encoded, appended and read again by several goroutines, while the
// pack is in the making.
func TestConcurrent(t *testing.T) {
	keys, e := testKeys(t), NewEncoder()
	w, err := NewWriter(keys, KindData, 0)
	if err != nil {
		t.Fatal(err)
	}
	r := NewReader(unfinished{w: w}, keys)
	var g errgroup.Group
	for i := range 4 {
		g.Go(func() error {
			for j := range 20 {
				data := bytes.Repeat(random(1000, uint64(100*i+j)), 20)
				b, err := e.Encode(chunksOf(keys, data))
				if err != nil {
					return err
				}
				entries, err := w.Append(b)
				if err != nil {
					return err
				}
				p, err := r.Blob(t.Context(), nil, entries[0].Place)
				if err != nil {
					return err
				}
				if !bytes.Equal(p[entries[0].Place.Start:], data) {
					t.Errorf("chunk %d of %d differs", j, i)
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
}

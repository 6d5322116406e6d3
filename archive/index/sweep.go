package index

import (
	"context"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// step is how many chunks one step of a walk looks at: some milliseconds.
const step = 4096

// Sweep removes what is left of forgotten packs. Lookups go on beside it; other
// changes wait a few milliseconds at a time. For after a garbage collection.
func (x *Index) Sweep(ctx context.Context) error {
	from := []byte{chunkPrefix}
	for from != nil {
		if err := ctx.Err(); err != nil {
			return err
		}
		next, err := x.sweepStep(from)
		if err != nil {
			return fmt.Errorf("sweep index: %w", err)
		}
		from = next
	}
	return nil
}

func (x *Index) sweepStep(from []byte) (next []byte, err error) {
	x.changes.Lock()
	defer x.changes.Unlock()
	if x.closed {
		return nil, ErrClosed
	}
	if x.tight {
		return nil, nil
	}
	w := x.newWriter()
	defer w.cancel()
	next, err = x.walk(from, step, func(key []byte, places []place) error {
		alive, changed := x.alive(places)
		switch {
		case len(alive) == 0:
			return w.delete(key)
		case changed:
			return w.set(key, appendPlaces(nil, alive))
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return next, w.flush()
}

// walk calls fn for up to limit chunks from the key from on. next is where to
// go on, nil at the end. It runs with changes held; fn may keep key.
func (x *Index) walk(from []byte, limit int, fn func(key []byte, places []place) error) (next []byte, err error) {
	err = guard(func() error {
		txn := x.db.NewTransaction(false)
		defer txn.Discard()
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte{chunkPrefix}
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Seek(from); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			if limit == 0 {
				next = key
				return nil
			}
			limit--
			plain, err := x.open(it.Item(), key)
			if err != nil {
				return err
			}
			places, err := parsePlaces(plain)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			if err := fn(key, places); err != nil {
				return err
			}
		}
		return nil
	})
	return next, err
}

// checkCounts forgets the packs that have fewer chunks than their markers say:
// a power loss may keep a marker and lose entries written before it. It runs
// before anyone else has x.
func (x *Index) checkCounts() error {
	counts := make(map[number]int, len(x.packs))
	_, err := x.walk([]byte{chunkPrefix}, -1, func(_ []byte, places []place) error {
		for _, p := range places {
			counts[p.pack]++
		}
		return nil
	})
	if err != nil {
		return err
	}
	var short []*Pack
	for n, p := range x.packs {
		if counts[n] < p.Chunks {
			short = append(short, p)
		}
	}
	if len(short) > 0 {
		x.log.Warn("packs to be indexed again", "packs", len(short))
	}
	return x.forget(short)
}

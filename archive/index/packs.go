package index

import (
	"fmt"
	"slices"

	"github.com/dgraph-io/badger/v4"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
)

// AddPack makes a pack known and live, with the places of its chunks. The pack
// is durable in the store by then. To add a pack again is success.
func (x *Index) AddPack(id pack.ID, kind pack.Kind, size int64, entries []pack.Entry) error {
	x.changes.Lock()
	defer x.changes.Unlock()
	if x.closed {
		return ErrClosed
	}
	if err := x.addPack(id, kind, size, entries); err != nil {
		return fmt.Errorf("add pack %s to the index: %w", id, err)
	}
	return nil
}

func (x *Index) addPack(id pack.ID, kind pack.Kind, size int64, entries []pack.Entry) error {
	if known := x.packs[numberOf(id)]; known != nil {
		if known.ID != id { // 2^-64 a pair, unless someone made it so
			return fmt.Errorf("its number is that of pack %s", known.ID)
		}
		x.mu.Lock()
		known.Live = true
		x.mu.Unlock()
		return nil
	}
	chunks := make(map[chunk.ID]place, len(entries))
	for _, e := range entries {
		if e.Place.Pack != id {
			return fmt.Errorf("chunk %s is in another pack, %s", e.Chunk, e.Place.Pack)
		}
		chunks[e.Chunk] = newPlace(e.Place)
	}
	p := &Pack{ID: id, Kind: kind, Size: size, Chunks: len(chunks), Live: true}

	x.adapt()
	var err error
	if x.tight {
		err = x.hold(p, chunks)
	} else {
		err = x.write(p, chunks)
	}
	if err != nil {
		return err
	}
	x.mu.Lock()
	x.packs[numberOf(id)] = p
	x.mu.Unlock()
	for id := range chunks { // the newest place wins: it may heal
		x.cache.Invalidate(id)
	}
	return nil
}

// write stores a pack's entries and then its marker, each durable or not as
// badger likes; the order is what counts.
func (x *Index) write(p *Pack, chunks map[chunk.ID]place) error {
	w := x.newWriter()
	defer w.cancel()
	for id, at := range chunks {
		if err := w.addPlaces(id, at); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	marker := x.newWriter()
	defer marker.cancel()
	if err := marker.set(packKey(p.ID), appendMarker(nil, *p)); err != nil {
		return err
	}
	return marker.flush()
}

// HasPack says whether the pack's chunks are known, live or not.
func (x *Index) HasPack(id pack.ID) bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	p := x.packs[numberOf(id)]
	return p != nil && p.ID == id
}

// Packs is an iterator over the known packs, in no order:
//
//	for p := range x.Packs { … }
func (x *Index) Packs(yield func(Pack) bool) {
	x.mu.RLock()
	packs := make([]Pack, 0, len(x.packs))
	for _, p := range x.packs {
		packs = append(packs, *p)
	}
	x.mu.RUnlock()
	for _, p := range packs {
		if !yield(p) {
			return
		}
	}
}

// Retain makes the known packs for which live is true live, and forgets the
// others. live must not use the index.
func (x *Index) Retain(live func(pack.ID) bool) error {
	x.changes.Lock()
	defer x.changes.Unlock()
	if x.closed {
		return ErrClosed
	}
	var dead []*Pack
	x.mu.Lock()
	for _, p := range x.packs {
		if p.Live = live(p.ID); !p.Live {
			dead = append(dead, p)
		}
	}
	x.mu.Unlock()
	return x.forget(dead)
}

// Forget ends hits in a pack. The pack can be added again.
func (x *Index) Forget(id pack.ID) error {
	x.changes.Lock()
	defer x.changes.Unlock()
	if x.closed {
		return ErrClosed
	}
	if p := x.packs[numberOf(id)]; p != nil && p.ID == id {
		return x.forget([]*Pack{p})
	}
	return nil
}

// forget removes packs from memory, whatever happens, and their markers; with
// space tight those wait.
func (x *Index) forget(packs []*Pack) error {
	x.mu.Lock()
	for _, p := range packs {
		delete(x.packs, numberOf(p.ID))
		if x.tight {
			x.buried[p.ID] = true
		}
	}
	x.mu.Unlock()
	if x.tight || len(packs) == 0 {
		return nil
	}
	w := x.newWriter()
	defer w.cancel()
	for _, p := range packs {
		if err := w.delete(packKey(p.ID)); err != nil {
			return fmt.Errorf("forget pack %s: %w", p.ID, err)
		}
	}
	if err := w.flush(); err != nil {
		return fmt.Errorf("forget %d packs: %w", len(packs), err)
	}
	return nil
}

// writer gathers changes of the database. It runs with changes held, as it
// reads what it is about to change.
type writer struct {
	x     *Index
	batch *badger.WriteBatch
	read  *badger.Txn // nil until something is read
}

func (x *Index) newWriter() *writer {
	return &writer{x: x, batch: x.db.NewWriteBatch()}
}

// addPlaces puts places, newest first, before those that are known of the
// chunk, less those in packs that aren't.
func (w *writer) addPlaces(id chunk.ID, newer ...place) error {
	if w.read == nil {
		w.read = w.x.db.NewTransaction(false)
	}
	var places []place
	err := guard(func() (err error) {
		places, err = w.x.stored(w.read, id)
		return err
	})
	if err != nil {
		w.x.damaged.Store(true)
		return err
	}
	places, _ = w.x.alive(places)
	for _, p := range slices.Backward(newer) {
		places = addPlace(places, p)
	}
	return w.set(chunkKey(id), appendPlaces(nil, places))
}

// alive filters places in known packs; changed says that there were others.
func (x *Index) alive(places []place) (alive []place, changed bool) {
	for _, p := range places {
		if x.packs[p.pack] != nil {
			alive = append(alive, p)
		}
	}
	return alive, len(alive) < len(places)
}

func (w *writer) set(key, plain []byte) error {
	if err := w.batch.Set(key, w.x.seal(key, plain)); err != nil {
		return foreign(err)
	}
	return nil
}

func (w *writer) delete(key []byte) error {
	if err := w.batch.Delete(key); err != nil {
		return foreign(err)
	}
	return nil
}

// flush returns when all is in the database.
func (w *writer) flush() error {
	if err := w.batch.Flush(); err != nil {
		return foreign(err)
	}
	return nil
}

// cancel gives up what wasn't flushed.
func (w *writer) cancel() {
	w.batch.Cancel()
	if w.read != nil {
		w.read.Discard()
	}
}

package index

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/maypok86/otter/v2"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
	"bkfs/archive/seal"
)

// Errors of an open index.
var (
	// ErrDamaged says that the database can't be trusted. Reset starts a new
	// one; so does the next Open.
	ErrDamaged = errors.New("index is damaged")
	// ErrFull says that there is neither space to write nor memory left for
	// what waits for it.
	ErrFull = errors.New("no space left for the index")
	// ErrClosed says that the index was closed.
	ErrClosed = errors.New("index is closed")
)

// cacheSize is how many chunks' places are kept ready: some 8 MiB.
const cacheSize = 64 << 10

// Index maps chunk ids to places. Its methods may be called from several
// goroutines at once.
type Index struct {
	dir       *directory
	keys      *seal.Keys
	log       *slog.Logger
	available func() (uint64, error) // space in dir
	cache     *otter.Cache[chunk.ID, pack.Place]

	// changes is held for the whole of each change. mu is held by each look,
	// and for writing while the fields below are set (so also while a database
	// is swapped for another). So a change may look without mu.
	changes sync.Mutex
	mu      sync.RWMutex
	damaged atomic.Bool // to be discarded
	closed  bool
	fresh   bool
	object  *seal.Object // of the database; nil when there is none
	db      *badger.DB   // nil when there is none
	tight   bool         // too little space: db is nil or read-only
	packs   map[number]*Pack
	// What is to be done to db when there is space again.
	held   map[chunk.ID][]place // entries to be added
	buried map[pack.ID]bool     // markers to be deleted
}

// Pack is a pack whose chunks the index knows. Size is in bytes, Chunks how
// many different ones it has. Only chunks of live packs are found.
type Pack struct {
	ID     pack.ID
	Kind   pack.Kind
	Size   int64
	Chunks int
	Live   bool

	held bool // marker not yet in db
}

// Open opens the index in dir, which it makes if needed. What is there is used
// if it is whole and of this repository, else discarded: see Fresh. Packs known
// from before aren't live until Retain. Errors: ErrForeign, ErrInUse, or the
// system's.
func Open(dir string, keys *seal.Keys, log *slog.Logger) (*Index, error) {
	return open(dir, keys, log, nil)
}

// open lets tests say how much space there is.
func open(path string, keys *seal.Keys, log *slog.Logger, available func() (uint64, error)) (*Index, error) {
	d, err := openDirectory(path)
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	if available == nil {
		available = d.available
	}
	cache, err := otter.New(&otter.Options[chunk.ID, pack.Place]{MaximumSize: cacheSize})
	if err != nil {
		d.close()
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	x := &Index{
		dir: d, keys: keys, log: log, available: available, cache: cache,
		packs: map[number]*Pack{}, held: map[chunk.ID][]place{}, buried: map[pack.ID]bool{},
	}
	if err := x.load(); err != nil {
		d.close()
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	return x, nil
}

// Fresh says whether the index was begun anew by Open or Reset: it knows no
// pack of before.
func (x *Index) Fresh() bool {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.fresh
}

// Get finds a chunk in a live pack. Of several it gives the one added last.
func (x *Index) Get(id chunk.ID) (pack.Place, bool, error) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.closed {
		return pack.Place{}, false, ErrClosed
	}
	if p, ok := x.cache.GetIfPresent(id); ok {
		if known := x.packs[numberOf(p.Pack)]; known != nil && known.Live {
			return p, true, nil
		}
	}
	places, err := x.places(id)
	if err != nil {
		return pack.Place{}, false, fmt.Errorf("look up chunk %s: %w", id, err)
	}
	for _, p := range places {
		if known := x.packs[p.pack]; known != nil && known.Live {
			found := p.in(known.ID)
			x.cache.Set(id, found)
			return found, true, nil
		}
	}
	return pack.Place{}, false, nil
}

// places are all places known of a chunk, newest first, also in packs that
// aren't live. Its caller holds mu or changes.
func (x *Index) places(id chunk.ID) (places []place, err error) {
	held := x.held[id]
	if x.db == nil {
		if held == nil && x.damaged.Load() {
			return nil, ErrDamaged
		}
		return held, nil
	}
	err = guard(func() error {
		txn := x.db.NewTransaction(false)
		defer txn.Discard()
		places, err = x.stored(txn, id)
		return err
	})
	if err != nil {
		x.damaged.Store(true)
		return nil, err
	}
	for _, p := range slices.Backward(held) {
		places = addPlace(places, p)
	}
	return places, nil
}

// stored are the places of a chunk in the database.
func (x *Index) stored(txn *badger.Txn, id chunk.ID) ([]place, error) {
	plain, err := x.value(txn, chunkKey(id))
	if plain == nil || err != nil {
		return nil, err
	}
	places, err := parsePlaces(plain)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return places, nil
}

// Reset discards everything and goes on with an empty index, which is Fresh.
func (x *Index) Reset() error {
	x.changes.Lock()
	defer x.changes.Unlock()
	if x.closed {
		return ErrClosed
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.restart(); err != nil {
		return fmt.Errorf("reset index: %w", err)
	}
	return nil
}

// Close writes what is in memory and gives the directory back. A damaged index
// is discarded. Close may be called again.
func (x *Index) Close() error {
	x.changes.Lock()
	defer x.changes.Unlock()
	if x.closed {
		return nil
	}
	x.adapt() // perhaps there is space now for what is held
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	err := x.stop()
	if x.damaged.Load() {
		err = errors.Join(err, x.dir.wipe())
	}
	if err = errors.Join(err, x.dir.close()); err != nil {
		return fmt.Errorf("close index: %w", err)
	}
	return nil
}

// Stats describe an index.
type Stats struct {
	Packs, LivePacks int
	Held             int   // chunks in memory for want of space
	Stored           int64 // bytes of the database
}

// Stats gives figures, not all of one moment.
func (x *Index) Stats() Stats {
	x.mu.RLock()
	defer x.mu.RUnlock()
	s := Stats{Packs: len(x.packs), Held: len(x.held)}
	for _, p := range x.packs {
		if p.Live {
			s.LivePacks++
		}
	}
	if x.db != nil && !x.closed {
		lsm, log := x.db.Size()
		s.Stored = lsm + log
	}
	return s
}

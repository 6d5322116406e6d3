package archive

import (
	"context"
	"sync"

	"bkfs/archive/pack"

	"github.com/maypok86/otter/v2"
)

const (
	// aheadBlobs is how many blobs are opened ahead of a reader, and
	// aheadPacks of how many packs the order of blobs is kept.
	aheadBlobs = 3
	aheadPacks = 16
)

// A readahead opens the blobs behind the one that was just read when somebody
// reads a pack from front to back, as whoever copies a tree out does: files
// lie in packs in the order in which they were written.
type readahead struct {
	c     *chunks
	order *otter.Cache[pack.ID, []pack.Place] // a pack's blobs by record
	slots chan struct{}
	tasks sync.WaitGroup

	mu     sync.Mutex
	newest map[pack.ID]uint32 // the highest record that was read, of a few packs
	closed bool
}

func newReadahead(c *chunks) *readahead {
	return &readahead{
		c:      c,
		order:  otter.Must(&otter.Options[pack.ID, []pack.Place]{MaximumSize: aheadPacks}),
		slots:  make(chan struct{}, 1),
		newest: make(map[pack.ID]uint32),
	}
}

// read is told of every blob that had to be read from the store.
func (a *readahead) read(p pack.Place) {
	a.mu.Lock()
	defer a.mu.Unlock()
	last, seen := a.newest[p.Pack]
	if len(a.newest) > aheadPacks {
		clear(a.newest)
	}
	if !seen || p.Record > last {
		a.newest[p.Pack] = p.Record
	}
	// The next few records mean that the reader goes forward.
	if !seen || a.closed || p.Record <= last || p.Record > last+2*(aheadBlobs+1) {
		return
	}
	select {
	case a.slots <- struct{}{}:
	default:
		return // busy with what was asked for before
	}
	a.tasks.Go(func() {
		defer func() { <-a.slots }()
		a.open(p)
	})
}

// open brings the blobs behind p into the cache. Errors are left to whoever
// reads those blobs.
func (a *readahead) open(p pack.Place) {
	ctx := context.Background()
	places, err := a.order.Get(ctx, p.Pack, otter.LoaderFunc[pack.ID, []pack.Place](a.places))
	if err != nil {
		return
	}
	ahead := 0
	for _, next := range places {
		if next.Record <= p.Record {
			continue
		}
		if ahead++; ahead > aheadBlobs {
			return
		}
		if _, err := a.c.blob(ctx, next); err != nil {
			return
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.newest[p.Pack] = max(a.newest[p.Pack], p.Record+2*aheadBlobs)
}

func (a *readahead) places(ctx context.Context, id pack.ID) ([]pack.Place, error) {
	_, entries, err := a.c.reader.Footer(ctx, id)
	if err != nil {
		return nil, err
	}
	var list []pack.Place
	for _, e := range entries {
		if n := len(list); n == 0 || list[n-1].Record != e.Place.Record {
			list = append(list, e.Place)
		}
	}
	return list, nil
}

func (a *readahead) close() {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	a.tasks.Wait()
}

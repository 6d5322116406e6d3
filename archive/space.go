package archive

import (
	"context"
	"sync"
	"time"

	"bkfs/archive/store"
)

const (
	// metadataCost is what one change of a tree may cost at worst in journal
	// and pages, in bytes.
	metadataCost = 4 << 10
	// spaceReserve is kept free for deleting, for the last root and for badger,
	// in bytes; on a small store it is a 16th of all.
	spaceReserve = 64 << 20
	// spaceAge is how long a look at the store's free space is good for.
	spaceAge = 100 * time.Millisecond
)

// A spaceGuard makes write(2) say ENOSPC, so that nothing is accepted that
// can't be stored later.
type spaceGuard struct {
	st     store.Store
	writer *writer

	mu    sync.Mutex
	read  time.Time
	room  int64 // what may still be accepted since read
	total int64
}

// reserve claims n bytes, or says ErrNoSpace.
func (g *spaceGuard) reserve(n int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.look(); err != nil {
		return err
	}
	if g.room < n {
		return ErrNoSpace
	}
	g.room -= n
	return nil
}

// check says ErrNoSpace when n bytes wouldn't fit.
func (g *spaceGuard) check(n int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.look(); err != nil {
		return err
	}
	if g.room < n {
		return ErrNoSpace
	}
	return nil
}

// look asks the store again from time to time. What is in memory will need
// its space too.
func (g *spaceGuard) look() error {
	if time.Since(g.read) < spaceAge {
		return nil
	}
	s, err := g.st.Space(context.Background())
	if err != nil {
		return asDamage(err)
	}
	g.read, g.total = time.Now(), int64(s.Total)
	g.writer.mu.Lock()
	dirty := g.writer.dirty
	g.writer.mu.Unlock()
	g.room = int64(min(s.Available, 1<<62)) - dirty - min(spaceReserve, g.total/16) - g.writer.chunks.unsavedBytes()
	return nil
}

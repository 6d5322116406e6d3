package fs

import (
	"slices"
	"sync"
)

// A handleTable gives out numbers, from 1, for what the kernel has open.
type handleTable[T any] struct {
	mu   sync.RWMutex
	open []*T
	free []uint32
}

func (t *handleTable[T]) add(v *T) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		t.open[i] = v
		return uint64(i) + 1
	}
	t.open = append(t.open, v)
	return uint64(len(t.open))
}

// get returns nil for a number that isn't open.
func (t *handleTable[T]) get(fh uint64) *T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if fh == 0 || fh > uint64(len(t.open)) {
		return nil
	}
	return t.open[fh-1]
}

// remove forgets the number and returns what it stood for.
func (t *handleTable[T]) remove(fh uint64) *T {
	t.mu.Lock()
	defer t.mu.Unlock()
	if fh == 0 || fh > uint64(len(t.open)) || t.open[fh-1] == nil {
		return nil
	}
	v := t.open[fh-1]
	t.open[fh-1] = nil
	t.free = append(t.free, uint32(fh-1))
	return v
}

// all returns everything that is open.
func (t *handleTable[T]) all() []*T {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(t.open), func(v *T) bool { return v == nil })
}

// drain empties the table and calls fn for everything that was open.
func (t *handleTable[T]) drain(fn func(*T)) {
	t.mu.Lock()
	open := t.open
	t.open, t.free = nil, nil
	t.mu.Unlock()
	for _, v := range open {
		if v != nil {
			fn(v)
		}
	}
}

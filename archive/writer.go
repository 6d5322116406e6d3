package archive

import (
	"context"
	"errors"
	"runtime"
	"sync"

	"bkfs/archive/chunk"
)

const (
	// dirtyLimit is how many bytes may be in memory between write(2) and their
	// pack; writers wait above it.
	dirtyLimit = 48 << 20
	// cutAt is how long a segment grows before chunks are cut off its front.
	cutAt = 4 << 20
	// maxSegments is how many segments a file may have, lest looking through
	// them takes long.
	maxSegments = 2048
)

// A writer takes what files were written from memory to chunks: it bounds the
// memory and owns the workers that identify, compress and seal.
type writer struct {
	chunks   *chunks
	splitter *chunk.Splitter

	mu      sync.Mutex
	changed sync.Cond // dirty fell, or work came
	dirty   int64     // bytes in segments and flights
	flying  int64     // those in flights
	files   map[*file]struct{}
	queue   []*flight
	closed  bool
	workers sync.WaitGroup
}

// A flight is one chunk on its way from a file's segment to its pack.
type flight struct {
	f    *file
	seq  uint64 // rises with every flight of the file
	off  uint64
	data []byte // nil: the file was abandoned
}

func (fl *flight) end() uint64 { return fl.off + uint64(len(fl.data)) }

func newWriter(c *chunks, s *chunk.Splitter) *writer {
	w := &writer{chunks: c, splitter: s, files: make(map[*file]struct{})}
	w.changed.L = &w.mu
	for range max(2, runtime.GOMAXPROCS(0)) {
		w.workers.Go(w.work)
	}
	return w
}

// close waits for the workers; the queue is empty by then.
func (w *writer) close() {
	w.mu.Lock()
	w.closed = true
	w.changed.Broadcast()
	w.mu.Unlock()
	w.workers.Wait()
}

// admit waits until n more bytes may be kept. It makes room itself when only
// segments that nobody cuts are in the way. No lock is held by the caller.
func (w *writer) admit(ctx context.Context, n int) error {
	w.mu.Lock()
	for w.dirty+int64(n) > dirtyLimit && w.dirty > 0 {
		if err := ctx.Err(); err != nil {
			w.mu.Unlock()
			return err
		}
		if w.flying == 0 {
			f := w.largest()
			w.mu.Unlock()
			if f == nil {
				w.mu.Lock()
				break
			}
			// Its own error is told to those who use that file.
			if err := f.cut(ctx); err != nil && f.held.Load() > 0 && !errors.Is(err, ErrStale) {
				return err
			}
			w.mu.Lock()
			continue
		}
		w.changed.Wait()
	}
	w.dirty += int64(n)
	w.mu.Unlock()
	return nil
}

// charge counts n bytes that are in memory whether there is room or not.
func (w *writer) charge(n int) {
	w.mu.Lock()
	w.dirty += int64(n)
	w.mu.Unlock()
}

// largest returns a file with many bytes in segments. mu is held.
func (w *writer) largest() *file {
	var best *file
	for f := range w.files {
		if best == nil || f.held.Load() > best.held.Load() {
			best = f
		}
	}
	return best
}

// release gives back n bytes that admit let in.
func (w *writer) release(n int) {
	w.mu.Lock()
	w.dirty -= int64(n)
	w.changed.Broadcast()
	w.mu.Unlock()
}

// launch hands a chunk to the workers.
func (w *writer) launch(fl *flight) {
	w.mu.Lock()
	w.queue = append(w.queue, fl)
	w.flying += int64(len(fl.data))
	w.changed.Broadcast()
	w.mu.Unlock()
}

func (w *writer) work() {
	for {
		w.mu.Lock()
		for len(w.queue) == 0 && !w.closed {
			w.changed.Wait()
		}
		if len(w.queue) == 0 {
			w.mu.Unlock()
			return
		}
		fl := w.queue[0]
		w.queue[0] = nil
		w.queue = w.queue[1:]
		w.mu.Unlock()
		if fl.data == nil {
			fl.f.discard()
			continue
		}
		id, err := w.chunks.put(context.Background(), chunk.KindData, fl.data)
		n := len(fl.data)
		fl.f.land(fl, id, err)
		w.mu.Lock()
		w.dirty -= int64(n)
		w.flying -= int64(n)
		w.changed.Broadcast()
		w.mu.Unlock()
	}
}

// holds notes whether a file has segments.
func (w *writer) holds(f *file) {
	n := f.held.Load()
	w.mu.Lock()
	if n > 0 {
		w.files[f] = struct{}{}
	} else {
		delete(w.files, f)
	}
	w.mu.Unlock()
}

// holding returns the files that have segments.
func (w *writer) holding() []*file {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]*file, 0, len(w.files))
	for f := range w.files {
		list = append(list, f)
	}
	return list
}

// abandon has a worker drop what a file without names and users has in
// segments: the caller holds locks that are behind the file's.
func (w *writer) abandon(f *file) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = append(w.queue, &flight{f: f})
	w.changed.Broadcast()
}

package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"bkfs/archive/chunk"
)

// A file is the state of an inode that is open or has bytes that are no chunks
// yet. Its content is, newest first: segments (bytes in memory), flights (on
// their way to a pack), then the node's extents.
type file struct {
	t   *Tree
	ino Ino

	handles int // guarded by t.mu

	mu       sync.Mutex
	landed   sync.Cond
	segments []*segment // by offset, apart from each other
	flights  []*flight  // oldest first
	launched uint64     // how many flights there have been
	fresh    []span     // written since the last journal record
	saved    uint64     // the size that the journal knows
	err      error      // sticky: bytes that were accepted couldn't be stored
	held     atomic.Int64
}

// A segment is a run of bytes that were written and not cut yet.
type segment struct {
	off uint64
	buf []byte
	cut bool // it begins at a boundary that its content made
}

func (s *segment) end() uint64 { return s.off + uint64(len(s.buf)) }

type span struct{ from, to uint64 }

// file returns the inode's state, making it if need be. mu of t is held.
func (t *Tree) file(ino Ino, size uint64) *file {
	f := t.files[ino]
	if f == nil {
		f = &file{t: t, ino: ino, saved: size}
		f.landed.L = &f.mu
		t.files[ino] = f
	}
	return f
}

// idle drops the state when nothing is in it any more. mu of f is held.
func (f *file) idle() {
	if len(f.segments) > 0 || len(f.flights) > 0 || f.err != nil {
		return
	}
	f.t.mu.Lock()
	defer f.t.mu.Unlock()
	if f.handles == 0 && f.t.files[f.ino] == f {
		delete(f.t.files, f.ino)
		f.t.dispose(f.ino)
	}
}

// insert puts p over the segments. mu is held.
func (f *file) insert(off uint64, p []byte) {
	end := off + uint64(len(p))
	f.note(span{off, end})
	i, _ := slices.BinarySearchFunc(f.segments, off, func(s *segment, off uint64) int {
		if s.end() < off {
			return -1
		}
		return 1
	})
	// segments[i] is the first that touches or follows off.
	if i < len(f.segments) && f.segments[i].off <= off {
		s := f.segments[i]
		n := copy(s.buf[off-s.off:], p)
		f.gave(n)
		s.grow(len(p) - n)
		s.buf = append(s.buf, p[n:]...)
		f.took(len(p) - n)
	} else {
		f.segments = slices.Insert(f.segments, i, &segment{off: off, buf: slices.Clone(p)})
		f.took(len(p))
	}
	// What the new bytes have reached is swallowed.
	s := f.segments[i]
	for i+1 < len(f.segments) && f.segments[i+1].off <= s.end() {
		next := f.segments[i+1]
		over := min(s.end()-next.off, uint64(len(next.buf)))
		tail := next.buf[over:]
		f.took(-int(over))
		f.gave(int(over))
		s.grow(len(tail))
		s.buf = append(s.buf, tail...)
		f.segments = slices.Delete(f.segments, i+1, i+2)
	}
	f.t.repo.writer.holds(f)
}

// grow makes room for n more bytes. What goes on where a chunk was cut off will
// be long: it gets all it will ever need.
func (s *segment) grow(n int) {
	switch {
	case cap(s.buf)-len(s.buf) >= n:
	case s.cut:
		s.buf = append(make([]byte, 0, max(cutAt+1<<20, len(s.buf)+n)), s.buf...)
	default:
		s.buf = append(make([]byte, 0, max(2*cap(s.buf), len(s.buf)+n)), s.buf...)
	}
}

// took and gave count the bytes in segments; what is given back was admitted
// and turned out to be there already.
func (f *file) took(n int) { f.held.Add(int64(n)) }

func (f *file) gave(n int) {
	if n > 0 {
		f.t.repo.writer.release(n)
	}
}

// note remembers what the journal doesn't have. mu is held.
func (f *file) note(s span) {
	if n := len(f.fresh); n > 0 && f.fresh[n-1].from <= s.from && s.from <= f.fresh[n-1].to {
		f.fresh[n-1].to = max(f.fresh[n-1].to, s.to)
		return
	}
	f.fresh = append(f.fresh, s)
}

// saw forgets that the bytes of s are fresh, but for those that were written
// again since. mu is held.
func (f *file) saw(s span) {
	gaps := []span{s}
	for _, seg := range f.segments {
		gaps = subtract(gaps, span{seg.off, seg.end()})
	}
	for _, g := range gaps {
		f.fresh = subtract(f.fresh, g)
	}
}

// subtract returns the spans without s.
func subtract(spans []span, s span) []span {
	if !slices.ContainsFunc(spans, func(o span) bool { return o.from < s.to && s.from < o.to }) {
		return spans
	}
	var rest []span
	for _, o := range spans {
		if o.from < s.from {
			rest = append(rest, span{o.from, min(o.to, s.from)})
		}
		if s.to < o.to {
			rest = append(rest, span{max(o.from, s.to), o.to})
		}
	}
	return rest
}

// cutLong cuts chunks off segments that have grown long. mu is held.
func (f *file) cutLong(ctx context.Context) error {
	for i := 0; i < len(f.segments); i++ {
		s := f.segments[i]
		if len(s.buf) < cutAt {
			continue
		}
		if f.awaitCut(s) {
			i = -1 // others may have changed the segments meanwhile
			continue
		}
		if err := f.join(ctx, i); err != nil {
			return err
		}
		w := f.t.repo.writer
		rest := s.buf
		for uint64(len(rest)) >= w.chunks.maxChunk {
			n := w.splitter.Next(rest, false)
			f.launch(s.off, rest[:n:n])
			s.off += uint64(n)
			rest = rest[n:]
		}
		*s = segment{off: s.off, cut: true}
		s.grow(len(rest))
		s.buf = append(s.buf, rest...)
	}
	f.t.repo.writer.holds(f)
	return nil
}

// cut makes chunks of all segments; the ends of the segments are boundaries.
func (f *file) cut(ctx context.Context) error {
	f.t.gate.RLock()
	defer f.t.gate.RUnlock()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cutAll(ctx)
}

// cutAll is cut with mu held; it is let go while waiting.
func (f *file) cutAll(ctx context.Context) error {
	for len(f.segments) > 0 {
		s := f.segments[0]
		if f.awaitCut(s) {
			continue
		}
		if err := f.join(ctx, 0); err != nil {
			return err
		}
		off, rest := s.off, s.buf
		for len(rest) > 0 {
			n := f.t.repo.writer.splitter.Next(rest, true)
			f.launch(off, rest[:n:n])
			off += uint64(n)
			rest = rest[n:]
		}
		f.segments = f.segments[1:]
	}
	f.segments = nil
	f.t.repo.writer.holds(f)
	return nil
}

// awaitCut waits for flights that a cut of s has to come after: those of the
// same bytes, and of the chunk before that it may join. It tells whether it
// waited: mu was let go then, and s may be another or gone.
func (f *file) awaitCut(s *segment) bool {
	from := s.off
	if !s.cut {
		from -= min(from, f.t.repo.chunks.maxChunk)
	}
	for _, fl := range f.flights {
		if fl.off < s.end() && from < fl.end() {
			f.landed.Wait()
			return true
		}
	}
	return false
}

func (f *file) launch(off uint64, data []byte) {
	f.launched++
	fl := &flight{f: f, seq: f.launched, off: off, data: data}
	f.flights = append(f.flights, fl)
	f.held.Add(-int64(len(data)))
	f.t.repo.writer.launch(fl)
}

// join puts the last, incomplete chunk of a file in front of the ith segment
// if that was appended to it, so that only content makes boundaries. mu is
// held, and nothing that matters is in flight.
func (f *file) join(ctx context.Context, i int) error {
	s := f.segments[i]
	if s.cut || s.off == 0 {
		return nil
	}
	var size uint64
	if err := f.t.read(ctx, f.ino, func(n *node) { size = n.attr.Size }); err != nil {
		return err
	}
	s.cut = true
	if s.end() < size {
		return nil
	}
	last, err := f.t.lastBefore(ctx, f.ino, s.off)
	if errors.Is(asDamage(err), ErrDamaged) {
		return nil // as below
	}
	if err != nil || last.Len == 0 || last.isHole() || last.Start != 0 || last.Len >= f.t.repo.chunks.maxChunk {
		return err
	}
	if i > 0 && f.segments[i-1].end() > last.Off {
		return nil // part of that chunk was written again
	}
	data, err := f.t.repo.chunks.get(ctx, chunk.KindData, last.Chunk)
	if errors.Is(asDamage(err), ErrDamaged) || err == nil && uint64(len(data)) < last.Len {
		// A damaged chunk must not keep what comes after it from being stored;
		// whoever reads it is told.
		return nil
	}
	if err != nil {
		return err
	}
	data = data[:last.Len]
	s.buf = slices.Concat(data, s.buf)
	s.off = last.Off
	f.took(len(data))
	f.t.repo.writer.charge(len(data))
	return nil
}

// settle waits until everything that was launched before has landed. mu is
// held, and let go while waiting.
func (f *file) settle() {
	last := f.launched
	for len(f.flights) > 0 && f.flights[0].seq <= last {
		f.landed.Wait()
	}
}

// discard drops everything that isn't cut yet.
func (f *file) discard() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.erase(0, SizeMax)
	f.fresh = nil
}

// land makes a stored chunk part of the file's node.
func (f *file) land(fl *flight, id chunk.ID, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err != nil {
		f.err = fmt.Errorf("store bytes %d to %d: %w", fl.off, fl.end(), asDamage(err))
		f.t.repo.failed(f, f.err)
	} else {
		f.saw(span{fl.off, fl.end()})
		f.t.landed(f.ino, extent{Off: fl.off, Len: uint64(len(fl.data)), Chunk: id})
	}
	f.flights = slices.DeleteFunc(f.flights, func(o *flight) bool { return o == fl })
	fl.data = nil
	f.landed.Broadcast()
	f.idle()
}

// landed notes an extent of a file whose write has put its node into the
// active overlay.
func (t *Tree) landed(ino Ino, e extent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.active.nodes[ino]
	if n == nil {
		return // abandoned meanwhile
	}
	if e.Off >= n.attr.Size {
		return // truncated meanwhile
	}
	e = e.slice(e.Off, min(e.end(), n.attr.Size))
	n.put(e)
	t.unsaved.extent(ino, e)
}

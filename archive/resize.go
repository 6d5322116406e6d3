package archive

import (
	"context"
	"errors"
	"slices"
)

// Modes of Allocate, as of fallocate(2).
const (
	AllocateKeepSize  uint32 = 0x01
	AllocatePunchHole uint32 = 0x02
	AllocateZeroRange uint32 = 0x10
)

// truncate sets a file's size; what is added is a hole.
func (t *Tree) truncate(ctx context.Context, ino Ino, size uint64) error {
	if size > SizeMax {
		return ErrTooBig
	}
	return t.withFile(ctx, ino, func(f *file) error {
		if err := f.awaitAndTrim(ctx, size); err != nil {
			return err
		}
		return t.apply(ctx, func(c *change) error {
			n, err := c.look(ino)
			if err != nil {
				return err
			}
			if !n.isFile() {
				return ErrInvalid
			}
			c.resize(c.own(n), size)
			return nil
		})
	})
}

// withFile runs fn with the gate held shared and the file's state locked.
func (t *Tree) withFile(ctx context.Context, ino Ino, fn func(*file) error) error {
	if t.ReadOnly() {
		return ErrReadOnly
	}
	h, err := t.Open(ctx, ino, false)
	if err != nil {
		return err
	}
	defer h.Release()
	t.gate.RLock()
	defer t.gate.RUnlock()
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return fn(h.f)
}

// awaitAndTrim drops what segments have from size on. mu is held.
func (f *file) awaitAndTrim(ctx context.Context, size uint64) error {
	f.settle()
	f.erase(size, SizeMax)
	f.saved = min(f.saved, size)
	return ctx.Err()
}

// resize sets an owned node's size.
func (c *change) resize(n *node, size uint64) {
	t, old := c.t, n.attr.Size
	if size == old {
		n.attr.Mtime, n.attr.Ctime = c.time, c.time
		return
	}
	if size < old {
		c.hole(n, size, old)
	}
	if n.attr.Nlink > 0 {
		t.usage.Bytes += size - old
	}
	n.attr.Size = size
	n.attr.Mtime, n.attr.Ctime = c.time, c.time
}

// hole makes [from, to) of an owned node a hole.
func (c *change) hole(n *node, from, to uint64) {
	if from >= to {
		return
	}
	e := extent{Off: from, Len: to - from}
	n.put(e)
	c.t.unsaved.extent(n.attr.Ino, e)
}

// erase drops [from, to) from the segments. mu is held.
func (f *file) erase(from, to uint64) {
	var kept []*segment
	for _, s := range f.segments {
		lo, hi := max(from, s.off), min(to, s.end())
		if lo >= hi {
			kept = append(kept, s)
			continue
		}
		n := int(hi - lo)
		f.took(-n)
		f.gave(n)
		tail := slices.Clone(s.buf[hi-s.off:])
		if lo > s.off {
			s.buf = s.buf[:lo-s.off]
			kept = append(kept, s)
		}
		if len(tail) > 0 {
			kept = append(kept, &segment{off: hi, buf: tail})
		}
	}
	f.segments = kept
	f.t.repo.writer.holds(f)
}

// Allocate does what fallocate(2) does: mode 0 makes the file at least off+n
// long, AllocateKeepSize only sees to the space, punching and zeroing make
// holes. Other modes are ErrNotSupported.
func (h *File) Allocate(ctx context.Context, off, n uint64, mode uint32) error {
	if !h.writable {
		return ErrPermission
	}
	if n == 0 || off > SizeMax || n > SizeMax-off {
		return ErrInvalid
	}
	end := off + n
	erase := false
	switch mode {
	case 0, AllocateKeepSize:
		if err := h.t.repo.space.check(int64(n)); err != nil {
			return err
		}
	case AllocatePunchHole | AllocateKeepSize, AllocateZeroRange, AllocateZeroRange | AllocateKeepSize:
		erase = true
	default:
		return ErrNotSupported
	}
	return h.t.withFile(ctx, h.f.ino, func(f *file) error {
		if erase {
			f.settle()
			f.erase(off, end)
		}
		return h.t.apply(ctx, func(c *change) error {
			n, err := c.look(f.ino)
			if err != nil {
				return err
			}
			n = c.own(n)
			if erase {
				c.hole(n, off, min(end, n.attr.Size))
			}
			if end > n.attr.Size && mode&AllocateKeepSize == 0 {
				c.resize(n, end)
			}
			n.attr.Mtime, n.attr.Ctime = c.time, c.time
			return nil
		})
	})
}

// Seek finds data or a hole at or after off, as lseek(2) with SEEK_DATA (hole
// false) or SEEK_HOLE does. ErrRange says that there is none.
func (h *File) Seek(ctx context.Context, off uint64, hole bool) (uint64, error) {
	f := h.f
	f.mu.Lock()
	var v view
	err := f.t.read(ctx, f.ino, func(n *node) { v = n.view(off, n.attr.Size) })
	uncut := make([]span, 0, len(f.segments)+len(f.flights))
	for _, s := range f.segments {
		uncut = append(uncut, span{s.off, s.end()})
	}
	for _, fl := range f.flights {
		uncut = append(uncut, span{fl.off, fl.end()})
	}
	f.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off >= v.size {
		return 0, ErrRange
	}
	found, ok := off, false
	dataIn := func(from, to uint64) (first span, any bool) {
		for _, s := range uncut {
			lo, hi := max(s.from, from), min(s.to, to)
			if lo < hi && (!any || lo < first.from) {
				first, any = span{lo, hi}, true
			}
		}
		return first, any
	}
	errFound := errors.New("found")
	err = f.t.repo.chunks.extents(ctx, v, off, v.size, func(e extent) error {
		for at := e.Off; at < e.end(); {
			data, any := dataIn(at, e.end())
			isData := !e.isHole() || any && data.from == at
			if isData != hole {
				found, ok = at, true
				return errFound
			}
			switch {
			case !e.isHole():
				at = e.end()
			case isData:
				at = data.to
			case any:
				at = data.from
			default:
				at = e.end()
			}
		}
		return nil
	})
	switch {
	case ok:
		return found, nil
	case err != nil:
		return 0, asDamage(err)
	case hole:
		return v.size, nil
	}
	return 0, ErrRange
}

// CopyRange copies n bytes to another file of the same repository by sharing
// chunks, and returns how many there were to copy.
func (h *File) CopyRange(ctx context.Context, off uint64, dst *File, dstOff, n uint64) (uint64, error) {
	if !dst.writable {
		return 0, ErrPermission
	}
	if err := h.t.repo.space.reserve(metadataCost); err != nil {
		return 0, err
	}
	var list []extent
	collect := func(f *file) error {
		if err := f.cutAll(ctx); err != nil {
			return err
		}
		f.settle()
		var v view
		if err := f.t.read(ctx, f.ino, func(m *node) { v = m.view(off, off+min(n, SizeMax-off)) }); err != nil {
			return err
		}
		n = min(n, v.size-min(off, v.size))
		if n == 0 {
			return nil
		}
		return h.t.repo.chunks.extents(ctx, v, off, off+n, func(e extent) error {
			list = append(list, e)
			return nil
		})
	}
	h.t.gate.RLock()
	h.f.mu.Lock()
	err := collect(h.f)
	h.f.mu.Unlock()
	h.t.gate.RUnlock()
	if err != nil || n == 0 {
		return 0, asDamage(err)
	}
	return n, dst.t.withFile(ctx, dst.f.ino, func(f *file) error {
		f.settle()
		f.erase(dstOff, dstOff+n)
		if err := f.t.wrote(ctx, f.ino, dstOff+n, true); err != nil {
			return err
		}
		f.t.mu.Lock()
		defer f.t.mu.Unlock()
		m := f.t.active.nodes[f.ino]
		for _, e := range list {
			e.Off = e.Off - off + dstOff
			m.put(e)
			f.t.unsaved.extent(f.ino, e)
		}
		return nil
	})
}

package archive

import (
	"context"

	"bkfs/archive/chunk"
	"bkfs/archive/page"
)

// A view is what a node's extents say of a range at one moment.
type view struct {
	size    uint64
	changed []extent // by offset, holes included; overrides base
	base    extents
}

// view takes the extents of [from, to). The tree's mu is held.
func (n *node) view(from, to uint64) view {
	v := view{size: n.attr.Size, base: n.content}
	if n.changed == nil && n.beneath == nil {
		return v
	}
	add := func(e extent) { v.changed = append(v.changed, e) }
	n.changed.split(from, to, add, func(from, to uint64) {
		n.beneath.split(from, to, add, func(uint64, uint64) {})
	})
	return v
}

// extents calls fn for the parts of [from, to), in order and without gaps;
// what nobody wrote is a hole.
func (c *chunks) extents(ctx context.Context, v view, from, to uint64, fn func(extent) error) error {
	at := from
	for _, e := range v.changed {
		if e.end() <= at || e.Off >= to {
			continue
		}
		if at < e.Off {
			if err := c.baseExtents(ctx, v.base, at, e.Off, fn); err != nil {
				return err
			}
		}
		e = e.slice(max(at, e.Off), to)
		if err := fn(e); err != nil {
			return err
		}
		at = e.end()
	}
	if at < to {
		return c.baseExtents(ctx, v.base, at, to, fn)
	}
	return nil
}

func (c *chunks) baseExtents(ctx context.Context, x extents, from, to uint64, fn func(extent) error) error {
	at := from
	each := func(e extent) (more bool, err error) {
		if e.end() <= at {
			return true, nil
		}
		if e.Off >= to {
			return false, nil
		}
		e = e.slice(max(at, e.Off), to)
		if at < e.Off {
			if err := fn(extent{Off: at, Len: e.Off - at}); err != nil {
				return false, err
			}
		}
		at = e.end()
		return at < to, fn(e)
	}
	if x.isPaged() {
		// An extent is at most one chunk long: the first that matters begins
		// no further back.
		first := from - min(from, c.maxChunk)
		err := page.Scan(ctx, c, x.paged, offsetKey(first), func(key, value []byte) (bool, error) {
			e, err := decodePagedExtent(key, value)
			if err != nil {
				return false, err
			}
			return each(e)
		})
		if err != nil {
			return err
		}
	}
	for _, e := range x.inline {
		more, err := each(e)
		if err != nil {
			return err
		}
		if !more {
			break
		}
	}
	if at < to {
		return fn(extent{Off: at, Len: to - at})
	}
	return nil
}

func decodePagedExtent(key, value []byte) (extent, error) {
	if len(key) != 8 {
		return extent{}, damaged("extent key", errTruncated)
	}
	var off uint64
	for _, b := range key {
		off = off<<8 | uint64(b)
	}
	d := decoder{b: value}
	e := d.extent(off)
	d.end()
	if d.err != nil {
		return extent{}, damaged("extent", d.err)
	}
	return e, nil
}

// fill reads the file's bytes from off on into p.
func (c *chunks) fill(ctx context.Context, p []byte, off uint64, v view) error {
	return c.extents(ctx, v, off, off+uint64(len(p)), func(e extent) error {
		dst := p[e.Off-off : e.end()-off]
		if e.isHole() {
			clear(dst)
			return nil
		}
		data, err := c.get(ctx, chunk.KindData, e.Chunk)
		if err != nil {
			return err
		}
		if uint64(e.Start)+e.Len > uint64(len(data)) {
			return damaged("extent reaches beyond its chunk "+e.Chunk.String(), nil)
		}
		copy(dst, data[e.Start:])
		return nil
	})
}

// lastBefore returns the extent that ends at off, or a zero one.
func (t *Tree) lastBefore(ctx context.Context, ino Ino, off uint64) (last extent, err error) {
	from := off - min(off, t.repo.chunks.maxChunk)
	var v view
	if err := t.read(ctx, ino, func(n *node) { v = n.view(from, off) }); err != nil {
		return extent{}, err
	}
	err = t.repo.chunks.extents(ctx, v, from, off, func(e extent) error {
		last = e
		return nil
	})
	return last, err
}

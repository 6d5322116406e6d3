package archive

import (
	"encoding/binary"
	"errors"

	"bkfs/archive/chunk"
	"bkfs/archive/page"

	"github.com/tidwall/btree"
)

// An extent says that a file's bytes [Off, Off+Len) are the bytes
// [Start, Start+Len) of a chunk. The zero chunk id is a hole: zeros.
type extent struct {
	Off, Len uint64
	Chunk    chunk.ID
	Start    uint32
}

func (e extent) end() uint64  { return e.Off + e.Len }
func (e extent) isHole() bool { return e.Chunk == chunk.ID{} }

// slice returns the part of e within [from, to), which must overlap it.
func (e extent) slice(from, to uint64) extent {
	if from > e.Off {
		if !e.isHole() {
			e.Start += uint32(from - e.Off)
		}
		e.Len -= from - e.Off
		e.Off = from
	}
	if e.end() > to {
		e.Len = to - e.Off
	}
	return e
}

// maxInline is how many extents a node keeps in itself; more go to pages.
const maxInline = 4

// extents is what a tree stores of one file's content: a short list within the
// node or a paged map by big-endian offset. Holes are absent. It is immutable.
type extents struct {
	inline []extent
	paged  page.Root
}

func (x extents) isPaged() bool { return x.paged.Height > 0 || x.paged.Count > 0 }

// An overlay of extents: non-overlapping, keyed by offset. It overrides what is
// beneath it, holes included.
type extentMap struct {
	m btree.Map[uint64, extent]
}

// put makes e the content of its range.
func (x *extentMap) put(e extent) {
	if e.Len == 0 {
		return
	}
	var cut []extent
	x.overlaps(e.Off, e.end(), func(o extent) { cut = append(cut, o) })
	for _, o := range cut {
		x.m.Delete(o.Off)
		if o.Off < e.Off {
			left := o.slice(o.Off, e.Off)
			x.m.Set(left.Off, left)
		}
		if o.end() > e.end() {
			right := o.slice(e.end(), o.end())
			x.m.Set(right.Off, right)
		}
	}
	x.m.Set(e.Off, e)
}

// overlaps calls fn, in order, for every whole extent that touches [from, to).
func (x *extentMap) overlaps(from, to uint64, fn func(extent)) {
	first := from
	x.m.Descend(from, func(_ uint64, e extent) bool {
		if e.end() > from {
			first = e.Off
		}
		return false
	})
	x.m.Ascend(first, func(_ uint64, e extent) bool {
		if e.Off >= to {
			return false
		}
		if e.end() > from {
			fn(e)
		}
		return true
	})
}

// split calls covered for every part of [from, to) that x holds and gap for
// every part that it doesn't, in order.
func (x *extentMap) split(from, to uint64, covered func(extent), gap func(from, to uint64)) {
	at := from
	if x != nil {
		x.overlaps(from, to, func(e extent) {
			e = e.slice(max(from, e.Off), to)
			if at < e.Off {
				gap(at, e.Off)
			}
			covered(e)
			at = e.end()
		})
	}
	if at < to {
		gap(at, to)
	}
}

func (x *extentMap) len() int {
	if x == nil {
		return 0
	}
	return x.m.Len()
}

func appendExtent(b []byte, e extent) []byte {
	b = binary.AppendUvarint(b, e.Len)
	b = append(b, e.Chunk[:]...)
	return binary.AppendUvarint(b, uint64(e.Start))
}

func (d *decoder) extent(off uint64) extent {
	e := extent{Off: off, Len: d.uvarint(), Chunk: d.id(), Start: d.uint32()}
	if d.err == nil && (e.Len == 0 || e.Len > SizeMax || e.Off > SizeMax-e.Len) {
		d.fail(errors.New("extent is out of range"))
	}
	return e
}

func offsetKey(off uint64) []byte { return binary.BigEndian.AppendUint64(nil, off) }

const (
	contentNone byte = iota
	contentInline
	contentPaged
)

func appendExtents(b []byte, x extents) []byte {
	switch {
	case x.isPaged():
		b = append(b, contentPaged)
		return appendRoot(b, x.paged)
	case len(x.inline) > 0:
		b = append(b, contentInline)
		b = binary.AppendUvarint(b, uint64(len(x.inline)))
		for _, e := range x.inline {
			b = binary.AppendUvarint(b, e.Off)
			b = appendExtent(b, e)
		}
		return b
	}
	return append(b, contentNone)
}

func (d *decoder) extents() (x extents) {
	switch kind := d.byte(); kind {
	case contentNone:
	case contentInline:
		n := d.count(35)
		if d.err == nil && n == 0 {
			d.fail(errors.New("list of no extents"))
		}
		x.inline = make([]extent, 0, n)
		var at uint64
		for range n {
			e := d.extent(d.uvarint())
			if d.err != nil {
				return extents{}
			}
			if e.Off < at {
				d.fail(errors.New("extents overlap"))
				return extents{}
			}
			at = e.end()
			x.inline = append(x.inline, e)
		}
	case contentPaged:
		x.paged = d.root()
	default:
		d.fail(errors.New("unknown kind of content"))
	}
	return x
}

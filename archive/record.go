package archive

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
)

// A journal batch is a sequence of tagged records. A tree's records stand
// between recordTree and recordEnd.
const (
	recordPacks   byte = iota + 1 // packs that became durable
	recordChunk                   // a chunk that is in no durable pack
	recordArchive                 // an archive was made, renamed or removed
	recordTree
	recordEnd
	recordPath  // where an inode's entry is
	recordName  // a name came or went
	recordNode  // an inode's attributes and what changed of its content
	recordGone  // an inode is no more
	recordBytes // a file's bytes that are no chunk yet
)

func appendPacks(b []byte, packs []packRecord) []byte {
	b = append(b, recordPacks)
	return appendPackList(b, packs)
}

func appendPackList(b []byte, packs []packRecord) []byte {
	b = binary.AppendUvarint(b, uint64(len(packs)))
	for _, p := range packs {
		b = append(b, p.id[:]...)
		b = append(b, byte(p.kind))
		b = binary.AppendUvarint(b, uint64(p.size))
	}
	return b
}

func (d *decoder) packs() []packRecord {
	n := d.count(34)
	list := make([]packRecord, 0, n)
	for range n {
		var p packRecord
		copy(p.id[:], d.take(uint64(len(p.id))))
		p.kind = pack.Kind(d.byte())
		p.size = d.uint32()
		list = append(list, p)
	}
	return list
}

func appendChunk(b []byte, kind chunk.Kind, data []byte) []byte {
	b = append(b, recordChunk, byte(kind))
	return appendBytes(b, data)
}

// A batchReader is told what a journal batch holds. Slices are valid during
// the call only.
type batchReader interface {
	packs([]packRecord) error
	chunk(kind chunk.Kind, data []byte) error
	archive(archiveRecord) error
	// tree says whose the calls that follow are.
	tree(number uint32, nextIno Ino, u Usage) error
	path(ino Ino, p place)
	name(p place, e dirEntry)
	node(n *node, changed []extent, uncut []span) error
	gone(ino Ino)
	bytes(ino Ino, off uint64, data []byte)
}

// decodeBatch takes a journal batch apart.
func decodeBatch(batch []byte, r batchReader) error {
	d := decoder{b: batch}
	inTree := false
	for d.err == nil && len(d.b) > 0 {
		tag := d.byte()
		if isTreeRecord := tag > recordTree; isTreeRecord != inTree {
			return damaged(fmt.Sprintf("journal record %d out of place", tag), nil)
		}
		switch tag {
		case recordPacks:
			if list := d.packs(); d.err == nil {
				d.check(r.packs(list))
			}
		case recordChunk:
			kind := chunk.Kind(d.byte())
			data := d.bytes(maxRecord)
			if d.err == nil {
				d.check(r.chunk(kind, data))
			}
		case recordArchive:
			a := d.archive()
			if d.err == nil {
				d.check(r.archive(a))
			}
		case recordTree:
			number, next := d.uint32(), Ino(d.uvarint())
			u := Usage{Inodes: d.uvarint(), Bytes: d.uvarint()}
			if d.err == nil {
				d.check(r.tree(number, next, u))
			}
			inTree = true
		case recordEnd:
			inTree = false
		default:
			d.treeRecord(tag, r)
		}
	}
	if d.err == nil && inTree {
		d.fail(errTruncated)
	}
	if d.err != nil {
		return damaged("journal record", d.err)
	}
	return nil
}

// maxRecord bounds one field of a record, in bytes.
const maxRecord = 16 << 20

func (d *decoder) treeRecord(tag byte, r batchReader) {
	switch tag {
	case recordPath:
		ino, p := d.ino(), d.place()
		if d.err == nil {
			r.path(ino, p)
		}
	case recordName:
		p := d.place()
		var e dirEntry
		if e.ino = Ino(d.uvarint()); e.ino != 0 {
			e.typ = uint32(d.byte()) << 12
			e.name = string(d.bytes(NameMax))
			if d.err == nil && (checkName(e.name) != nil || e.ino > MaxIno || e.typ&^ModeType != 0) {
				d.fail(errors.New("entry is out of range"))
			}
		}
		if d.err == nil {
			r.name(p, e)
		}
	case recordNode:
		n := d.attr()
		n.origin = d.place()
		if n.isDir() {
			n.parent = Ino(d.uvarint())
		}
		count := d.count(35)
		changed := make([]extent, 0, count)
		for range count {
			changed = append(changed, d.extent(d.uvarint()))
		}
		count = d.count(2)
		uncut := make([]span, 0, count)
		for range count {
			s := span{d.uvarint(), d.uvarint()}
			if s.from >= s.to || s.to > SizeMax {
				d.fail(errors.New("range is out of bounds"))
			}
			uncut = append(uncut, s)
		}
		if d.err == nil {
			d.check(r.node(n, changed, uncut))
		}
	case recordGone:
		ino := d.ino()
		if d.err == nil {
			r.gone(ino)
		}
	case recordBytes:
		ino, off := d.ino(), d.uvarint()
		data := d.bytes(maxRecord)
		if d.err == nil && off > SizeMax-uint64(len(data)) {
			d.fail(errors.New("offset is out of bounds"))
		}
		if d.err == nil {
			r.bytes(ino, off, data)
		}
	default:
		d.fail(fmt.Errorf("unknown tag %d", tag))
	}
}

func (d *decoder) check(err error) {
	if err != nil {
		d.fail(err)
	}
}

func (d *decoder) place() place { return place{Ino(d.uvarint()), d.uvarint()} }

func appendPlace(b []byte, p place) []byte {
	b = binary.AppendUvarint(b, uint64(p.dir))
	return binary.AppendUvarint(b, p.cookie)
}

// appendNodeRecord appends an inode as the journal holds it: size may be less
// than the node's when what is behind it is in nobody's hands yet.
func appendNodeRecord(b []byte, n *node, size uint64, changed *extentMap, uncut []span) []byte {
	b = append(b, recordNode)
	image := *n
	image.attr.Size = size
	b = appendAttr(b, &image)
	b = appendPlace(b, n.origin)
	if n.isDir() {
		b = binary.AppendUvarint(b, uint64(n.parent))
	}
	b = binary.AppendUvarint(b, uint64(changed.len()))
	if changed != nil {
		changed.m.Scan(func(off uint64, e extent) bool {
			b = binary.AppendUvarint(b, off)
			b = appendExtent(b, e)
			return true
		})
	}
	b = binary.AppendUvarint(b, uint64(len(uncut)))
	for _, s := range uncut {
		b = binary.AppendUvarint(b, s.from)
		b = binary.AppendUvarint(b, s.to)
	}
	return b
}

// capture appends everything unsaved of a tree to b and counts it as saved.
// gate is held alone.
func (t *Tree) capture(b []byte) []byte {
	files := t.openFiles()
	for _, f := range files {
		f.mu.Lock()
	}
	defer func() {
		for _, f := range files {
			f.mu.Unlock()
		}
	}()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range files {
		if len(f.fresh) > 0 {
			t.unsaved.node(f.ino)
		}
	}
	if t.unsaved.isEmpty() {
		return b
	}
	b = append(b, recordTree)
	b = binary.AppendUvarint(b, uint64(t.number))
	b = binary.AppendUvarint(b, uint64(t.nextIno))
	b = binary.AppendUvarint(b, t.usage.Inodes)
	b = binary.AppendUvarint(b, t.usage.Bytes)
	for ino := range t.unsaved.paths {
		if p, ok := t.active.paths[ino]; ok {
			b = binary.AppendUvarint(append(b, recordPath), uint64(ino))
			b = appendPlace(b, p)
		}
	}
	for p := range t.unsaved.names {
		e, _ := t.active.name(p.dir, p.cookie)
		b = appendPlace(append(b, recordName), p)
		b = binary.AppendUvarint(b, uint64(e.ino))
		if e.ino != 0 {
			b = append(b, byte(e.typ>>12))
			b = appendString(b, e.name)
		}
	}
	for ino, changed := range t.unsaved.nodes {
		n := t.active.nodes[ino]
		if n == nil {
			if dir := t.unsaved.dirs[ino]; dir != nil {
				b = appendNodeRecord(b, dir, dir.attr.Size, nil, nil)
				continue
			}
			b = binary.AppendUvarint(append(b, recordGone), uint64(ino))
			continue
		}
		f := t.files[ino]
		if f == nil || !n.isFile() {
			b = appendNodeRecord(b, n, n.attr.Size, changed, nil)
			continue
		}
		b = f.captureBytes(b)
		b = appendNodeRecord(b, n, f.savedSize(n.attr.Size), changed, f.uncut())
	}
	t.unsaved = newUnsaved()
	return append(b, recordEnd)
}

func (t *Tree) openFiles() []*file {
	t.mu.RLock()
	defer t.mu.RUnlock()
	list := make([]*file, 0, len(t.files))
	for _, f := range t.files {
		list = append(list, f)
	}
	return list
}

// captureBytes appends the fresh bytes of the segments; what is in flight
// stays fresh. mu is held.
func (f *file) captureBytes(b []byte) []byte {
	var left []span
	for _, fresh := range f.fresh {
		for _, s := range f.segments {
			lo, hi := max(fresh.from, s.off), min(fresh.to, s.end())
			if lo < hi {
				b = binary.AppendUvarint(append(b, recordBytes), uint64(f.ino))
				b = binary.AppendUvarint(b, lo)
				b = appendBytes(b, s.buf[lo-s.off:hi-s.off])
			}
		}
		for _, fl := range f.flights {
			lo, hi := max(fresh.from, fl.off), min(fresh.to, fl.end())
			if lo < hi {
				left = append(left, span{lo, hi})
			}
		}
	}
	f.fresh = left
	return b
}

// savedSize is the size that the journal may claim: up to the first byte that
// nobody has saved, unless the file had that byte before. mu is held.
func (f *file) savedSize(size uint64) uint64 {
	for _, s := range f.fresh {
		if s.to > f.saved {
			size = min(size, max(s.from, f.saved))
		}
	}
	f.saved = size
	return size
}

// uncut lists, by offset, where the file's bytes are those of earlier bytes
// records, if there are any. Segments and flights may overlap. mu is held.
func (f *file) uncut() []span {
	list := make([]span, 0, len(f.segments)+len(f.flights))
	for _, s := range f.segments {
		list = append(list, span{s.off, s.end()})
	}
	for _, fl := range f.flights {
		list = append(list, span{fl.off, fl.end()})
	}
	slices.SortFunc(list, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return list
}

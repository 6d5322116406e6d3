package page

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"bkfs/archive/chunk"
)

// A page: version, level, two zero bytes, count u32; the offset of each entry
// from the page's start, u32; the entries, each key length u16, key, value.
// Integers are big-endian. A value above the leaves is the child page's id, and
// its key is the child's last key.
const (
	version       = 1
	headerSize    = 8
	offsetSize    = 4
	keyLengthSize = 2
	entryOverhead = offsetSize + keyLengthSize

	minSize  = 4 << 10  // a page doesn't end before, except at the map's end
	cutSize  = 48 << 10 // a page ends here at the latest
	meanTail = 12 << 10 // how far beyond minSize pages end on average
)

// raw is an encoded page. Only what parse looks at is known to be sound; the
// rest is checked where it is read.
type raw struct {
	id    chunk.ID
	data  []byte
	n     int
	level int
}

// load reads one page, which must be of the given level.
func load(ctx context.Context, s Source, id chunk.ID, level int) (raw, error) {
	data, err := s.Page(ctx, id)
	if err != nil {
		return raw{}, err
	}
	p, err := parse(data, level)
	if err != nil {
		return raw{}, fmt.Errorf("page %s: %w", id, err)
	}
	p.id = id
	return p, nil
}

// parse checks the frame: versions, level, and that the table fits.
func parse(data []byte, level int) (raw, error) {
	if len(data) < headerSize || len(data) > MaxPage {
		return raw{}, fmt.Errorf("%w: %d bytes long", ErrDamaged, len(data))
	}
	if data[0] != version || data[2] != 0 || data[3] != 0 {
		return raw{}, fmt.Errorf("%w: unknown version", ErrDamaged)
	}
	if int(data[1]) != level {
		return raw{}, fmt.Errorf("%w: level %d where %d belongs", ErrDamaged, data[1], level)
	}
	n := binary.BigEndian.Uint32(data[4:])
	if n == 0 || uint64(n)*entryOverhead > uint64(len(data)-headerSize) {
		return raw{}, fmt.Errorf("%w: %d entries in %d bytes", ErrDamaged, n, len(data))
	}
	p := raw{data: data, n: int(n), level: level}
	if p.offset(0) != headerSize+p.n*offsetSize {
		return raw{}, fmt.Errorf("%w: entries don't follow the table", ErrDamaged)
	}
	return p, nil
}

func (p raw) offset(i int) int {
	return int(binary.BigEndian.Uint32(p.data[headerSize+i*offsetSize:]))
}

// entry returns parts of the page's own bytes.
func (p raw) entry(i int) (key, value []byte, err error) {
	start, end := p.offset(i), len(p.data)
	if i+1 < p.n {
		end = p.offset(i + 1)
	}
	if start < headerSize+p.n*offsetSize || end > len(p.data) || end-start < keyLengthSize {
		return nil, nil, fmt.Errorf("page %s: %w: entry %d is out of bounds", p.id, ErrDamaged, i)
	}
	e := p.data[start:end:end]
	k := int(binary.BigEndian.Uint16(e))
	if k > MaxKey || keyLengthSize+k > len(e) {
		return nil, nil, fmt.Errorf("page %s: %w: key of entry %d is out of bounds", p.id, ErrDamaged, i)
	}
	return e[keyLengthSize : keyLengthSize+k : keyLengthSize+k], e[keyLengthSize+k:], nil
}

// child is entry i of a page above the leaves.
func (p raw) child(i int) (last []byte, id chunk.ID, err error) {
	key, value, err := p.entry(i)
	if err != nil {
		return nil, id, err
	}
	if len(value) != len(id) {
		return nil, id, fmt.Errorf("page %s: %w: child %d has no id", p.id, ErrDamaged, i)
	}
	return key, chunk.ID(value), nil
}

// search finds the first entry whose key is not below key; p.n if there is none.
func (p raw) search(key []byte) (int, error) {
	low, high := 0, p.n
	for low < high {
		middle := int(uint(low+high) >> 1)
		k, _, err := p.entry(middle)
		if err != nil {
			return 0, err
		}
		if bytes.Compare(k, key) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low, nil
}

// ends says whether a page of this size ends behind an entry. The chance grows
// with the entry's size, so that pages are equally long whatever they hold.
func ends(level, pageSize int, key []byte, entrySize int) bool {
	if pageSize < minSize {
		return false
	}
	if pageSize >= cutSize || entrySize >= meanTail {
		return true
	}
	return boundaryHash(level, key) < uint64(entrySize)*((1<<64-1)/meanTail)
}

// boundaryHash is XXH64 of the key, then SplitMix64's finalizer over it and the
// level: keys that end a page on one level are nothing special on the next.
func boundaryHash(level int, key []byte) uint64 {
	h := xxhash.Sum64(key) + uint64(level)*0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}

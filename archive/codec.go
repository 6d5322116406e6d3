package archive

import (
	"encoding/binary"
	"errors"

	"bkfs/archive/chunk"
)

var errTruncated = errors.New("record is truncated")

// A decoder takes fields off the front of a record. After the first failure
// every field is zero and err says why, so that callers check once.
type decoder struct {
	b   []byte
	err error
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.b = nil
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.b)
	switch {
	case n <= 0:
		d.fail(errTruncated)
		return 0
	case n > 1 && d.b[n-1] == 0: // one number has one encoding
		d.fail(errors.New("number is longer than it needs to be"))
		return 0
	}
	d.b = d.b[n:]
	return v
}

func (d *decoder) varint() int64 {
	v := d.uvarint()
	return int64(v>>1) ^ -int64(v&1)
}

func (d *decoder) uint32() uint32 {
	v := d.uvarint()
	if v > 1<<32-1 {
		d.fail(errors.New("number is out of range"))
		return 0
	}
	return uint32(v)
}

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail(errTruncated)
		return 0
	}
	v := d.b[0]
	d.b = d.b[1:]
	return v
}

func (d *decoder) bool() bool {
	v := d.byte()
	if v > 1 {
		d.fail(errors.New("neither true nor false"))
	}
	return v == 1
}

// ino returns an inode number that is in use.
func (d *decoder) ino() Ino {
	i := Ino(d.uvarint())
	if d.err == nil && (i == 0 || i > MaxIno) {
		d.fail(errors.New("inode is out of range"))
	}
	return i
}

// take returns the next n bytes, sharing the record's memory.
func (d *decoder) take(n uint64) []byte {
	if n > uint64(len(d.b)) {
		d.fail(errTruncated)
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

// bytes returns a length-prefixed string of at most limit bytes.
func (d *decoder) bytes(limit uint64) []byte {
	n := d.uvarint()
	if n > limit {
		d.fail(errors.New("field is too long"))
		return nil
	}
	return d.take(n)
}

// count returns a number of items that take at least size bytes each.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if n > uint64(len(d.b)/size) {
		d.fail(errTruncated)
		return 0
	}
	return int(n)
}

func (d *decoder) id() (id chunk.ID) {
	copy(id[:], d.take(uint64(len(id))))
	return id
}

func (d *decoder) time() Time {
	t := Time{Sec: d.varint(), Nsec: d.uint32()}
	if t.Nsec >= 1e9 {
		d.fail(errors.New("nanoseconds are out of range"))
	}
	return t
}

// end refuses bytes behind the last field.
func (d *decoder) end() {
	if d.err == nil && len(d.b) > 0 {
		d.fail(errors.New("record has bytes behind its end"))
	}
}

func appendBytes(b, v []byte) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendString(b []byte, v string) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}

func appendTime(b []byte, t Time) []byte {
	b = binary.AppendVarint(b, t.Sec)
	return binary.AppendUvarint(b, uint64(t.Nsec))
}

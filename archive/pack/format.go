package pack

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"

	"bkfs/archive/chunk"
	"bkfs/archive/seal"
)

var (
	// ErrDamaged: bytes of a pack aren't what was written.
	ErrDamaged = errors.New("damaged pack")
	// ErrFormat: the pack was written by a later version of bkfs.
	ErrFormat = errors.New("unknown pack format")
	// ErrFull: the blob would make the pack longer than MaxSize.
	ErrFull = errors.New("pack is full")
)

// Sizes in bytes.
const (
	TargetSize = 16 << 20 // where a writer does well to stop
	MaxSize    = 32 << 20 // of a finished pack
	MaxPayload = 2 << 20  // of a blob: its table and its chunks

	minPadding = 4 << 10
)

// A pack: header; for each blob a sealed section head and the sealed blob; a
// section head for the footer and the sealed footer, padded; trailer. Integers
// are big-endian.
const (
	magic   = "bkfspack"
	version = seal.Format
	suite   = 1

	fieldsSize   = 20 // of the header: magic, format, suite, kind, features, epoch
	headerSize   = fieldsSize + 32 + 32 + fieldsSize + seal.Overhead
	sectionSize  = 5 + seal.Overhead // section type, sealed length
	trailerSize  = 8 + seal.Overhead // footer's offset, its sealed length
	envelopeSize = 9                 // before a blob's body: method, payload length, count
	lengthSize   = 4                 // of one chunk, in a blob's table
	maxSealed    = MaxPayload + envelopeSize + seal.Overhead

	footerHead  = 4      // number of blobs
	footerBlob  = 4 + 4  // sealed length, number of chunks
	footerChunk = 32 + 4 // id, length
)

// Record numbers in a pack: section head i is 1+2i, blob i is 2+2i. Types are
// bound by the seal as well.
const (
	headerRecord  = 0
	footerRecord  = 1 << 32
	trailerRecord = 1<<32 + 1

	typeHeader  = 'h'
	typeSection = 's'
	typeBlob    = 'b'
	typeFooter  = 'f'
	typeTrailer = 't'
)

func sectionRecord(i int) uint64 { return uint64(2*i + 1) }
func blobRecord(i int) uint64    { return uint64(2*i + 2) }

// Info is what a pack's header says, and its size in bytes.
type Info struct {
	Kind  Kind
	Epoch uint32
	Size  int64
}

func appendHeader(b []byte, id ID, kind Kind, epoch uint32, o *seal.Object) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = append(b, suite, byte(kind))
	b = binary.BigEndian.AppendUint32(b, 0) // features
	b = binary.BigEndian.AppendUint32(b, epoch)
	fields := b
	commitment := o.Commitment()
	b = append(b, id[:]...)
	b = append(b, commitment[:]...)
	return o.Seal(b, fields, headerRecord, typeHeader)
}

// parseHeader tells a later format from damage by the seal: a pack of this
// format opens, and what it sealed is what the clear fields must say.
func parseHeader(b []byte, id ID, o *seal.Object) (Info, error) {
	const sealedAt = fieldsSize + 32 + 32
	if len(b) < headerSize || string(b[:len(magic)]) != magic {
		return Info{}, fmt.Errorf("%w: not a pack", ErrDamaged)
	}
	known := binary.BigEndian.Uint16(b[8:]) == version && b[10] == suite
	fields, err := o.Open(nil, b[sealedAt:headerSize], headerRecord, typeHeader)
	switch {
	case err != nil && !known:
		return Info{}, fmt.Errorf("%w: format %d, suite %d", ErrFormat, binary.BigEndian.Uint16(b[8:]), b[10])
	case err != nil:
		return Info{}, fmt.Errorf("%w: header: %w", ErrDamaged, err)
	case string(fields) != string(b[:fieldsSize]) || ID(b[fieldsSize:]) != id:
		return Info{}, fmt.Errorf("%w: header was changed", ErrDamaged)
	}
	if err := o.CheckCommitment(b[fieldsSize+32 : sealedAt]); err != nil {
		return Info{}, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if features := binary.BigEndian.Uint32(b[12:]); features != 0 {
		return Info{}, fmt.Errorf("%w: features %#x", ErrFormat, features)
	}
	kind := Kind(b[11])
	if kind != KindData && kind != KindMeta {
		return Info{}, fmt.Errorf("%w: kind %d", ErrFormat, b[11])
	}
	return Info{Kind: kind, Epoch: binary.BigEndian.Uint32(b[16:])}, nil
}

func appendSection(b []byte, o *seal.Object, i int, typ byte, sealed int) []byte {
	head := binary.BigEndian.AppendUint32([]byte{typ}, uint32(sealed))
	return o.Seal(b, head, sectionRecord(i), typeSection)
}

// openSection reads the head of section i at the beginning of b: which type of
// section follows, and how long.
func openSection(b []byte, o *seal.Object, i int) (typ byte, sealed int, err error) {
	if len(b) < sectionSize {
		return 0, 0, fmt.Errorf("%w: section %d: cut off", ErrDamaged, i)
	}
	head, err := o.Open(nil, b[:sectionSize], sectionRecord(i), typeSection)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: section %d: %w", ErrDamaged, i, err)
	}
	n := binary.BigEndian.Uint32(head[1:])
	if uint64(n) > uint64(len(b)-sectionSize) || n < seal.Overhead {
		return 0, 0, fmt.Errorf("%w: section %d: %d bytes long", ErrDamaged, i, n)
	}
	return head[0], int(n), nil
}

func appendTrailer(b []byte, o *seal.Object, offset, sealed int) []byte {
	t := binary.BigEndian.AppendUint32(nil, uint32(offset))
	t = binary.BigEndian.AppendUint32(t, uint32(sealed))
	return o.Seal(b, t, trailerRecord, typeTrailer)
}

// openTrailer finds the sealed footer in a pack of this size.
func openTrailer(b []byte, o *seal.Object, size int64) (offset, sealed int64, err error) {
	t, err := o.Open(nil, b, trailerRecord, typeTrailer)
	if err != nil {
		return 0, 0, fmt.Errorf("%w: trailer: %w", ErrDamaged, err)
	}
	offset, sealed = int64(binary.BigEndian.Uint32(t)), int64(binary.BigEndian.Uint32(t[4:]))
	if offset < headerSize+sectionSize || sealed < footerHead+seal.Overhead || offset+sealed+trailerSize != size {
		return 0, 0, fmt.Errorf("%w: trailer: footer is out of bounds", ErrDamaged)
	}
	return offset, sealed, nil
}

// parseFooter lists the chunks of a pack whose footer's section begins at end.
func parseFooter(b []byte, id ID, end int64) ([]Entry, error) {
	bad := func(what string) ([]Entry, error) {
		return nil, fmt.Errorf("%w: footer: %s", ErrDamaged, what)
	}
	if len(b) < footerHead {
		return bad("cut off")
	}
	blobs := int64(binary.BigEndian.Uint32(b))
	b = b[footerHead:]
	if blobs*(footerBlob+footerChunk) > int64(len(b)) {
		return bad("more blobs than bytes")
	}
	entries := make([]Entry, 0, (len(b)-int(blobs)*footerBlob)/footerChunk)
	at := int64(headerSize)
	for i := range int(blobs) {
		if len(b) < footerBlob {
			return bad("cut off")
		}
		sealed, count := binary.BigEndian.Uint32(b), int64(binary.BigEndian.Uint32(b[4:]))
		b = b[footerBlob:]
		at += sectionSize
		if count == 0 || count*footerChunk > int64(len(b)) || sealed > maxSealed || at+int64(sealed) > end {
			return bad("blob is out of bounds")
		}
		start := lengthSize * count
		for range count {
			length := binary.BigEndian.Uint32(b[32:])
			if length == 0 || start+int64(length) > MaxPayload {
				return bad("chunk is out of bounds")
			}
			entries = append(entries, Entry{chunk.ID(b), Place{
				Pack: id, Offset: uint32(at), Sealed: sealed, Record: uint32(blobRecord(i)),
				Start: uint32(start), Length: length,
			}})
			start += int64(length)
			b = b[footerChunk:]
		}
		at += int64(sealed)
	}
	if at != end {
		return bad("blobs don't fill the pack")
	}
	for _, c := range b {
		if c != 0 {
			return bad("padding isn't zero")
		}
	}
	return entries, nil
}

// padded is the size a pack of n bytes is brought to: a multiple of 1/64 of the
// power of two below, so that sizes tell little and cost at most 1.6 %.
func padded(n int) int {
	step := max(minPadding, 1<<(bits.Len(uint(n))-1)/64)
	return (n + step - 1) / step * step
}

package journal

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"bkfs/archive/seal"
)

var (
	// ErrDamaged: acknowledged batches are lost or were changed.
	ErrDamaged = errors.New("damaged journal")
	// ErrFormat: the journal was written by a later version of bkfs.
	ErrFormat = errors.New("unknown journal format")
	// ErrSize: a batch is empty or over MaxBatch.
	ErrSize = errors.New("batch is empty or too long")
)

// MaxBatch is the longest batch, in bytes.
const MaxBatch = 64 << 20

// A journal: a header of one slot, then records of whole slots. A record is a
// sealed head and a sealed body. Record number of the seal: twice the slot the
// record begins in, for the body one more. Integers are big-endian.
const (
	slot    = 512
	magic   = "bkfsjrnl"
	version = seal.Format
	suite   = 1

	fieldsSize = 24 // of the header: magic, format, suite, zero, features, generation
	sealedAt   = fieldsSize + 32 + 32

	headPlain  = 8 + 1 + 4 + 32 // batch, last, length, chain
	headSize   = headPlain + seal.Overhead
	maxRecord  = 1 << 20
	maxPayload = maxRecord - headSize - seal.Overhead

	typeHeader = 'h'
	typeHead   = 'r'
	typeBody   = 'b'
)

// Link names the end of a journal; the next journal's header seals it. Batches
// is how many were acknowledged, Chain a hash over all that was written.
type Link struct {
	Generation uint64
	ID         [32]byte
	Batches    uint64
	Chain      [32]byte
}

func makeHeader(id [32]byte, generation uint64, prev *Link, o *seal.Object) []byte {
	b := append(make([]byte, 0, slot), magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = append(b, suite, 0)
	b = binary.BigEndian.AppendUint32(b, 0) // features
	b = binary.BigEndian.AppendUint64(b, generation)
	plain := append(make([]byte, 0, slot), b...)
	commitment := o.Commitment()
	b = append(b, id[:]...)
	b = append(b, commitment[:]...)
	if prev != nil {
		plain = append(plain, 1)
		plain = binary.BigEndian.AppendUint64(plain, prev.Generation)
		plain = append(plain, prev.ID[:]...)
		plain = binary.BigEndian.AppendUint64(plain, prev.Batches)
		plain = append(plain, prev.Chain[:]...)
	}
	return o.Seal(b, plain[:slot-sealedAt-seal.Overhead], 0, typeHeader)
}

// parseHeader reads the first slot of a journal.
func parseHeader(b []byte, keys *seal.Keys) (id [32]byte, generation uint64, prev *Link, o *seal.Object, err error) {
	fail := func(err error) ([32]byte, uint64, *Link, *seal.Object, error) { return id, 0, nil, nil, err }
	if len(b) < slot || string(b[:len(magic)]) != magic {
		return fail(fmt.Errorf("%w: not a journal", ErrDamaged))
	}
	known := binary.BigEndian.Uint16(b[8:]) == version && b[10] == suite
	copy(id[:], b[fieldsSize:])
	if o, err = keys.Object(seal.PurposeJournal, id); err != nil {
		return fail(err)
	}
	plain, err := o.Open(nil, b[sealedAt:slot], 0, typeHeader)
	switch {
	case err != nil && !known:
		return fail(fmt.Errorf("%w: format %d, suite %d", ErrFormat, binary.BigEndian.Uint16(b[8:]), b[10]))
	case err != nil:
		return fail(fmt.Errorf("%w: header: %w", ErrDamaged, err))
	case string(plain[:fieldsSize]) != string(b[:fieldsSize]):
		return fail(fmt.Errorf("%w: header was changed", ErrDamaged))
	}
	if err := o.CheckCommitment(b[fieldsSize+32 : sealedAt]); err != nil {
		return fail(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	if b[11] != 0 || binary.BigEndian.Uint32(b[12:]) != 0 {
		return fail(fmt.Errorf("%w: features %#x", ErrFormat, b[11:16]))
	}
	if l := plain[fieldsSize:]; l[0] == 1 {
		prev = &Link{
			Generation: binary.BigEndian.Uint64(l[1:]), ID: [32]byte(l[9:]),
			Batches: binary.BigEndian.Uint64(l[41:]), Chain: [32]byte(l[49:]),
		}
	}
	return id, binary.BigEndian.Uint64(b[16:]), prev, o, nil
}

// head is what precedes each record's body.
type head struct {
	batch  uint64 // counted from 0
	last   bool   // the batch ends with this record
	length int    // of the payload, which zeros follow up to the slot's end
	chain  [32]byte
}

func (h head) seal(dst []byte, o *seal.Object, at int64) []byte {
	plain := binary.BigEndian.AppendUint64(make([]byte, 0, headPlain), h.batch)
	last := byte(0)
	if h.last {
		last = 1
	}
	plain = append(plain, last)
	plain = binary.BigEndian.AppendUint32(plain, uint32(h.length))
	plain = append(plain, h.chain[:]...)
	return o.Seal(dst, plain, headRecord(at), typeHead)
}

func openHead(sealed []byte, o *seal.Object, at int64) (head, error) {
	b, err := o.Open(nil, sealed[:headSize], headRecord(at), typeHead)
	if err != nil {
		return head{}, err
	}
	h := head{batch: binary.BigEndian.Uint64(b), last: b[8] == 1, chain: [32]byte(b[13:])}
	length := binary.BigEndian.Uint32(b[9:])
	if length == 0 || length > maxPayload || b[8] > 1 {
		return head{}, fmt.Errorf("record at %d is malformed", at)
	}
	h.length = int(length)
	return h, nil
}

func headRecord(at int64) uint64 { return uint64(at) / slot * 2 }
func bodyRecord(at int64) uint64 { return uint64(at)/slot*2 + 1 }

// recordSize is how long a record with this payload is in the file.
func recordSize(payload int) int {
	return (headSize + payload + seal.Overhead + slot - 1) / slot * slot
}

// openBody opens the body of the record at this position in place.
func openBody(sealed []byte, o *seal.Object, at int64, h head) ([]byte, error) {
	plain, err := o.Open(sealed[:0], sealed, bodyRecord(at), typeBody)
	if err != nil {
		return nil, err
	}
	if len(bytes.TrimRight(plain[h.length:], "\x00")) > 0 {
		return nil, fmt.Errorf("record at %d is malformed", at)
	}
	return plain[:h.length], nil
}

// next extends the chain by a sealed record, of which only the head and the
// body's tag count: they stand for the rest.
func next(chain [32]byte, record []byte) [32]byte {
	h := sha256.New()
	h.Write(chain[:])
	h.Write(record[:headSize])
	h.Write(record[len(record)-seal.Overhead:])
	return [32]byte(h.Sum(nil))
}

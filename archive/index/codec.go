package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
	"bkfs/archive/seal"
)

// Keys are one letter and an id.
const (
	chunkPrefix = 'c'
	packPrefix  = 'p'
	keySize     = 1 + 32
)

// number stands for a pack in chunk values: the first bytes of its random id.
// A counter would be shorter, but would give old copies of the database a
// second meaning.
type number uint64

func numberOf(id pack.ID) number { return number(binary.BigEndian.Uint64(id[:])) }

// place is a pack.Place with its pack as a number.
type place struct {
	pack                                  number
	offset, sealed, record, start, length uint32
}

const (
	placeSize  = 8 + 5*4
	markerSize = 1 + 8 + 4
	// maxPlaces bounds how many copies of a chunk are remembered. There are
	// several only while packs are rewritten, and after a chunk was healed.
	maxPlaces = 4
)

var errMalformed = errors.New("malformed value")

func chunkKey(id chunk.ID) []byte { return append([]byte{chunkPrefix}, id[:]...) }
func packKey(id pack.ID) []byte   { return append([]byte{packPrefix}, id[:]...) }

func newPlace(p pack.Place) place {
	return place{numberOf(p.Pack), p.Offset, p.Sealed, p.Record, p.Start, p.Length}
}

func (p place) in(id pack.ID) pack.Place {
	return pack.Place{Pack: id, Offset: p.offset, Sealed: p.sealed, Record: p.record, Start: p.start, Length: p.length}
}

// appendPlaces encodes the places of one chunk, newest first.
func appendPlaces(dst []byte, places []place) []byte {
	for _, p := range places {
		dst = binary.BigEndian.AppendUint64(dst, uint64(p.pack))
		for _, v := range [...]uint32{p.offset, p.sealed, p.record, p.start, p.length} {
			dst = binary.BigEndian.AppendUint32(dst, v)
		}
	}
	return dst
}

func parsePlaces(b []byte) ([]place, error) {
	n := len(b) / placeSize
	if n < 1 || n > maxPlaces || len(b) != n*placeSize {
		return nil, fmt.Errorf("places of a chunk in %d bytes: %w", len(b), errMalformed)
	}
	places := make([]place, n)
	for i := range places {
		places[i].pack = number(binary.BigEndian.Uint64(b))
		for j, v := range [...]*uint32{&places[i].offset, &places[i].sealed, &places[i].record, &places[i].start, &places[i].length} {
			*v = binary.BigEndian.Uint32(b[8+4*j:])
		}
		b = b[placeSize:]
	}
	return places, nil
}

// addPlace puts p first, instead of an older place in the same pack.
func addPlace(places []place, p place) []place {
	places = slices.DeleteFunc(slices.Clone(places), func(q place) bool { return q.pack == p.pack })
	places = slices.Insert(places, 0, p)
	return places[:min(len(places), maxPlaces)]
}

func appendMarker(dst []byte, p Pack) []byte {
	dst = append(dst, byte(p.Kind))
	dst = binary.BigEndian.AppendUint64(dst, uint64(p.Size))
	return binary.BigEndian.AppendUint32(dst, uint32(p.Chunks))
}

func parseMarker(id pack.ID, b []byte) (Pack, error) {
	if len(b) != markerSize {
		return Pack{}, fmt.Errorf("pack's marker of %d bytes: %w", len(b), errMalformed)
	}
	p := Pack{ID: id, Kind: pack.Kind(b[0]), Size: int64(binary.BigEndian.Uint64(b[1:])), Chunks: int(binary.BigEndian.Uint32(b[9:]))}
	if p.Size < 0 {
		return Pack{}, fmt.Errorf("pack of negative size: %w", errMalformed)
	}
	return p, nil
}

// The instance file names the database: magic, random id, and the commitment
// of the key that is derived from it. It never changes.
const (
	instanceMagic = "bkfsidx\x01"
	instanceSize  = len(instanceMagic) + 32 + 32
)

func appendInstance(dst []byte, id [32]byte, o *seal.Object) []byte {
	commitment := o.Commitment()
	return append(append(append(dst, instanceMagic...), id[:]...), commitment[:]...)
}

// parseInstance gives the database's key; seal.ErrAuth if it was made with
// another repository key.
func parseInstance(b []byte, keys *seal.Keys) (*seal.Object, error) {
	if len(b) != instanceSize || string(b[:len(instanceMagic)]) != instanceMagic {
		return nil, fmt.Errorf("instance file of %d bytes: %w", len(b), errMalformed)
	}
	b = b[len(instanceMagic):]
	o, err := keys.Object(seal.PurposeIndex, [32]byte(b))
	if err != nil {
		return nil, err
	}
	return o, o.CheckCommitment(b[32:])
}

package pack

import (
	"encoding/hex"

	"bkfs/archive/chunk"
)

// ID names a pack: 32 random bytes, fresh for each pack, from which the pack's
// own key and commitment are derived.
type ID [32]byte

// String is the id in lower-case hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// Name is the pack's object name in the store: "packs/ab/abcd…".
func (id ID) Name() string {
	h := hex.EncodeToString(id[:])
	return Prefix + h[:2] + "/" + h
}

// Prefix is where packs live in the store.
const Prefix = "packs/"

// Kind says what a pack holds. Data and metadata are kept apart so that
// metadata can be read without fetching data.
type Kind byte

// The kinds of pack. 3 is reserved for index segments.
const (
	KindData Kind = 1
	KindMeta Kind = 2
)

// String is the kind in words.
func (k Kind) String() string {
	switch k {
	case KindData:
		return "data"
	case KindMeta:
		return "meta"
	}
	return "unknown"
}

// Place is where one chunk is: the sealed blob's offset and length within the
// pack, in bytes, and its AEAD record number; then the chunk's range within
// the opened blob's payload.
type Place struct {
	Pack           ID
	Offset, Sealed uint32
	Record         uint32
	Start, Length  uint32
}

// Entry is one chunk of a pack.
type Entry struct {
	Chunk chunk.ID
	Place Place
}

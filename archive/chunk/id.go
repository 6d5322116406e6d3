package chunk

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// IDSize is the length of an ID in bytes: one HMAC-SHA256 value.
const IDSize = 32

// ID names a chunk by its content: HMAC-SHA256 over the chunk's Kind and
// plaintext, under a key of the repository (seal.Keys.ChunkID). The zero value
// names nothing.
type ID [IDSize]byte

// String is the id in lower-case hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// IsZero says whether the id is the zero value, which names nothing.
func (id ID) IsZero() bool { return id == ID{} }

// Compare orders ids by their bytes: -1, 0 or +1.
func (id ID) Compare(other ID) int { return bytes.Compare(id[:], other[:]) }

// MarshalText is the id in lower-case hexadecimal.
func (id ID) MarshalText() ([]byte, error) {
	return hex.AppendEncode(make([]byte, 0, 2*IDSize), id[:]), nil
}

// UnmarshalText takes what MarshalText gives; capitals are accepted, any other
// length or character is an error and leaves the id unchanged.
func (id *ID) UnmarshalText(text []byte) error {
	if len(text) != 2*IDSize {
		return fmt.Errorf("parse chunk id: %d characters, want %d", len(text), 2*IDSize)
	}
	var parsed ID
	if _, err := hex.Decode(parsed[:], text); err != nil {
		return fmt.Errorf("parse chunk id: %w", err)
	}
	*id = parsed
	return nil
}

// Kind says what a chunk holds. It goes into the chunk's ID, so equal bytes of
// different kinds never share a name. Values are part of the stored format.
type Kind byte

const (
	// KindData is a piece of a file's content.
	KindData Kind = 1
	// KindPage is one page of a paged map: a directory, an inode tree, …
	KindPage Kind = 2
)

// String names the kind for messages.
func (k Kind) String() string {
	switch k {
	case KindData:
		return "data"
	case KindPage:
		return "page"
	}
	return fmt.Sprintf("kind %d", byte(k))
}

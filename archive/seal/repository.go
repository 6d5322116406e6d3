package seal

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// RepositoryID names a repository: 16 random bytes, written as 32 hex digits.
// It isn't secret; it salts every derivation.
type RepositoryID [16]byte

// NewRepositoryID returns a random id.
func NewRepositoryID() RepositoryID {
	var id RepositoryID
	rand.Read(id[:])
	return id
}

// ParseRepositoryID reads what String writes: 32 lower-case hex digits.
func ParseRepositoryID(s string) (RepositoryID, error) {
	var id RepositoryID
	if len(s) != hex.EncodedLen(len(id)) {
		return RepositoryID{}, fmt.Errorf("parse repository id: %d characters, want %d", len(s), hex.EncodedLen(len(id)))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return RepositoryID{}, fmt.Errorf("parse repository id: %w", err)
	}
	if id.String() != s {
		return RepositoryID{}, fmt.Errorf("parse repository id: upper-case digits")
	}
	return id, nil
}

func (id RepositoryID) String() string { return hex.EncodeToString(id[:]) }

func (id RepositoryID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *RepositoryID) UnmarshalText(text []byte) (err error) {
	*id, err = ParseRepositoryID(string(text))
	return err
}

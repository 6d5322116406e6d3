package page

import (
	"context"
	"errors"

	"bkfs/archive/chunk"
)

// Limits of what a map holds, in bytes. A page ends as soon as it reaches 48
// KiB, so it is shorter than 64 KiB unless its last value is over 15 KiB.
const (
	MaxKey   = 1 << 10
	MaxValue = 1 << 20
	MaxPage  = cutSize + entryOverhead + MaxKey + MaxValue
)

// maxHeight bounds what a Root may ask for: a map of 2^64 entries has fewer
// levels, as each full page above the leaves holds at least four entries.
const maxHeight = 33

var (
	// ErrDamaged: a page isn't what this package writes.
	ErrDamaged = errors.New("damaged page")
	// ErrEdits: edits are out of order, repeated or too large.
	ErrEdits = errors.New("invalid edits")
)

// Source reads pages. The bytes it returns are shared: nobody changes them.
type Source interface {
	Page(ctx context.Context, id chunk.ID) ([]byte, error)
}

// Sink takes new pages. Apply hands the bytes over and doesn't touch them again.
type Sink interface {
	PutPage(ctx context.Context, data []byte) (chunk.ID, error)
}

// Root names one state of a map. Its zero value is the empty map.
type Root struct {
	ID     chunk.ID
	Height uint8  // levels of pages: 1 is a single leaf
	Count  uint64 // entries
}

// Edit sets one key's value, or deletes the key (which needn't exist).
type Edit struct {
	Key, Value []byte
	Delete     bool
}

package chunk

import (
	"errors"
	"fmt"
	"math/bits"
)

// ErrUnknownChunker says that Params name a chunker which this build lacks.
var ErrUnknownChunker = errors.New("unknown chunker")

// Gear64 is the name of the first chunker: see gear.go.
const Gear64 = "fastcdc-gear64"

// Params say how files are cut. They are part of the repository's config and
// never change afterwards: other parameters cut elsewhere and so find nothing
// of what is stored. Sizes are in bytes.
type Params struct {
	Name string `json:"name"`
	// Min and Max bound every chunk but a file's last, which may be shorter
	// than Min.
	Min int `json:"min"`
	Max int `json:"max"`
	// Avg is the mean size to expect of random data: a power of two.
	Avg int `json:"avg"`
	// Normalization is how many bits the mask is stricter below the middle
	// and laxer above it: 0 gives exponentially distributed sizes, more draws
	// them towards Avg.
	Normalization int `json:"normalization"`
}

// DefaultParams are the parameters of a new repository.
func DefaultParams() Params {
	return Params{Name: Gear64, Min: 64 << 10, Avg: 256 << 10, Max: 1 << 20, Normalization: 2}
}

// Bounds of Params. The upper one keeps a config that lies from asking for
// buffers without end.
const (
	minChunk         = window
	maxChunk         = 16 << 20
	maxNormalization = 4
)

// Validate says what is wrong with the parameters, ErrUnknownChunker included.
func (p Params) Validate() error {
	switch {
	case p.Name != Gear64:
		return fmt.Errorf("%w %q", ErrUnknownChunker, p.Name)
	case p.Min < minChunk || p.Max > maxChunk:
		return fmt.Errorf("chunker %s: sizes %d to %d are not within %d to %d", p.Name, p.Min, p.Max, minChunk, maxChunk)
	case p.Min > p.Avg/2 || p.Avg > p.Max/2:
		return fmt.Errorf("chunker %s: min %d, avg %d and max %d must lie a factor of two apart", p.Name, p.Min, p.Avg, p.Max)
	case bits.OnesCount(uint(p.Avg)) != 1:
		return fmt.Errorf("chunker %s: avg %d is not a power of two", p.Name, p.Avg)
	case p.Normalization < 0 || p.Normalization > maxNormalization:
		return fmt.Errorf("chunker %s: normalization %d is not within 0 to %d", p.Name, p.Normalization, maxNormalization)
	}
	return nil
}

// Splitter finds chunk boundaries. It is immutable: any number of goroutines
// may use it at once.
type Splitter struct {
	params Params
	// scan gives the length of the first chunk of data, which has no boundary
	// of length ≤ known and is longer than Min; 0 when there is none in data
	// (data is never longer than Max).
	scan func(data []byte, known int) int
}

// NewSplitter is the splitter that p names, keyed by a secret of the
// repository (seal.Keys.ChunkerSeed).
func NewSplitter(p Params, seed [32]byte) (*Splitter, error) {
	if err := p.Validate(); err != nil {
		return nil, err
	}
	g, err := newGear(p, seed)
	if err != nil {
		return nil, fmt.Errorf("chunker %s: %w", p.Name, err)
	}
	return &Splitter{params: p, scan: g.scan}, nil
}

// Params are the parameters that the splitter was made with.
func (s *Splitter) Params() Params { return s.params }

// Next gives the length of the first chunk of data. With end, data is all that
// is left of the file, and the result is 0 only for empty data. Without it, 0
// says that there is no boundary yet: call again with more behind the same
// bytes. That never happens when data has Max bytes or more, and bytes beyond
// the first Max are not looked at.
func (s *Splitter) Next(data []byte, end bool) int { return s.NextAfter(data, 0, end) }

// NextAfter is Next for data whose first known bytes have already been looked
// at: an earlier call with data[:known] gave 0. The result is the same as that
// of Next; only the work is less.
func (s *Splitter) NextAfter(data []byte, known int, end bool) int {
	if len(data) >= s.params.Max {
		data, end = data[:s.params.Max], true
	}
	if len(data) >= s.params.Min {
		if n := s.scan(data, known); n > 0 {
			return n
		}
	}
	if end {
		return len(data)
	}
	return 0
}

package page

import (
	"context"
	"encoding/hex"
	"errors"
	"testing"

	"bkfs/archive/chunk"
)

// onePage is a Source that has the same page for every id.
type onePage []byte

func (p onePage) Page(context.Context, chunk.ID) ([]byte, error) { return p, nil }

// The format doesn't change: these bytes, and these page boundaries.
func TestGolden(t *testing.T) {
	m := newMemory()
	root, err := Apply(t.Context(), m, m, Root{}, []Edit{
		{Key: []byte("a"), Value: []byte("one")},
		{Key: []byte("bc")},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = "01000000" + "00000002" + "00000010" + "00000016" + "0001" + "61" + "6f6e65" + "0002" + "6263"
	if got := hex.EncodeToString(m.pages[root.ID]); got != want {
		t.Errorf("page %s, want %s", got, want)
	}
	if root, err = Apply(t.Context(), m, m, Root{}, numbered(50000)); err != nil {
		t.Fatal(err)
	}
	const wantRoot = "10e21699a75b7eebad9351970ba0da198c44179ef8740720924903371495dd37"
	if got := root.ID.String(); got != wantRoot || root.Height != 2 || root.Count != 50000 {
		t.Errorf("root %s, height %d, count %d; want %s, 2, 50000", got, root.Height, root.Count, wantRoot)
	}
}

func TestDamagedPage(t *testing.T) {
	leaf := func(s string) []byte {
		b, err := hex.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	tests := []struct {
		class  string
		height uint8
		page   []byte
	}{
		{"empty", 1, nil},
		{"cut off in the table", 1, leaf("0100000000000002" + "00000010")},
		{"unknown version", 1, leaf("0200000000000001" + "0000000c" + "000161")},
		{"reserved bytes set", 1, leaf("0100010000000001" + "0000000c" + "000161")},
		{"no entries", 1, leaf("0100000000000000" + "0000000c" + "000161")},
		{"more entries than bytes", 1, leaf("01000000ffffffff" + "0000000c" + "000161")},
		{"entries in the table", 1, leaf("0100000000000001" + "00000008" + "000161")},
		{"entry beyond the end", 1, leaf("0100000000000002" + "00000010" + "00000030" + "000161" + "000162")},
		{"entry before the one before", 1, leaf("0100000000000002" + "00000010" + "0000000f" + "000161" + "000162")},
		{"key beyond the entry", 1, leaf("0100000000000001" + "0000000c" + "000961")},
		{"leaf where none belongs", 2, leaf("0100000000000001" + "0000000c" + "000161")},
		{"child without an id", 2, leaf("0101000000000001" + "0000000c" + "000161")},
		{"child that is its own parent", 3, leaf("0102000000000001" + "0000000c" + "000161" + "0000000000000000000000000000000000000000000000000000000000000000")},
		{"too high", 200, leaf("01c7000000000001" + "0000000c" + "000161")},
	}
	for _, tt := range tests {
		r := Root{Height: tt.height, Count: 1}
		if _, _, err := Get(t.Context(), onePage(tt.page), r, []byte("a")); !errors.Is(err, ErrDamaged) {
			t.Errorf("get, %s: %v, want ErrDamaged", tt.class, err)
		}
		all := func([]byte, []byte) (bool, error) { return true, nil }
		if err := Scan(t.Context(), onePage(tt.page), r, nil, all); !errors.Is(err, ErrDamaged) {
			t.Errorf("scan, %s: %v, want ErrDamaged", tt.class, err)
		}
		edits := []Edit{{Key: []byte("a"), Value: []byte("b")}}
		if _, err := Apply(t.Context(), onePage(tt.page), newMemory(), r, edits); !errors.Is(err, ErrDamaged) {
			t.Errorf("apply, %s: %v, want ErrDamaged", tt.class, err)
		}
	}
}

func FuzzPage(f *testing.F) {
	m := newMemory()
	root, err := Apply(f.Context(), m, m, Root{}, numbered(20))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(uint8(1), m.pages[root.ID], number(3))
	f.Add(uint8(2), []byte{version, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 12, 0, 0}, number(3))
	f.Fuzz(func(t *testing.T, height uint8, data, key []byte) {
		r := Root{Height: height, Count: 1}
		Get(t.Context(), onePage(data), r, key)
		n := 0
		Scan(t.Context(), onePage(data), r, key, func(k, v []byte) (bool, error) {
			n++
			return n < 1000, nil
		})
		Pages(t.Context(), onePage(data), r, func(chunk.ID, bool) (bool, error) {
			n++
			return n < 2000, nil
		})
		if len(key) <= MaxKey {
			Apply(t.Context(), onePage(data), newMemory(), r, []Edit{{Key: key, Value: key}})
		}
	})
}

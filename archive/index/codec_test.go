package index

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"bkfs/archive/pack"
	"bkfs/archive/seal"
)

var comparePlaces = cmp.AllowUnexported(place{})

func TestPlacesGolden(t *testing.T) {
	one := "0102030405060708" + "00000010" + "00000020" + "00000003" + "00000000" + "00000040"
	two := "fffffffffffffff0" + "ffffffff" + "00000001" + "00000002" + "00000003" + "00000004"
	p1 := place{0x0102030405060708, 16, 32, 3, 0, 64}
	p2 := place{0xfffffffffffffff0, math.MaxUint32, 1, 2, 3, 4}
	tests := []struct {
		class, hex string
		want       []place
	}{
		{"one place", one, []place{p1}},
		{"two, newest first", two + one, []place{p2, p1}},
		{"as many as may be", strings.Repeat(one, maxPlaces), []place{p1, p1, p1, p1}},
		{"none", "", nil},
		{"too many", strings.Repeat(one, maxPlaces+1), nil},
		{"short by a byte", one[2:], nil},
		{"long by a byte", one + "00", nil},
	}
	for _, tt := range tests {
		t.Run(tt.class, func(t *testing.T) {
			b, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parsePlaces(b)
			if tt.want == nil {
				if !errors.Is(err, errMalformed) {
					t.Fatalf("parsePlaces = %v, %v, want errMalformed", got, err)
				}
				return
			}
			if diff := cmp.Diff(tt.want, got, comparePlaces); err != nil || diff != "" {
				t.Errorf("parsePlaces: %v (-want +got):\n%s", err, diff)
			}
			if again := hex.EncodeToString(appendPlaces(nil, tt.want)); again != tt.hex {
				t.Errorf("appendPlaces = %s, want %s", again, tt.hex)
			}
		})
	}
}

func TestMarkerGolden(t *testing.T) {
	id := pack.ID{9}
	tests := []struct {
		class, hex string
		want       *Pack
	}{
		{"data pack", "01" + "0000000001000000" + "00000042", &Pack{ID: id, Kind: pack.KindData, Size: 1 << 24, Chunks: 66}},
		{"kind to come", "07" + "0000000000000001" + "00000000", &Pack{ID: id, Kind: 7, Size: 1}},
		{"negative size", "01" + "8000000000000000" + "00000000", nil},
		{"empty", "", nil},
		{"short by a byte", "01" + "0000000001000000" + "000042", nil},
		{"long by a byte", "01" + "0000000001000000" + "0000004200", nil},
	}
	for _, tt := range tests {
		t.Run(tt.class, func(t *testing.T) {
			b, err := hex.DecodeString(tt.hex)
			if err != nil {
				t.Fatal(err)
			}
			got, err := parseMarker(id, b)
			if tt.want == nil {
				if !errors.Is(err, errMalformed) {
					t.Fatalf("parseMarker = %+v, %v, want errMalformed", got, err)
				}
				return
			}
			if err != nil || got != *tt.want {
				t.Errorf("parseMarker = %+v, %v, want %+v", got, err, *tt.want)
			}
			if again := hex.EncodeToString(appendMarker(nil, got)); again != tt.hex {
				t.Errorf("appendMarker = %s, want %s", again, tt.hex)
			}
		})
	}
}

func TestInstance(t *testing.T) {
	keys := testKeys(t, 1)
	id := [32]byte{1, 2, 3}
	o, err := keys.Object(seal.PurposeIndex, id)
	if err != nil {
		t.Fatal(err)
	}
	good := appendInstance(nil, id, o)
	change := func(i int) []byte { b := append([]byte(nil), good...); b[i] ^= 1; return b }
	tests := []struct {
		class string
		b     []byte
		keys  *seal.Keys
		want  error
	}{
		{"as written", good, keys, nil},
		{"another repository's key", good, testKeys(t, 2), seal.ErrAuth},
		{"other id", change(len(instanceMagic)), keys, seal.ErrAuth},
		{"other commitment", change(len(good) - 1), keys, seal.ErrAuth},
		{"newer format", change(len(instanceMagic) - 1), keys, errMalformed},
		{"empty", nil, keys, errMalformed},
		{"short by a byte", good[:len(good)-1], keys, errMalformed},
		{"long by a byte", append(append([]byte(nil), good...), 0), keys, errMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.class, func(t *testing.T) {
			if _, err := parseInstance(tt.b, tt.keys); !errors.Is(err, tt.want) {
				t.Errorf("parseInstance: %v, want %v", err, tt.want)
			}
		})
	}
}

func TestAddPlace(t *testing.T) {
	p := func(n number, offset uint32) place { return place{pack: n, offset: offset} }
	tests := []struct {
		class  string
		places []place
		add    place
		want   []place
	}{
		{"first", nil, p(1, 0), []place{p(1, 0)}},
		{"newest first", []place{p(1, 0)}, p(2, 0), []place{p(2, 0), p(1, 0)}},
		{"same pack again", []place{p(2, 0), p(1, 0)}, p(1, 5), []place{p(1, 5), p(2, 0)}},
		{"full", []place{p(4, 0), p(3, 0), p(2, 0), p(1, 0)}, p(5, 0), []place{p(5, 0), p(4, 0), p(3, 0), p(2, 0)}},
	}
	for _, tt := range tests {
		t.Run(tt.class, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, addPlace(tt.places, tt.add), comparePlaces); diff != "" {
				t.Errorf("addPlace (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzPlaces(f *testing.F) {
	f.Add(appendPlaces(nil, []place{{1, 2, 3, 4, 5, 6}}))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		places, err := parsePlaces(b)
		if err == nil && string(appendPlaces(nil, places)) != string(b) {
			t.Errorf("%x parses to %+v", b, places)
		}
	})
}

func FuzzMarker(f *testing.F) {
	f.Add(appendMarker(nil, Pack{Kind: 1, Size: 2, Chunks: 3}))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := parseMarker(pack.ID{}, b)
		if err == nil && string(appendMarker(nil, p)) != string(b) {
			t.Errorf("%x parses to %+v", b, p)
		}
	})
}

func FuzzInstance(f *testing.F) {
	keys := testKeys(f, 1)
	o, err := keys.Object(seal.PurposeIndex, [32]byte{})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(appendInstance(nil, [32]byte{}, o))
	f.Add([]byte(instanceMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if o, err := parseInstance(b, keys); err == nil {
			if id := [32]byte(b[len(instanceMagic):]); string(appendInstance(nil, id, o)) != string(b) {
				t.Errorf("%x is accepted", b)
			}
		}
	})
}

// FuzzTable holds checkTable against real tables and their neighbours.
func FuzzTable(f *testing.F) {
	fix := newFixture(f)
	x := fix.open()
	fix.add(x, 0, 1, 2, 3)
	fix.close(x)
	table, err := os.ReadFile(filepath.Join(fix.dir, "000001.sst"))
	if err != nil {
		f.Fatal(err)
	}
	if err := checkTable(bytes.NewReader(table), int64(len(table)), true); err != nil {
		f.Fatalf("a whole table: %v", err)
	}
	f.Add(table)
	f.Add(table[:len(table)/2])
	f.Add([]byte("\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := guard(func() error { return checkTable(bytes.NewReader(b), int64(len(b)), true) })
		if err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("checkTable: %v, want ErrDamaged", err)
		}
	})
}

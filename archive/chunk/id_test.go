package chunk

import (
	"strings"
	"testing"
)

func TestIDText(t *testing.T) {
	id := ID{0xab, 0x01, 31: 0xff}
	const want = "ab010000000000000000000000000000000000000000000000000000000000ff"
	text, err := id.MarshalText()
	if err != nil || string(text) != want || id.String() != want {
		t.Fatalf("MarshalText = %s, %v; String = %s; want %s", text, err, id, want)
	}
	tests := []struct {
		name, text string
		ok         bool
	}{
		{"as written", want, true},
		{"capitals", strings.ToUpper(want), true},
		{"empty", "", false},
		{"too short", want[2:], false},
		{"too long", want + "00", false},
		{"odd", want[1:], false},
		{"not hexadecimal", "g" + want[1:], false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got ID
			err := got.UnmarshalText([]byte(tt.text))
			if (err == nil) != tt.ok {
				t.Fatalf("UnmarshalText(%q): %v, want success %t", tt.text, err, tt.ok)
			}
			if tt.ok && got != id {
				t.Errorf("UnmarshalText(%q) = %s", tt.text, got)
			}
			if !tt.ok && !got.IsZero() {
				t.Errorf("a failed parse changed the id to %s", got)
			}
		})
	}
}

func TestIDCompare(t *testing.T) {
	a, b := ID{1}, ID{1, 31: 1}
	if a.Compare(b) != -1 || b.Compare(a) != 1 || a.Compare(a) != 0 {
		t.Errorf("Compare = %d, %d, %d, want -1, 1, 0", a.Compare(b), b.Compare(a), a.Compare(a))
	}
}

func FuzzIDText(f *testing.F) {
	f.Add([]byte(ID{1, 2, 3}.String()))
	f.Add([]byte("zz"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var id ID
		if id.UnmarshalText(text) == nil && !strings.EqualFold(id.String(), string(text)) {
			t.Errorf("%q parses to %s", text, id)
		}
	})
}

package hardware

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSpec(t *testing.T) {
	for _, test := range []struct {
		in   []string
		want string
	}{
		{[]string{"none"}, "none"},
		{[]string{"auto"}, "auto"},
		{[]string{"/dev/hidraw0"}, "/dev/hidraw0"},
		{[]string{"./link"}, "./link"},
		{[]string{"none/"}, "./none"},
		{[]string{"soft:a/b"}, "soft:a/b"},
		{[]string{"soft:a,soft:b", "auto"}, "soft:a,soft:b,auto"},
		{[]string{"auto,auto", "/dev//x,/dev/x"}, "auto,/dev/x"},
	} {
		got, err := ParseSpec(test.in...)
		if err != nil || got.String() != test.want {
			t.Errorf("ParseSpec(%q): got %v, %v, want %s", test.in, got, err, test.want)
		}
	}
	for _, bad := range [][]string{nil, {""}, {"hidraw0"}, {"Auto"}, {"soft:"}, {"none,auto"}, {"none", "/dev/x"}, {"auto,"}} {
		if got, err := ParseSpec(bad...); !errors.Is(err, ErrSpec) {
			t.Errorf("ParseSpec(%q): got %v, %v, want ErrSpec", bad, got, err)
		}
	}
}

func FuzzParseSpec(f *testing.F) {
	f.Add("auto,/dev/x,soft:y")
	f.Add("none")
	f.Add("0/")
	f.Fuzz(func(t *testing.T, text string) {
		spec, err := ParseSpec(text)
		if err != nil {
			return
		}
		again, err := ParseSpec(spec.String())
		if err != nil {
			t.Fatalf("%q gave %q, which is no spec: %v", text, spec, err)
		}
		if d := cmp.Diff(spec, again); d != "" {
			t.Fatalf("%q: %s", text, d)
		}
	})
}

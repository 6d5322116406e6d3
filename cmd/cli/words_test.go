package cli

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitWords(t *testing.T) {
	tests := []struct {
		class, in string
		want      []string
		err       error
	}{
		{"plain", "pass show bkfs", []string{"pass", "show", "bkfs"}, nil},
		{"blanks around", "  pass\tshow\n", []string{"pass", "show"}, nil},
		{"single quotes", `cat '/my disk/pass "x" \n'`, []string{"cat", `/my disk/pass "x" \n`}, nil},
		{"double quotes", `cat "/my disk/\"a\" \n \\ \$x"`, []string{"cat", `/my disk/"a" \n \ $x`}, nil},
		{"backslash", `cat /my\ disk/a\'b`, []string{"cat", `/my disk/a'b`}, nil},
		{"quotes in a word", `a"b c"'d e'f`, []string{"ab cd ef"}, nil},
		{"empty words", `a "" ''`, []string{"a", "", ""}, nil},
		{"no operators", `a|b; c > d $HOME`, []string{"a|b;", "c", ">", "d", "$HOME"}, nil},
		{"continued line", "a \\\n b\\\nc", []string{"a", "bc"}, nil},
		{"empty", "", nil, errEmpty},
		{"blank", "  ", nil, errEmpty},
		{"open single", "a 'b", nil, errQuote},
		{"open double", `a "b`, nil, errQuote},
		{"open double with escape", `a "b\"`, nil, errQuote},
		{"ends with backslash", `a \`, nil, errEscape},
	}
	for _, tt := range tests {
		t.Run(tt.class, func(t *testing.T) {
			got, err := splitWords(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("splitWords(%q): got error %v, want %v", tt.in, err, tt.err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("splitWords(%q) (-want +got):\n%s", tt.in, d)
			}
		})
	}
}

func FuzzSplitWords(f *testing.F) {
	for _, s := range []string{`a "b" 'c' \d`, `"`, `\`, ``} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		words, err := splitWords(s)
		if err == nil && len(words) == 0 {
			t.Errorf("splitWords(%q): neither words nor an error", s)
		}
		n := 0
		for _, w := range words {
			n += len(w)
		}
		if n > len(s) {
			t.Errorf("splitWords(%q): %d bytes out of %d", s, n, len(s))
		}
	})
}

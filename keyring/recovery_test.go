package keyring

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestGoldenRecovery(t *testing.T) {
	v := readVectors(t)
	for _, w := range v.Texts {
		want := key(t, w.Key)
		if got := FormatRecovery(want); got != w.Text {
			t.Errorf("got %s, want %s", got, w.Text)
		}
		g := strings.Split(w.Text, "-")
		for name, text := range map[string]string{
			"as shown":         w.Text,
			"lower case":       strings.ToLower(w.Text),
			"no separators":    strings.Join(g, ""),
			"spaces and lines": "\n  " + strings.Join(g[:6], " ") + "\r\n\t" + strings.Join(g[6:], "  ") + " \n",
			"typeset dashes":   strings.ReplaceAll(w.Text, "-", " – "),
			"other groups":     strings.Join(g, "")[:33] + " " + strings.Join(g, "")[33:],
			"confusables":      strings.NewReplacer("0", "O", "1", "l", "V", "u").Replace(w.Text),
			"more confusables": strings.NewReplacer("0", "o", "1", "I", "V", "U").Replace(w.Text),
		} {
			got, err := ParseRecovery([]byte(text))
			if err != nil || !got.Equal(want) {
				t.Errorf("%s: %s: got %v", name, text, err)
			}
			got.Destroy()
		}
	}
}

// Every mistyped character, swap within a group and swap of groups is found,
// and its group named.
func TestRecoveryFindsTypos(t *testing.T) {
	text := strings.ReplaceAll(readVectors(t).Texts[3].Text, "-", "")
	refuse := func(what, text string, group int) {
		t.Helper()
		k, err := ParseRecovery([]byte(text))
		k.Destroy()
		var r *RecoveryError
		if !errors.As(err, &r) || r.Group != group {
			t.Errorf("%s: got %v, want an error in group %d", what, err, group)
		}
	}
	for i := range text {
		for _, c := range alphabet + "!é" {
			if byte(c) != text[i] {
				refuse("substitution", text[:i]+string(c)+text[i+1:], i/groupSize+1)
			}
		}
		for j := i + 1; j < len(text) && j/groupSize == i/groupSize; j++ {
			if text[i] != text[j] {
				b := []byte(text)
				b[i], b[j] = b[j], b[i]
				refuse("swap", string(b), i/groupSize+1)
			}
		}
	}
	for i := range groups {
		for j := i + 1; j < groups; j++ {
			g := strings.Split(readVectors(t).Texts[3].Text, "-")
			g[i], g[j] = g[j], g[i]
			refuse("swapped groups", strings.Join(g, " "), i+1)
		}
	}
}

func TestRecoveryRefuses(t *testing.T) {
	v := readVectors(t)
	good := v.Texts[3].Text
	g := strings.Split(good, "-")
	with := func(i int, s string) string {
		h := append([]string(nil), g...)
		h[i] = s
		return strings.Join(h, "-")
	}
	last := g[12][:3] + "1" // padding bits set, with the check character that fits
	var values []byte
	for _, c := range last {
		values = append(values, value(c))
	}
	last += string(alphabet[checkCharacter(12, values)])
	for _, c := range []struct{ name, text, want string }{
		{"empty", "", "recovery key: has 0 characters instead of 65"},
		{"only separators", " - - ", "recovery key: has 0 characters instead of 65"},
		{"group missing", strings.Join(g[1:], "-"), "recovery key: has 60 characters instead of 65"},
		{"group twice", good + "-" + g[12], "recovery key: has 70 characters instead of 65"},
		{"short group", with(4, g[4][1:]), "recovery key: group 5 of 13 has 4 characters instead of 5"},
		{"long group", with(12, g[12]+"0"), "recovery key: group 13 of 13 has 6 characters instead of 5"},
		{"mistyped", with(0, "00000"), "recovery key: group 1 of 13 is mistyped"},
		{"strange character", with(6, g[6][:2]+"*"+g[6][3:]), "recovery key: group 7 of 13 has a character that is never used, at place 3"},
		{"broken UTF-8", with(6, g[6][:4]+"\xff"), "recovery key: group 7 of 13 has a character that is never used, at place 5"},
		{"padding", with(12, last), "recovery key: group 13 of 13 is mistyped"},
		{"a passphrase", "correct horse battery staple", "recovery key: has 25 characters instead of 65"},
		{"a novel", strings.Repeat("x ", maxRecoveryText), "recovery key: far too long"},
	} {
		k, err := ParseRecovery([]byte(c.text))
		if k.Destroy(); fmt.Sprint(err) != c.want {
			t.Errorf("%s: got %v, want %s", c.name, err, c.want)
		}
	}
}

func FuzzParseRecovery(f *testing.F) {
	for _, w := range readVectors(f).Texts {
		f.Add([]byte(w.Text))
		f.Add([]byte(strings.ToLower(w.Text)))
	}
	f.Add([]byte("00000\xff"))
	f.Fuzz(func(t *testing.T, text []byte) {
		before := string(text)
		k, err := ParseRecovery(text)
		if string(text) != before {
			t.Error("ParseRecovery changed its input")
		}
		if err != nil {
			var r *RecoveryError
			if !errors.As(err, &r) {
				t.Errorf("got %v, want a *RecoveryError", err)
			}
			return
		}
		defer k.Destroy()
		again, err := ParseRecovery([]byte(FormatRecovery(k)))
		if err != nil || !again.Equal(k) {
			t.Errorf("%q: formatted and parsed again: %v", text, err)
		}
		again.Destroy()
	})
}

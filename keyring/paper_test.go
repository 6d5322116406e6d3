package keyring

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func paperVector(n int) []byte {
	data := make([]byte, n)
	for i := range data {
		data[i] = byte(7*i + i/25)
	}
	return data
}

// The lines were made by another implementation, from FORMAT.md: see testdata/paper.py.
func TestPaperVector(t *testing.T) {
	want := []string{
		"01: 003GW 58W4C N32E1 Z8S6N 8PV2D 5R7EZ M5HJ9 SN8D8  KGEW04",
		"02: P2VVX HECTF DE3T7 FYVYG 82RJ3 4G2EB HN7H1 MMMAR  RR92EP",
		"03: C1KPW XBWGE 59364 Z0000 00000 00000 00000 00000  4WCKE7",
		"END: 00YA5 DQWZ7 FHN1G ST1R0 KVJ5X FX05K R06E7 4HVJB  JTXKKJ",
	}
	got, err := FormatPaper(paperVector(60))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func readPaper(text string) ([]byte, []error) {
	var p Paper
	if errs := p.Read(text); errs != nil {
		return nil, errs
	}
	data, err := p.Data()
	if err != nil {
		return nil, []error{err}
	}
	return data, nil
}

func mustPaper(t testing.TB, data []byte) []string {
	t.Helper()
	lines, err := FormatPaper(data)
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

func TestPaperRoundTrip(t *testing.T) {
	for _, n := range []int{1, 24, 25, 26, 600, 2475, 2500, MaxPaper} {
		data := paperVector(n)
		got, errs := readPaper(strings.Join(mustPaper(t, data), "\n"))
		if errs != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %v", n, errs)
		}
	}
	for _, n := range []int{0, MaxPaper + 1} {
		if _, err := FormatPaper(make([]byte, n)); err == nil {
			t.Errorf("%d bytes are taken", n)
		}
	}
}

// However a person types it, or a QR code gives it back.
func TestPaperTolerance(t *testing.T) {
	data := paperVector(130)
	lines := mustPaper(t, data)
	whole := strings.Join(lines, "\n")
	confused := strings.NewReplacer("0", "o", "1", "l", "V", "u")
	turned := slices.Clone(lines)
	slices.Reverse(turned)
	tests := map[string]string{
		"as printed":       whole,
		"lower case":       strings.ToLower(whole),
		"confusables":      confused.Replace(whole),
		"no spaces":        strings.ReplaceAll(whole, " ", ""),
		"no colons":        strings.ReplaceAll(whole, ":", ""),
		"neither":          strings.NewReplacer(":", "", " ", "").Replace(whole),
		"hyphens":          strings.ReplaceAll(strings.ReplaceAll(whole, ": ", ":"), " ", "-"),
		"one line":         strings.Join(lines, " "),
		"other line ends":  strings.ReplaceAll(whole, "\n", "\r\n\r\n"),
		"another order":    strings.Join(turned, "\n"),
		"twice":            whole + "\n" + whole,
		"numbers unpadded": strings.ReplaceAll("\n"+whole, "\n0", "\n"),
		"as a sheet":       "Made: 12:30\n07: nonsense\n" + PaperBegin + "\n" + whole + "\n" + PaperEnd + "\n08: nonsense",
	}
	for name, text := range tests {
		got, errs := readPaper(text)
		if errs != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %v", name, errs)
		}
	}
}

// Every single wrong character of a line is found, and put right by the advice.
func TestPaperSingleErrors(t *testing.T) {
	line := mustPaper(t, paperVector(60))[1]
	for i := range line {
		if i < 3 || line[i] == ' ' {
			continue
		}
		for _, c := range alphabet {
			if byte(c) == line[i] {
				continue
			}
			var p Paper
			wrong := line[:i] + string(c) + line[i+1:]
			var told *PaperError
			if err := p.Line(wrong, 0); !errors.As(err, &told) || told.Line != "02" || !strings.Contains(told.Reason, "probably") {
				t.Fatalf("%q for %q: got %v", wrong, line, err)
			}
			at := strings.LastIndexByte(line[:i], ' ') + 1
			group := strings.Fields(line[at:])[0]
			if !strings.Contains(told.Reason, "probably "+group+",") {
				t.Fatalf("%q for %q: bad advice %q, want %s", wrong, line, told.Reason, group)
			}
		}
	}
	for n := 1; n <= MaxPaperLines; n++ { // another number
		var p Paper
		if err := p.Line(fmt.Sprintf("%d:%s", n, line[3:]), 0); (err == nil) != (n == 2) {
			t.Fatalf("line 2 as line %d: got %v", n, err)
		}
	}
}

// The distance is 5: the syndromes of any two wrong characters differ from those
// of any other two, so up to four are found.
func TestPaperDistance(t *testing.T) {
	zero := paperChecksum(0, make([]byte, paperData))
	var single []uint32
	for place := range 2 + paperChars {
		for v := uint32(1); v < 32; v++ {
			switch data := make([]byte, paperData); {
			case place == 0:
				single = append(single, paperChecksum(int(v)<<5, data)^zero)
			case place == 1:
				single = append(single, paperChecksum(int(v), data)^zero)
			case place < 2+paperData:
				data[place-2] = byte(v)
				single = append(single, paperChecksum(0, data)^zero)
			default:
				single = append(single, v<<(5*(place-2-paperData)))
			}
		}
	}
	seen := map[uint32]bool{0: true}
	add := func(s uint32) {
		if seen[s] {
			t.Fatalf("the syndrome %08x is there twice", s)
		}
		seen[s] = true
	}
	for i, a := range single {
		add(a)
		for j := i/31*31 + 31; j < len(single); j++ {
			add(a ^ single[j])
		}
	}
}

func TestPaperWrong(t *testing.T) {
	lines := mustPaper(t, paperVector(130))
	other := mustPaper(t, bytes.Repeat([]byte{9}, 130))
	change := func(n int, old, new string) string {
		l := slices.Clone(lines)
		if !strings.Contains(l[n], old) {
			t.Fatalf("no %q in %q", old, l[n])
		}
		l[n] = strings.Replace(l[n], old, new, 1)
		return strings.Join(l, "\n")
	}
	group := func(n, g int) string { return strings.Fields(lines[n])[g] }
	swap := func(s string) string {
		b := []byte(s)
		for i := range len(b) - 1 {
			if b[i] != b[i+1] {
				b[i], b[i+1] = b[i+1], b[i]
				break
			}
		}
		return string(b)
	}
	tests := []struct {
		name, text string
		want       []string
	}{
		{"two lines", strings.Replace(change(1, group(1, 2), swap(group(1, 2))), group(4, 3), "!"+group(4, 3)[1:], 1),
			[]string{"line 02 is mistyped: two neighbours are swapped in group 2: probably " + group(1, 2),
				"line 05 has a character that is never used, in group 3"}},
		{"a short group", change(2, group(2, 4), group(2, 4)[1:]), []string{"line 03 has 4 characters instead of 5 in group 4"}},
		{"a short line", strings.ReplaceAll(change(2, group(2, 4), ""), ":", ""), []string{"line 03 has 41 characters instead of 46"}},
		{"another number", change(2, "03:", "13:"), []string{"line 13 is mistyped: it is line 03"}},
		{"no number", change(2, "03:", ""), []string{`"` + lines[2][4:] + `" isn't a line of a sheet: it has no number`}},
		{"a missing line", strings.Join(slices.Delete(slices.Clone(lines), 1, 2), "\n"), []string{"line 02 is missing"}},
		{"missing lines", strings.Join(lines[2:5], "\n"), []string{"lines are missing: 01, 02, END"}},
		{"no end", strings.Join(lines[:6], "\n"), []string{"line END is missing"}},
		{"nothing", "", []string{"line END is missing"}},
		{"a line of another sheet", strings.Join(slices.Concat(lines[:2], other[2:3], lines[3:]), "\n"), []string{ErrPaperWhole.Error()}},
		{"both", strings.Join(slices.Concat(lines, other[2:3]), "\n"), []string{"line 03 is there twice, and not the same"}},
		{"a line too many", strings.Join(append(slices.Clone(lines), formatPaperLine(7, [paperBytes]byte{})), "\n"), []string{ErrPaperWhole.Error()}},
		{"an end of nothing", formatPaperLine(endLine, paperSum(nil)), []string{ErrPaperWhole.Error()}},
	}
	for _, tt := range tests {
		_, errs := readPaper(tt.text)
		var got []string
		for _, err := range errs {
			got = append(got, err.Error())
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// On a terminal the number is known.
func TestPaperLineByLine(t *testing.T) {
	data := paperVector(60)
	lines := mustPaper(t, data)
	var p Paper
	for i, l := range lines {
		text := l[strings.Index(l, ":")+1:]
		if err := p.Line(lines[(i+1)%len(lines)], i+1); i+1 < len(lines)-1 && err == nil {
			t.Errorf("line %d is taken for line %d", i+2, i+1)
		}
		if err := p.Line(text, i+1); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	got, err := p.Data()
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %x, %v", got, err)
	}
}

func FuzzPaper(f *testing.F) {
	lines := mustPaper(f, paperVector(60))
	f.Add(strings.Join(lines, "\n"))
	f.Add(strings.Join(lines, " "))
	f.Add(PaperBegin + strings.ToLower(lines[0]) + PaperEnd)
	f.Add("END: 1\n3 x\n:\n٣: ABCDE")
	f.Fuzz(func(t *testing.T, text string) {
		data, errs := readPaper(text)
		if errs != nil {
			return
		}
		// What is taken is what is printed for it.
		again, errs := readPaper(strings.Join(mustPaper(t, data), "\n"))
		if errs != nil || !bytes.Equal(again, data) {
			t.Errorf("%x: %v", data, errs)
		}
	})
}

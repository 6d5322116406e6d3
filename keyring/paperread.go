package keyring

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// maxPaperText bounds what Read looks at: prose and separators included.
const maxPaperText = 1 << 20

// Read takes the lines out of a text: a sheet as it was printed, what a person
// typed, or what QR codes held, in any order. Case, spaces, hyphens and the
// colon don't matter, and I, L, O, U are read as what they look like. It goes on
// behind a wrong line, so that all of them are told at once.
func (p *Paper) Read(text string) []error {
	if len(text) > maxPaperText {
		return []error{&PaperError{"", fmt.Sprintf("the text has over %d bytes", maxPaperText)}}
	}
	var errs []error
	for _, line := range strings.Split(between(text), "\n") {
		for _, record := range paperRecords(line) {
			if err := p.Line(record, 0); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return errs
}

// between cuts to what the marks enclose, if they are there.
func between(text string) string {
	folded := strings.ToLower(text) // of the same length where it matters: the marks are ASCII
	if len(folded) != len(text) {
		return text
	}
	if at := strings.Index(folded, PaperBegin); at >= 0 {
		text, folded = text[at+len(PaperBegin):], folded[at+len(PaperBegin):]
	}
	if at := strings.Index(folded, PaperEnd); at >= 0 {
		text = text[:at]
	}
	return text
}

// paperRecords cuts a line of text where numbers with a colon begin: QR codes
// have several on one.
func paperRecords(line string) (records []string) {
	starts := regexp.MustCompile(`(?i)(?:^|\s)(?:end|[0-9oil]{1,3})\s*:`).FindAllStringIndex(line, -1)
	from := 0
	for _, s := range append(starts, []int{len(line), 0}) {
		if record := strings.TrimSpace(line[from:s[0]]); record != "" {
			records = append(records, record)
		}
		from = s[0]
	}
	return records
}

// Line reads one line. expected is the number it must have, which may then be
// left out (END comes where it likes); 0 when any will do. Errors are *PaperError.
func (p *Paper) Line(text string, expected int) error {
	number, rest, err := splitPaperLine(text, expected)
	if err != nil {
		return err
	}
	values, typed := recoveryValues([]byte(rest))
	name := PaperName(number)
	for i, v := range values {
		if v == invalid {
			return &PaperError{name, fmt.Sprintf("has a character that is never used, in group %d", i/paperGroup+1)}
		}
	}
	if len(values) != paperChars {
		return &PaperError{name, paperLength(typed, len(values))}
	}
	if isPaperLine(number, values) {
		return p.set(number, values)
	}
	if expected != 0 && isPaperLine(endLine, values) { // typed without its name
		return p.set(endLine, values)
	}
	return &PaperError{name, "is mistyped" + paperAdvice(number, values)}
}

// splitPaperLine takes the number off. Without a colon it is what the line has
// too much in front, or its first word.
func splitPaperLine(text string, expected int) (number int, rest string, err error) {
	unknown := &PaperError{"", fmt.Sprintf("%.60q isn't a line of a sheet: it has no number", text)}
	head, rest, colon := strings.Cut(text, ":")
	if !colon {
		head, rest = "", text
		values, _ := recoveryValues([]byte(text))
		fields := strings.Fields(text)
		switch extra := len(values) - paperChars; {
		case extra >= 1 && extra <= 3 && paperNumber(prefix(text, extra)) >= 0:
			head = prefix(text, extra)
			rest = text[len(head):]
		case extra != 0 && len(fields) > 1 && paperNumber(fields[0]) >= 0:
			head = fields[0]
			rest = strings.TrimSpace(text)[len(head):]
		}
	}
	if strings.TrimSpace(head) == "" && expected != 0 {
		return expected, rest, nil
	}
	number = paperNumber(head)
	if number < 0 {
		return 0, rest, unknown
	}
	if expected != 0 && number != expected && number != endLine {
		return 0, rest, &PaperError{PaperName(number), fmt.Sprintf("is not the one that is asked for: line %s", PaperName(expected))}
	}
	return number, rest, nil
}

// prefix is the first n bytes, or fewer.
func prefix(s string, n int) string { return s[:min(n, len(s))] }

// paperNumber reads a line's number; -1 if it isn't one.
func paperNumber(s string) int {
	s = strings.ToUpper(strings.TrimSpace(s))
	if s == endName {
		return endLine
	}
	s = strings.NewReplacer("O", "0", "I", "1", "L", "1").Replace(s)
	n, err := strconv.Atoi(s)
	if err != nil || n < 1 || n > MaxPaperLines || len(s) > 3 || s[0] == '+' {
		return -1
	}
	return n
}

// paperLength says what is too short or too long; which group, if it was typed
// in groups.
func paperLength(typed []int, have int) string {
	const full = paperData/paperGroup + 1
	if len(typed) == full {
		for i, n := range typed {
			want := paperGroup
			if i == full-1 {
				want = paperCheck
			}
			if n != want {
				return fmt.Sprintf("has %d characters instead of %d in group %d", n, want, i+1)
			}
		}
	}
	return fmt.Sprintf("has %d characters instead of %d", have, paperChars)
}

// paperAdvice looks for the one change that makes a line right. The code's
// distance makes one wrong character unambiguous.
func paperAdvice(number int, values []byte) string {
	for i, old := range values {
		try := slices.Clone(values)
		for v := range byte(32) {
			if try[i] = v; v != old && isPaperLine(number, try) {
				return fmt.Sprintf(": probably %s, not %s, in group %d", paperText(try, i), paperText(values, i), paperPlace(i))
			}
		}
	}
	for i := range len(values) - 1 {
		try := slices.Clone(values)
		try[i], try[i+1] = try[i+1], try[i]
		if isPaperLine(number, try) {
			return fmt.Sprintf(": two neighbours are swapped in group %d: probably %s", paperPlace(i), paperText(try, i))
		}
	}
	for n := range MaxPaperLines + 1 {
		if isPaperLine(n, values) {
			return ": it is line " + PaperName(n)
		}
	}
	return ""
}

// paperPlace is the group of a character, from 1.
func paperPlace(i int) int { return min(i/paperGroup, paperData/paperGroup) + 1 }

// paperText is the group that holds a character.
func paperText(values []byte, i int) string {
	from := (paperPlace(i) - 1) * paperGroup
	to := from + paperGroup
	if from == paperData {
		to = paperChars
	}
	var b strings.Builder
	for _, v := range values[from:to] {
		b.WriteByte(alphabet[v])
	}
	return b.String()
}

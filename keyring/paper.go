package keyring

import (
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Paper is how a config stands on a printed sheet: numbered lines of data, and
// a last one, END, that tells how much there is and proves the whole.
//
//	07: 0AM3K R4X2C … 9TQ0V  7N2KQ4
//
// A line has 25 bytes in 40 characters of the recovery key's alphabet, and six
// check characters over them and the line's number: those of bech32 (BIP 173),
// a BCH code of length 89 and distance 5. So up to four wrong characters in a
// line are always found, and where one is wrong it is known which.
const (
	paperBytes = 25 // a line
	paperData  = paperBytes * 8 / 5
	paperCheck = 6
	paperChars = paperData + paperCheck
	paperGroup = 5

	// MaxPaperLines is how many numbered lines a sheet has at most.
	MaxPaperLines = 999
	// MaxPaper is how much data that is, in bytes.
	MaxPaper = MaxPaperLines * paperBytes

	endLine = 0 // the number of END
	endName = "END"

	// PaperBegin and PaperEnd stand around the lines. If a text has them, only
	// what is between them counts.
	PaperBegin = "----- begin bkfs config -----"
	PaperEnd   = "----- end bkfs config -----"
)

// FormatPaper writes data as lines, without line breaks.
func FormatPaper(data []byte) ([]string, error) {
	if len(data) == 0 || len(data) > MaxPaper {
		return nil, fmt.Errorf("%d bytes on paper: want 1 to %d", len(data), MaxPaper)
	}
	var lines []string
	for n := 1; (n-1)*paperBytes < len(data); n++ {
		var piece [paperBytes]byte
		copy(piece[:], data[(n-1)*paperBytes:])
		lines = append(lines, formatPaperLine(n, piece))
	}
	return append(lines, formatPaperLine(endLine, paperSum(data))), nil
}

// paperSum is what END holds: the length and the beginning of a digest.
func paperSum(data []byte) (end [paperBytes]byte) {
	binary.BigEndian.PutUint16(end[:], uint16(len(data)))
	sum := sha256.Sum256(data)
	copy(end[2:], sum[:])
	return end
}

func formatPaperLine(number int, piece [paperBytes]byte) string {
	text := base32.NewEncoding(alphabet).EncodeToString(piece[:])
	values := make([]byte, 0, paperChars)
	for _, c := range text {
		values = append(values, value(c))
	}
	check := paperChecksum(number, values)
	var b strings.Builder
	fmt.Fprintf(&b, "%s:", PaperName(number))
	for i := 0; i < paperData; i += paperGroup {
		b.WriteString(" " + text[i:i+paperGroup])
	}
	b.WriteString("  ")
	for i := range paperCheck {
		b.WriteByte(alphabet[check>>(5*(paperCheck-1-i))&31])
	}
	return b.String()
}

// PaperName is how a line's number is printed.
func PaperName(number int) string {
	if number == endLine {
		return endName
	}
	return fmt.Sprintf("%02d", number)
}

// Bech32's generator, and the constant of bech32m (BIP 350), so that all zeros
// aren't a valid line.
const paperConstant = 0x2bc830a3

func paperStep(sum uint32, v byte) uint32 {
	top := sum >> 25
	sum = sum&0x1ffffff<<5 ^ uint32(v)
	for i, g := range [5]uint32{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3} {
		if top>>i&1 == 1 {
			sum ^= g
		}
	}
	return sum
}

// paperChecksum is over the line's number, as two values, and its data.
func paperChecksum(number int, data []byte) uint32 {
	sum := uint32(1)
	sum = paperStep(sum, byte(number>>5))
	sum = paperStep(sum, byte(number&31))
	for _, v := range data {
		sum = paperStep(sum, v)
	}
	for range paperCheck {
		sum = paperStep(sum, 0)
	}
	return sum ^ paperConstant
}

// isPaperLine tells whether the check characters are right.
func isPaperLine(number int, values []byte) bool {
	check := uint32(0)
	for _, v := range values[paperData:] {
		check = check<<5 | uint32(v)
	}
	return paperChecksum(number, values[:paperData]) == check
}

// PaperError tells what is wrong with one line of a sheet.
type PaperError struct {
	Line   string // its number as printed; "" when it isn't known
	Reason string
}

func (e *PaperError) Error() string {
	if e.Line == "" {
		return e.Reason
	}
	return "line " + e.Line + " " + e.Reason
}

// ErrPaperWhole means that each line is right and all together aren't: they are
// of two sheets.
var ErrPaperWhole = errors.New("every line is right by itself, but they aren't of one sheet")

// Paper is a sheet that is being read. The zero value is empty.
type Paper struct {
	lines map[int][paperBytes]byte
}

// set keeps a line; the same again is the same.
func (p *Paper) set(number int, values []byte) error {
	var piece [paperBytes]byte
	bits, have, at := uint(0), 0, 0
	for _, v := range values[:paperData] {
		bits, have = bits<<5|uint(v), have+5
		if have >= 8 {
			have -= 8
			piece[at] = byte(bits >> have)
			at++
		}
	}
	if old, ok := p.lines[number]; ok && old != piece {
		return &PaperError{PaperName(number), "is there twice, and not the same"}
	}
	if p.lines == nil {
		p.lines = map[int][paperBytes]byte{}
	}
	p.lines[number] = piece
	return nil
}

// Missing lists the lines that aren't there yet, in order; END is 0. As long as
// END isn't there it can't be known how many follow the last one.
func (p *Paper) Missing() (numbers []int) {
	last := 0
	for n := range p.lines {
		last = max(last, n)
	}
	end, ok := p.lines[endLine]
	if ok {
		last = (int(binary.BigEndian.Uint16(end[:])) + paperBytes - 1) / paperBytes
	}
	for n := 1; n <= min(last, MaxPaperLines); n++ {
		if _, ok := p.lines[n]; !ok {
			numbers = append(numbers, n)
		}
	}
	if !ok {
		numbers = append(numbers, endLine)
	}
	return numbers
}

// Data is what the sheet holds once no line is missing.
func (p *Paper) Data() ([]byte, error) {
	if missing := p.Missing(); len(missing) > 0 {
		var names []string
		for _, n := range missing {
			names = append(names, PaperName(n))
		}
		if len(names) == 1 {
			return nil, &PaperError{names[0], "is missing"}
		}
		return nil, &PaperError{"", "lines are missing: " + strings.Join(names, ", ")}
	}
	end := p.lines[endLine]
	size := int(binary.BigEndian.Uint16(end[:]))
	if size == 0 || size > MaxPaper || len(p.lines)-1 != (size+paperBytes-1)/paperBytes {
		return nil, ErrPaperWhole
	}
	data := make([]byte, 0, size+paperBytes)
	for n := 1; n < len(p.lines); n++ {
		piece := p.lines[n]
		data = append(data, piece[:]...)
	}
	for _, b := range data[size:] {
		if b != 0 {
			return nil, ErrPaperWhole
		}
	}
	data = data[:size]
	if paperSum(data) != end {
		return nil, ErrPaperWhole
	}
	return data, nil
}

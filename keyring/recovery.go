package keyring

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"bkfs/archive/seal"
)

// A recovery key is 256 random bits. As text it is 13 groups of four data
// characters and a check character, in Crockford's base 32 (no I, L, O, U):
//
//	RF4K7-02XM5-…
//
// The check character is a weighted sum over GF(32) of the group's number and
// characters: it finds every mistyped character, every swap of two characters
// in a group, and every swap of two groups. A QR code carries the same text.
const (
	alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

	groups    = 13
	groupData = 4
	groupSize = groupData + 1
	textSize  = groups * groupSize

	// maxRecoveryText bounds what ParseRecovery looks at, separators included.
	maxRecoveryText = 1024
)

// RecoveryError tells where a recovery key was mistyped, without quoting it.
type RecoveryError struct {
	Group  int // from 1; 0 when it isn't about one group
	Reason string
}

func (e *RecoveryError) Error() string {
	if e.Group == 0 {
		return "recovery key: " + e.Reason
	}
	return fmt.Sprintf("recovery key: group %d of %d %s", e.Group, groups, e.Reason)
}

// NewRecovery returns a random recovery key.
func NewRecovery() (*seal.Key, error) { return seal.NewKey() }

// FormatRecovery writes a key's groups, joined by hyphens.
func FormatRecovery(key *seal.Key) string {
	var padded [seal.KeySize + 1]byte // a zero byte pads 256 bits to 260
	defer seal.Wipe(padded[:])
	if copy(padded[:], key.Bytes()) != seal.KeySize {
		panic("keyring: format a destroyed recovery key")
	}
	text := make([]byte, 0, textSize+groups-1)
	defer seal.Wipe(text)
	bits, have, next := uint(0), 0, 0
	for i := range groups {
		var group [groupData]byte
		for j := range group {
			if have < 5 {
				bits, have = bits<<8|uint(padded[next]), have+8
				next++
			}
			have -= 5
			group[j] = byte(bits >> have & 31)
		}
		if i > 0 {
			text = append(text, '-')
		}
		for _, v := range group {
			text = append(text, alphabet[v])
		}
		text = append(text, alphabet[checkCharacter(i, group[:])])
	}
	return string(text)
}

// ParseRecovery reads what FormatRecovery wrote and a person copied: case,
// spaces, line breaks and hyphens don't matter, and I, L, O, U are read as the
// characters they look like. It leaves text as it is. Its errors about text are
// *RecoveryError.
func ParseRecovery(text []byte) (*seal.Key, error) {
	if len(text) > maxRecoveryText {
		return nil, &RecoveryError{Reason: "far too long"}
	}
	values, typed := recoveryValues(text)
	defer seal.Wipe(values)
	if len(values) != textSize {
		return nil, wrongLength(len(values), typed)
	}
	var key [seal.KeySize]byte
	defer seal.Wipe(key[:])
	bits, have, at := uint(0), 0, 0
	for i := range groups {
		group := values[i*groupSize:][:groupSize]
		if j := slices.Index(group, invalid); j >= 0 {
			return nil, &RecoveryError{i + 1, fmt.Sprintf("has a character that is never used, at place %d", j+1)}
		}
		if checkCharacter(i, group[:groupData]) != group[groupData] {
			return nil, &RecoveryError{i + 1, "is mistyped"}
		}
		for _, v := range group[:groupData] {
			bits, have = bits<<5|uint(v), have+5
			if have >= 8 {
				have -= 8
				key[at] = byte(bits >> have)
				at++
			}
		}
	}
	if bits&(1<<have-1) != 0 { // the padding
		return nil, &RecoveryError{groups, "is mistyped"}
	}
	return seal.KeyFrom(key[:])
}

// recoveryValues gives the value of each character of text that isn't a
// separator, and the length of each run of them.
func recoveryValues(text []byte) (values []byte, typed []int) {
	values = make([]byte, 0, len(text))
	inRun := false
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		if unicode.IsSpace(r) || unicode.Is(unicode.Pd, r) || strings.ContainsRune("_.,:\u2212", r) {
			inRun = false
			continue
		}
		if !inRun {
			typed, inRun = append(typed, 0), true
		}
		values = append(values, value(r))
		typed[len(typed)-1]++
	}
	return values, typed
}

// wrongLength names the group that is too short or too long if the text was
// typed in groups.
func wrongLength(characters int, typed []int) error {
	if len(typed) == groups {
		for i, n := range typed {
			if n != groupSize {
				return &RecoveryError{i + 1, fmt.Sprintf("has %d characters instead of %d", n, groupSize)}
			}
		}
	}
	return &RecoveryError{Reason: fmt.Sprintf("has %d characters instead of %d", characters, textSize)}
}

// invalid is the value of a character outside the alphabet and its confusables.
const invalid = 0xff

func value(r rune) byte {
	switch r = unicode.ToUpper(r); r {
	case 'O':
		r = '0'
	case 'I', 'L':
		r = '1'
	case 'U':
		r = 'V'
	}
	if i := strings.IndexRune(alphabet, r); i >= 0 {
		return byte(i)
	}
	return invalid
}

// checkCharacter is Horner's scheme at 2, the generator of GF(32) with the
// polynomial x^5 + x^2 + 1: the weights are its powers, so all differ.
func checkCharacter(group int, data []byte) byte {
	sum := byte(group + 1)
	for _, v := range data {
		sum = double(sum) ^ v
	}
	return double(sum)
}

func double(v byte) byte {
	v <<= 1
	if v&32 != 0 {
		v ^= 0b100101
	}
	return v
}

package cli

import (
	"errors"
	"strings"
)

var (
	errQuote  = errors.New("a quotation mark isn't closed")
	errEscape = errors.New("it ends with a backslash")
	errEmpty  = errors.New("it is empty")
)

// splitWords cuts a command into its words as a POSIX shell would quote them
// (XCU 2.2): blanks separate, a backslash keeps the next character, single
// quotes keep everything, double quotes keep everything but backslashes before
// $ ` " \ and line breaks. Nothing is expanded, and no operator is special:
// the command runs without a shell.
func splitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t', '\n', '\r':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case '\\':
			if i++; i == len(s) {
				return nil, errEscape
			}
			if s[i] != '\n' { // a continued line
				word.WriteByte(s[i])
				inWord = true
			}
		case '\'':
			end := strings.IndexByte(s[i+1:], '\'')
			if end < 0 {
				return nil, errQuote
			}
			word.WriteString(s[i+1 : i+1+end])
			i += end + 1
			inWord = true
		case '"':
			n, err := doubleQuoted(s[i+1:], &word)
			if err != nil {
				return nil, err
			}
			i += n
			inWord = true
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	if len(words) == 0 {
		return nil, errEmpty
	}
	return words, nil
}

// doubleQuoted copies up to the closing quotation mark and returns how much of
// s that took, the mark included.
func doubleQuoted(s string, word *strings.Builder) (int, error) {
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			return i + 1, nil
		case s[i] == '\\' && i+1 < len(s) && strings.IndexByte("$`\"\\\n", s[i+1]) >= 0:
			i++
			if s[i] != '\n' {
				word.WriteByte(s[i])
			}
		default:
			word.WriteByte(s[i])
		}
	}
	return 0, errQuote
}

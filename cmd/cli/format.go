package cli

import (
	"fmt"
	"strings"

	"github.com/dustin/go-humanize"

	"bkfs/keyring"
)

// size writes a size in binary units.
func size(n uint64) string { return humanize.IBytes(n) }

// join lists words.
func join(words []string) string { return strings.Join(words, ", ") }

// ratio writes a quotient, or a dash when there is none.
func ratio(a, b uint64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

// plural picks the word that goes with a number.
func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// slotTypes lists what opens a repository, each kind once, in the slots' order.
func slotTypes(r *repository) []string {
	ring, err := keyring.Parse(r.config.Slots)
	if err != nil {
		return nil
	}
	var out []string
	seen := map[keyring.Type]bool{}
	for _, e := range ring.Entries() {
		if !seen[e.Type] {
			seen[e.Type] = true
			out = append(out, shown(string(e.Type)))
		}
	}
	return out
}

func count(n int) string { return humanize.Comma(int64(n)) }

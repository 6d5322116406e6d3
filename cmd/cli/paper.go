package cli

import (
	"fmt"
	"os"
	"strings"
	"time"

	"bkfs/archive"
	"bkfs/keyring"
)

// sheet is what is printed: a config, and perhaps a key that opens it.
type sheet struct {
	path     string
	config   *archive.Config
	ring     keyring.Ring
	recovery string // "" for a sheet that opens nothing
	lines    []string
}

func newSheet(path string, config *archive.Config, recovery string) (*sheet, error) {
	ring, err := keyring.Parse(config.Slots)
	if err != nil {
		return nil, fmt.Errorf("read the key slots: %w", err)
	}
	compact, err := config.Compact()
	if err != nil {
		return nil, err
	}
	if len(compact) > keyring.MaxPaper {
		return nil, hint(fmt.Errorf("the config is too long for paper: %d bytes compressed, at most %d", len(compact), keyring.MaxPaper),
			"remove key slots that aren't needed, or `bkfs key export FILE`")
	}
	lines, err := keyring.FormatPaper(compact)
	return &sheet{path, config, ring, recovery, lines}, err
}

// text is the whole sheet, in 80 columns.
func (s *sheet) text() string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p("BKFS KEY SHEET")
	p("")
	p("Repository  %s", s.config.ID)
	p("It was in   %s", shown(s.path))
	p("on host     %s", shown(host))
	p("Made on     %s, of config generation %d", time.Now().UTC().Format(time.DateOnly), s.config.Generation)
	p("")
	p("KEYS THAT OPEN IT")
	p("")
	for _, e := range s.ring.Entries() {
		label := ""
		if e.Label != "" {
			label = "  " + shown(e.Label)
		}
		p("  %-16s  %s%s", shown(string(e.Type)), shown(e.ID), label)
	}
	p("")
	if s.recovery != "" {
		p("%s", recoveryWarning)
		groups := strings.Split(s.recovery, "-")
		for i := 0; i < len(groups); i += 5 {
			p("    %s", strings.Join(groups[i:min(i+5, len(groups))], "-"))
		}
		p("")
		p("It is one key over all these lines. bkfs asks for it, or takes it from\nBKFS_RECOVERY_KEY.")
	} else {
		p("%s", harmless)
	}
	p("")
	p("%s", instructions)
	p("")
	p("%s", keyring.PaperBegin)
	for _, line := range s.lines {
		p("%s", line)
	}
	p("%s", keyring.PaperEnd)
	return b.String()
}

const recoveryWarning = `##############################################################################
##   THIS SHEET OPENS THE REPOSITORY. Whoever has it, or a photograph of it,  ##
##   and the repository's files can read everything. Keep it locked away,     ##
##   and not where the repository is.                                         ##
##############################################################################

Recovery key:
`

const harmless = `This sheet opens nothing by itself: the key slots on it are encrypted, and
opening them takes one of the keys above. Keep it away from the repository all
the same: a weak passphrase can be guessed with it.`

const instructions = `WHAT IT IS FOR

A repository can't be opened without its config: the files "config" and
"config-copy" in its directory. This sheet is a copy of them. It has none of the
data: it helps only where the directories packs, roots and journal are there.

Print another one after changing keys, and destroy this one: keys that were
added since aren't on it, and keys that were removed since are.

HOW TO USE IT

1. Install bkfs.
2. Type the lines between the marks below into a text file, say sheet.txt, or
   put there what the QR codes say. Capitals, spaces and order don't matter.
   Each line has its own check, so that a mistake is found and its line named.
3. Run    bkfs -r DIRECTORY key import sheet.txt
   where DIRECTORY is the repository's. Or run
          bkfs -r DIRECTORY key import --paper
   which asks for one line after the other and checks each at once.
4. It asks for one of the keys above. Then see that all is well:
          bkfs -r DIRECTORY check`

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"bkfs/archive"
	"bkfs/keyring"
)

// maxImport bounds what is read, in bytes.
const maxImport = 5 << 20

func (a *app) keyImportCommand() *cobra.Command {
	var paper, force bool
	cmd := &cobra.Command{
		Use:   "import [FILE]",
		Short: "Put a lost or damaged config back from a copy",
		Long: `Put the config back from what ` + "`bkfs key export`" + ` made: its file, or the text of a
sheet, typed or from QR codes (- is stdin). --paper without FILE asks for the
lines of a sheet one after the other and checks each at once. In a typed sheet
capitals, spaces and order don't matter, and all mistyped lines are named.

The copy is unlocked with a key that it has before anything is written, and it
must be that of the data beside it. A config that is replaced is kept beside the
new one as config.replaced-…. A sound config is only replaced with --force: an
older copy brings back keys that were removed since.`,
		Example: `  bkfs -r /srv/backup.bkfs key import sheet.txt
  bkfs -r /srv/backup.bkfs key import --paper
  bkfs -r /srv/backup.bkfs key import /media/stick/backup.bkfs-config`,
		Args: arguments(0, 1, "[FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			if len(args) == 0 && !paper {
				return hint(errors.New("say where the copy is"), "`bkfs key import FILE`, or --paper to type a sheet")
			}
			path, err := a.repositoryPath()
			if err != nil {
				return err
			}
			st, err := openStore(path)
			if err != nil {
				return err
			}
			var config *archive.Config
			if len(args) == 0 {
				config, err = a.typeSheet(ctx)
			} else {
				config, err = a.readCopy(args[0], paper)
			}
			if err != nil {
				return err
			}
			return a.restore(ctx, &repository{path, st, config}, force)
		},
	}
	cmd.Flags().BoolVar(&paper, "paper", false, "the copy is a sheet; without FILE its lines are asked for")
	cmd.Flags().BoolVar(&force, "force", false, "replace a config that is sound, too; for going back to an older one on purpose")
	return cmd
}

// readCopy reads a file: the config as it was, or the text of a sheet.
func (a *app) readCopy(path string, paper bool) (*archive.Config, error) {
	f := os.Stdin
	if path != "-" {
		var err error
		if f, err = os.Open(path); err != nil {
			return nil, fmt.Errorf("read the copy: %w", err)
		}
		defer f.Close()
	}
	data, err := io.ReadAll(io.LimitReader(f, maxImport+1))
	if err != nil {
		return nil, fmt.Errorf("read the copy: %w", err)
	}
	if len(data) > maxImport {
		return nil, fmt.Errorf("read the copy: it has over %d bytes", maxImport)
	}
	if !paper && bytes.HasPrefix(data, []byte("bkfs repository config\n")) {
		return archive.ParseConfig(data)
	}
	var p keyring.Paper
	if errs := p.Read(string(data)); len(errs) > 0 {
		for _, err := range errs {
			a.term.notice("%v", err)
		}
		return nil, hint(fmt.Errorf("%d %s of the sheet can't be read", len(errs), plural(len(errs), "line", "lines")),
			"correct what is named above, by the sheet, and import again")
	}
	return sheetConfig(&p)
}

func sheetConfig(p *keyring.Paper) (*archive.Config, error) {
	data, err := p.Data()
	if err != nil {
		return nil, hint(fmt.Errorf("read the sheet: %w", err), "a sheet's last line is END; what isn't between its marks doesn't count")
	}
	return archive.ParseConfig(data)
}

// typeSheet asks for the lines of a sheet.
func (a *app) typeSheet(ctx context.Context) (*archive.Config, error) {
	if !a.ask.Available() {
		return nil, hint(errNoTerminal, "put the sheet's lines into a file: `bkfs key import FILE`")
	}
	a.term.notice("Type the sheet's lines. Capitals and spaces don't matter; the last one is END.")
	var p keyring.Paper
	for next := 1; ; {
		text, err := a.ask.Line(ctx, keyring.PaperName(next)+": ")
		if err != nil {
			return nil, err
		}
		if text == "" {
			continue
		}
		if err := p.Line(text, next); err != nil {
			a.term.notice("%v; type it again", err)
			continue
		}
		missing := p.Missing()
		switch {
		case len(missing) == 0:
			return sheetConfig(&p)
		case missing[0] == 0: // what follows the last line isn't known before END
			next++
		default:
			next = missing[0]
		}
	}
}

// restore unlocks the copy and puts it in the config's place.
func (a *app) restore(ctx context.Context, r *repository, force bool) error {
	copied := r.config
	u, err := a.unlock(ctx, r)
	if err != nil {
		return err
	}
	defer u.key.Destroy()
	same := false
	done, err := archive.RestoreConfig(ctx, r.path, r.store, u.key, copied, func(now *archive.Config, _ error) error {
		if now == nil { // lost or damaged
			return nil
		}
		same = bytes.Equal(now.Text(), copied.Text())
		if same || force {
			return nil
		}
		err := fmt.Errorf("the repository's config is sound, of generation %d; the copy is of generation %d", now.Generation, copied.Generation)
		if now.Generation > copied.Generation {
			return hint(err, "nothing has to be put back. --force does all the same: keys that were removed since open it again, and those added since don't")
		}
		return hint(err, "--force puts the copy in its place")
	})
	if err != nil {
		return fmt.Errorf("put the config back: %w", err)
	}
	if err := a.rewindConfig(copied); err != nil {
		a.term.warning(err)
	}
	for _, err := range done.Lost {
		a.term.warn("what was there couldn't be kept: %v", err)
	}
	return a.term.answer(struct {
		Repository string       `json:"repository"`
		ID         string       `json:"id"`
		Generation uint64       `json:"generation"`
		Slots      []slotAnswer `json:"slots"`
		Kept       []string     `json:"kept,omitempty"`
	}{r.path, copied.ID.String(), copied.Generation, slotAnswers(u.ring.Slots()), done.Kept}, func() {
		if same {
			a.term.notice("The config was sound already; both copies of it are written again.")
			return
		}
		a.term.notice("The config of %s is put back, of generation %d. These keys open it:", shown(r.path), copied.Generation)
		for _, e := range u.ring.Entries() {
			a.term.notice("  %s  %s  %s", shown(e.ID), shown(string(e.Type)), name(e.Label))
		}
		a.term.notice("If one of them had been removed, `bkfs key remove` it again.")
		for _, name := range done.Kept {
			a.term.notice("What was there is kept as %s.", name)
		}
	})
}

// rewindConfig makes an older config what this host expects: its user has just
// put it back, and was told.
func (a *app) rewindConfig(c *archive.Config) error {
	return a.remember(c.ID, func(m *memory) string {
		m.ConfigGeneration = c.Generation
		return ""
	})
}

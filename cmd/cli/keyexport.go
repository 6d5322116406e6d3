package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"bkfs/archive"
	"bkfs/keyring"
)

type exportFlags struct {
	paper        bool
	output       string
	qr           []string
	withRecovery bool
	label        string
}

func (a *app) keyExportCommand() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use:   "export [FILE]",
		Short: "Copy the config, to a file or onto paper, for when it is lost",
		Long: `A repository can't be opened without its config, which has the key slots. Export
copies it: to FILE (- is stdout), or with --paper as a sheet to be printed and, if
need be, typed in again: every line has a check of its own. On a terminal, and
with --qr, the same lines come as QR codes. ` + "`bkfs key import`" + ` puts it back.

The copy opens nothing by itself: its key slots are encrypted, and still take a
token, passphrase or recovery key. --with-recovery-key adds one to the sheet:
then the sheet alone opens the repository.

A key that is removed later is still in the copy. Make another one then, and
destroy the old. Export unlocks first, also when the repository is mounted.`,
		Example: `  bkfs key export --paper | lp
  bkfs key export --paper --output sheet.txt --qr sheet.svg
  bkfs key export /media/stick/backup.bkfs-config`,
		Args: arguments(0, 1, "[FILE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			file := ""
			if len(args) == 1 {
				file = args[0]
			}
			if err := f.check(file); err != nil {
				return err
			}
			return a.export(cmd.Context(), &f, file)
		},
	}
	fl := cmd.Flags()
	fl.BoolVar(&f.paper, "paper", false, "make a sheet to be printed")
	fl.StringVar(&f.output, "output", "", "write the sheet to `FILE`, which is new then (mode 0600), instead of stdout")
	fl.StringArrayVar(&f.qr, "qr", nil, "write the sheet's lines as a QR code to `FILE`, PNG or SVG by its name; several codes\nbecome FILE-1, FILE-2 and so on. May be given twice")
	fl.BoolVar(&f.withRecovery, "with-recovery-key", false, "make a new recovery key and print it on the sheet, which opens the repository\nthen: for a safe. The QR codes don't have it")
	fl.StringVar(&f.label, "label", "", "a `NAME` for the slot of that recovery key, such as \"sheet in the safe\"")
	return cmd
}

func (f *exportFlags) check(file string) error {
	switch {
	case file == "" && !f.paper && len(f.qr) == 0:
		return hint(errors.New("say where the config is to be copied to"), "`bkfs key export FILE`, or --paper, or --qr FILE.png")
	case file != "" && f.paper:
		return hint(errors.New("--paper and FILE are two different copies"), "`bkfs key export --paper --output FILE` writes the sheet to a file")
	case f.output != "" && !f.paper:
		return errors.New("--output is for --paper")
	case f.withRecovery && !f.paper:
		return errors.New("--with-recovery-key is for --paper: only a sheet can have a key")
	case f.label != "" && !f.withRecovery:
		return errors.New("--label is for --with-recovery-key")
	}
	for _, path := range f.qr {
		if _, err := qrPicture(path); err != nil {
			return err
		}
	}
	return nil
}

// exportAnswer is the answer in JSON.
type exportAnswer struct {
	Repository  string   `json:"repository"`
	ID          string   `json:"id"`
	Generation  uint64   `json:"generation"`
	Files       []string `json:"files,omitempty"`
	Config      string   `json:"config,omitempty"`
	Lines       []string `json:"lines,omitempty"`
	RecoveryKey string   `json:"recovery_key,omitempty"`
}

func (a *app) export(ctx context.Context, f *exportFlags, file string) error {
	r, err := a.repository(ctx)
	if err != nil {
		return err
	}
	u, err := a.unlock(ctx, r)
	if err != nil {
		return err
	}
	defer u.key.Destroy()
	config, recovery, undo := r.config, "", func() error { return nil }
	if f.withRecovery {
		if config, recovery, undo, err = a.addRecovery(ctx, r, u, f.label); err != nil {
			return err
		}
	}
	answer, text, err := a.exportTo(r, config, recovery, f, file)
	if err != nil {
		return errors.Join(err, undo()) // nobody has its text
	}
	return a.term.answer(answer, func() {
		if text != "" {
			a.term.print("%s", strings.TrimSuffix(text, "\n"))
		}
		if f.paper && f.output == "" {
			a.showQR(answer.Lines)
		}
		for _, name := range answer.Files {
			a.term.notice("Wrote %s.", shown(name))
		}
		if recovery != "" {
			a.term.warn("the sheet opens the repository: whoever has it needs nothing else")
		}
	})
}

// addRecovery gives the repository another recovery key. undo takes it away.
func (a *app) addRecovery(ctx context.Context, r *repository, u *unlocked, label string) (config *archive.Config, text string, undo func() error, err error) {
	m := &maker{app: a, id: r.config.ID, key: u.key, flags: &slotFlags{recovery: true, label: label}}
	slot, text, err := m.newRecovery()
	if err != nil {
		return nil, "", nil, err
	}
	config, err = a.changeSlots(ctx, r, u, func(ring keyring.Ring) (keyring.Ring, error) { return ring.Add(slot) })
	undo = func() error {
		_, err := a.changeSlots(context.WithoutCancel(ctx), r, u, func(ring keyring.Ring) (keyring.Ring, error) {
			return ring.Remove(slot.ID.String())
		})
		return err
	}
	return config, text, undo, err
}

// exportTo writes all files, or none. text is what goes to stdout.
func (a *app) exportTo(r *repository, config *archive.Config, recovery string, f *exportFlags, file string) (answer exportAnswer, text string, err error) {
	answer = exportAnswer{Repository: r.path, ID: config.ID.String(), Generation: config.Generation}
	defer func() {
		if err != nil {
			for _, name := range answer.Files {
				err = errors.Join(err, os.Remove(name))
			}
		}
	}()
	write := func(name string, data []byte) error {
		if err := writeNew(name, data); err != nil {
			return fmt.Errorf("copy the config: %w", err)
		}
		answer.Files = append(answer.Files, name)
		return nil
	}
	if file == "-" {
		text = string(config.Text())
		answer.Config = text
	} else if file != "" {
		if err := write(file, config.Text()); err != nil {
			return answer, "", err
		}
	}
	if !f.paper && len(f.qr) == 0 {
		return answer, text, nil
	}
	s, err := newSheet(r.path, config, recovery)
	if err != nil {
		return answer, "", err
	}
	answer.Lines = s.lines
	switch {
	case f.output != "":
		if err := write(f.output, []byte(s.text())); err != nil {
			return answer, "", err
		}
	case f.paper:
		text, answer.RecoveryKey = s.text(), recovery
	}
	for _, path := range f.qr {
		written, err := qrFiles(path, "bkfs "+config.ID.String(), qrTexts(s.lines, qrLinesPrinted))
		if err != nil {
			return answer, "", err
		}
		answer.Files = append(answer.Files, written...)
	}
	return answer, text, nil
}

// showQR draws the lines on a terminal.
func (a *app) showQR(lines []string) {
	if !a.term.outTTY {
		return
	}
	texts := qrTexts(lines, qrLinesShown)
	for i, text := range texts {
		a.term.print("\nQR code %d of %d", i+1, len(texts))
		a.term.qr(text)
	}
}

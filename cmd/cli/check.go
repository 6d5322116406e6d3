package cli

import (
	"context"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"bkfs/archive"
	"bkfs/cmd/daemon"
)

func (a *app) checkCommand() *cobra.Command {
	var readData bool
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Verify the repository and name what is damaged",
		Long: `Walk all archives and snapshots and verify what they consist of. Damage is listed
by archive, snapshot and path, and the exit code is 15; everything else stays
readable. Nothing is changed. It may run beside a mount.

Without --read-data it reads the structure and looks that the content is there:
quick, for every day. With it every stored byte is read and verified: for a disk
that you have begun to doubt, or once a month.`,
		Example: "  bkfs check\n  bkfs check --read-data --json > report.json",
		Args:    arguments(0, 0, "[--read-data]"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.check(cmd.Context(), readData) },
	}
	cmd.Flags().BoolVar(&readData, "read-data", false, "read and verify every stored byte; takes as long as reading the whole repository")
	return cmd
}

func (a *app) check(ctx context.Context, readData bool) error {
	var report archive.Report
	if err := a.run(ctx, daemon.Request{Op: daemon.OpCheck, ReadData: readData}, &report); err != nil {
		return err
	}
	if err := a.term.answer(report, func() { a.showReport(report, readData) }); err != nil {
		return err
	}
	if n := len(report.Damage); n > 0 {
		return hint(say(archive.ErrDamaged, "the repository is damaged in %s %s", count(n), plural(n, "place", "places")),
			"what isn't listed is whole; copying a damaged file in again heals it")
	}
	return nil
}

func (a *app) showReport(r archive.Report, readData bool) {
	for _, d := range r.Damage {
		a.term.print("%s", shownDamage(d))
	}
	read := "the content wasn't read (--read-data does)"
	if readData {
		read = size(r.Bytes) + " of content read"
	}
	a.term.notice("Checked %s files and directories and %s %s; %s.",
		humanize.Comma(int64(r.Inodes)), count(r.Packs), plural(r.Packs, "pack", "packs"), read)
	if len(r.Damage) == 0 {
		a.term.notice("No damage was found.")
	}
}

// shownDamage is a line such as `documents@before: letters/tax.odt: chunk is
// missing`.
func shownDamage(d archive.Damage) string {
	line := ""
	if d.Archive != "" {
		line = shown(d.Archive)
		if d.Snapshot != "" {
			line += "@" + shown(d.Snapshot)
		}
		line += ": "
	}
	if d.Path != "" {
		line += shown(d.Path) + ": "
	}
	return line + shown(d.What)
}

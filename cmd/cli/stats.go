package cli

import (
	"context"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"bkfs/archive"
	"bkfs/cmd/daemon"
)

func (a *app) statsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stats",
		Short: "Show what the repository holds and what it costs",
		Long: `Show how much the files and snapshots in the repository come to, and how much is
stored for them: what is there twice is stored once, and compressed.

df on the mount shows the free space of the disk the repository is on, du the
files' own sizes; only this shows the real cost.`,
		Example: "  bkfs stats\n  bkfs stats --json | jq .stored",
		Args:    arguments(0, 0, ""),
		RunE:    func(cmd *cobra.Command, _ []string) error { return a.stats(cmd.Context()) },
	}
}

// statsAnswer adds to what is counted what follows from it.
type statsAnswer struct {
	archive.Stats
	Ratio float64 `json:"ratio"` // logical : stored; 0 when nothing is stored
}

func (a *app) stats(ctx context.Context) error {
	var s statsAnswer
	if err := a.run(ctx, daemon.Request{Op: daemon.OpStats}, &s.Stats); err != nil {
		return err
	}
	if s.Stored > 0 {
		s.Ratio = float64(s.Logical) / float64(s.Stored)
	}
	return a.term.answer(s, func() {
		a.term.print("archives     %s, with %s files and directories", count(s.Archives), humanize.Comma(int64(s.Inodes)))
		a.term.print("snapshots    %s", count(s.Snapshots))
		a.term.print("logical      %s: %s live, %s in snapshots", size(s.Logical), size(s.Live), size(s.Logical-s.Live))
		a.term.print("stored       %s in %s %s: %s of content, %s of names and structure",
			size(s.Stored), count(s.Packs), plural(s.Packs, "pack", "packs"), size(s.Data), size(s.Metadata))
		a.term.print("chunks       %s", humanize.Comma(int64(s.Chunks)))
		a.term.print("ratio        %s bytes for each one stored", ratio(s.Logical, s.Stored))
		if s.Written > 0 {
			a.term.print("this mount   %s written, %s of it new", size(s.Written), size(s.New))
		}
	})
}

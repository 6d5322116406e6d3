package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"bkfs/cmd/daemon"
)

func (a *app) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "List, take, delete and rename snapshots",
		Long: `A snapshot is an archive's state at one moment, read-only for ever. It costs only
what changed. On a mount, mkdir, rmdir and mv in ARCHIVE/.snapshots/ do the same
as these commands, and looking into snapshots/ARCHIVE/ shows them.`,
	}
	cmd.AddCommand(a.snapshotListCommand(), a.snapshotCreateCommand(), a.snapshotDeleteCommand(), a.snapshotRenameCommand())
	return cmd
}

func (a *app) snapshotListCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "list [ARCHIVE]",
		Short:   "List the snapshots, oldest first",
		Example: "  bkfs snapshot list documents\n  bkfs snapshot list --json",
		Args:    arguments(0, 1, "[ARCHIVE]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := daemon.Request{Op: daemon.OpSnapshotList}
			if len(args) == 1 {
				req.Archive = args[0]
			}
			var list []daemon.Snapshot
			if err := a.run(cmd.Context(), req, &list); err != nil {
				return err
			}
			return a.term.answer(list, func() {
				table := [][]string{{"ARCHIVE", "SNAPSHOT", "TAKEN", "KIND"}}
				for _, s := range list {
					kind := "named"
					if s.Automatic {
						kind = "automatic"
					}
					table = append(table, []string{shown(s.Archive), shown(s.Name), s.Time.Local().Format("2006-01-02 15:04:05"), kind})
				}
				a.term.table(table)
			})
		},
	}
}

func (a *app) snapshotCreateCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "create ARCHIVE [NAME]",
		Short: "Take a snapshot",
		Long: `Take a snapshot of an archive. Without NAME it gets the UTC time as its name.
Snapshots taken this way are never thinned out.`,
		Example: "  bkfs snapshot create documents before-cleanup",
		Args:    arguments(1, 2, "ARCHIVE [NAME]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			req := daemon.Request{Op: daemon.OpSnapshotCreate, Archive: args[0]}
			if len(args) == 2 {
				if args[1] == "" {
					return errors.New("a snapshot's name can't be empty")
				}
				req.Name = args[1]
			}
			var s daemon.Snapshot
			if err := a.run(cmd.Context(), req, &s); err != nil {
				return err
			}
			return a.term.answer(s, func() { a.term.print("%s", s.Name) })
		},
	}
}

func (a *app) snapshotDeleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete ARCHIVE NAME...",
		Short: "Delete snapshots",
		Long: `Delete snapshots of an archive. The live files and the other snapshots keep all
they share with them. When some can't be deleted, the others still are (exit 3).`,
		Example: "  bkfs snapshot delete documents before-cleanup",
		Args:    arguments(2, 1<<20, "ARCHIVE NAME..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.deleteSnapshots(cmd.Context(), args[0], args[1:])
		},
	}
}

func (a *app) deleteSnapshots(ctx context.Context, archive string, names []string) error {
	var result daemon.Deleted
	if err := a.run(ctx, daemon.Request{Op: daemon.OpSnapshotDelete, Archive: archive, Names: names}, &result); err != nil {
		return err
	}
	for _, f := range result.Failed {
		a.term.notice("%s", f.Error)
	}
	if err := a.term.answer(result, func() {}); err != nil {
		return err
	}
	switch {
	case len(result.Failed) == 0:
		return nil
	case len(result.Deleted) == 0:
		return fmt.Errorf("no snapshot was deleted")
	default:
		return fmt.Errorf("%d of %d snapshots weren't deleted: %w", len(result.Failed), len(names), errPartial)
	}
}

func (a *app) snapshotRenameCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "rename ARCHIVE OLD NEW",
		Short:   "Rename a snapshot; an automatic one is kept for ever then",
		Example: "  bkfs snapshot rename documents 2026-11-23T140509Z before-cleanup",
		Args:    arguments(3, 3, "ARCHIVE OLD NEW"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.run(cmd.Context(), daemon.Request{Op: daemon.OpSnapshotRename, Archive: args[0], Name: args[1], NewName: args[2]}, nil)
		},
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bkfs/cmd/daemon"
	"bkfs/fs"
)

func (a *app) umountCommand() *cobra.Command {
	var lazy, unguard bool
	cmd := &cobra.Command{
		Use:     "umount [MOUNTPOINT]",
		Aliases: []string{"unmount"},
		Short:   "Unmount; returns when everything is durable",
		Long: `Unmount, and wait until everything written is durable in the repository. Without
MOUNTPOINT it is the mount of the repository (-r, BKFS_REPOSITORY).

If files couldn't be written after all, it says which. While programs use the
mount it refuses and names them, as far as you may know them.`,
		Example: "  bkfs umount /mnt/backup\n  bkfs umount --lazy /mnt/backup",
		Args:    arguments(0, 1, "[MOUNTPOINT]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			mountpoint := ""
			if len(args) == 1 {
				mountpoint = resolve(args[0])
			}
			mountpoint, err := a.umount(cmd.Context(), mountpoint, lazy)
			if err == nil && unguard {
				err = fs.Unguard(mountpoint)
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&lazy, "lazy", false, "take the mount away although it is used; it closes when its last user lets go")
	cmd.Flags().BoolVar(&unguard, "unguard", false, "make the directory underneath writable again, after `mount --guard`")
	return cmd
}

// umount returns what it has unmounted.
func (a *app) umount(ctx context.Context, mountpoint string, lazy bool) (string, error) {
	c, err := a.findDaemon(ctx, mountpoint)
	if errors.Is(err, daemon.ErrNoDaemon) {
		return mountpoint, a.umountDead(mountpoint)
	}
	if err != nil {
		return "", err
	}
	var done daemon.Unmounted
	err = c.Call(ctx, daemon.Request{Op: daemon.OpUnmount, Lazy: lazy, PID: os.Getpid()}, a.term.progress, &done)
	a.term.progressDone()
	if err != nil {
		return "", err
	}
	return c.Hello.Mountpoint, a.term.answer(done, func() {
		for _, u := range done.Users {
			a.term.notice("%s (process %d) still uses %s", shown(u.Name), u.PID, shown(u.Path))
		}
		if done.Pending {
			a.term.notice("The mount is out of sight; it closes when its last user lets go.")
		}
	})
}

// findDaemon finds the daemon of a mountpoint or, without one, of the repository.
func (a *app) findDaemon(ctx context.Context, mountpoint string) (*daemon.Client, error) {
	if mountpoint != "" {
		return daemon.ForMountpoint(a.runtimeDirs(), mountpoint)
	}
	r, err := a.repository(ctx)
	if err != nil {
		return nil, err
	}
	switch clients := a.daemonsOf(r); len(clients) {
	case 0:
		return nil, hint(fmt.Errorf("the repository %s isn't mounted", shown(r.path)), "name the mountpoint if it is another repository's")
	case 1:
		return clients[0], nil
	default:
		return nil, hint(fmt.Errorf("the repository %s is mounted more than once", shown(r.path)), "name the mountpoint; `bkfs status` shows them")
	}
}

// umountDead clears up after a daemon that died. What it had acknowledged is in
// the journal, and the next mount has it.
func (a *app) umountDead(mountpoint string) error {
	switch mounted, dead := isMounted(mountpoint); {
	case !mounted:
		return fmt.Errorf("no repository is mounted at %s", shown(mountpoint))
	case !dead:
		return hint(fmt.Errorf("the daemon behind %s can't be reached", shown(mountpoint)),
			"it may belong to another user, or have another XDG_RUNTIME_DIR")
	}
	if err := fs.Detach(mountpoint); err != nil {
		return err
	}
	a.term.notice("The daemon behind %s had died. What was acknowledged is kept; the next mount has it.", shown(mountpoint))
	return nil
}

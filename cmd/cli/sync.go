package cli

import (
	"errors"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"bkfs/cmd/daemon"
)

func (a *app) syncCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "sync",
		Short: "Make everything written to the mount durable now",
		Long: `Return when everything written to the mount so far is durable in the repository.
sync(1) may not reach a FUSE filesystem; this does. Without it what is written is
durable within 5 seconds, and at once after fsync(2) or ` + "`bkfs umount`" + `.`,
		Example: "  cp -a ~/documents /mnt/backup/ && bkfs sync",
		Args:    arguments(0, 0, ""),
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := a.repository(cmd.Context())
			if err != nil {
				return err
			}
			c, err := a.daemonFor(r)
			if errors.Is(err, daemon.ErrNoDaemon) {
				a.term.notice("The repository isn't mounted; everything in it is durable.")
				return nil
			}
			if err != nil {
				return err
			}
			flushKernel(c.Hello.Mountpoint)
			return c.Call(cmd.Context(), daemon.Request{Op: daemon.OpSync}, a.term.progress, nil)
		},
	}
}

// flushKernel has the kernel hand over pages that programs changed through
// mmap(2). The daemon can't do it for its own mount.
func flushKernel(mountpoint string) {
	fd, err := unix.Open(mountpoint, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return // somebody else's mountpoint, perhaps; the daemon's part matters more
	}
	defer unix.Close(fd)
	_ = unix.Syncfs(fd)
}

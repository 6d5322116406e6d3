package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"bkfs/archive"
	"bkfs/archive/store/local"
	"bkfs/cmd/daemon"
)

const (
	daemonName = "__daemon"

	defaultQuiet = 60 * time.Second
	maxLog       = 4 << 20 // bytes; then the log is begun anew
)

type mountFlags struct {
	daemon.Mount
	lock       lockFlags
	foreground bool
	options    []string
}

func (a *app) mountCommand() *cobra.Command {
	var f mountFlags
	cmd := &cobra.Command{
		Use:   "mount MOUNTPOINT",
		Short: "Mount the repository; returns when it serves",
		Long: `Mount the repository on an empty directory. Below it, every archive is a directory
to read and write, and snapshots/ has every snapshot. A new directory there is a
new archive.

The repository is unlocked first, here: a token may ask for a touch or a PIN.
Then the mount goes on in the background, and the command returns when files can
be used. Its log is under $XDG_STATE_HOME/bkfs (~/.local/state/bkfs).

The mount stays until it is unmounted, also when the token is unplugged, unless
--lock-on-removal or --idle-timeout ends it: that is an umount, and a program that
goes on by path writes to the directory underneath (see --guard).

Options for -o: ro, allow_other (other users too, as file modes allow),
default_permissions (always on), suid, dev, noexec, noatime, fsname=NAME.`,
		Example: `  bkfs mount /mnt/backup
  bkfs mount --archive documents -o ro ~/documents-backup
  bkfs mount --lock-on-removal --idle-timeout 30m /mnt/backup
  BKFS_PASSCOMMAND="pass show bkfs" bkfs mount /mnt/backup     # from a script`,
		Args: arguments(1, 1, "MOUNTPOINT"),
		RunE: func(cmd *cobra.Command, args []string) error { return a.mount(cmd.Context(), &f, args[0]) },
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.foreground, "foreground", "f", false, "stay in the foreground and log to stderr; for systemd, containers and finding faults")
	fl.StringArrayVarP(&f.options, "option", "o", nil, "mount `OPTIONS`, with commas; see above")
	fl.StringVar(&f.Options.Archive, "archive", "", "show the archive `NAME` alone, as the mountpoint's own contents")
	fl.BoolVar(&f.Options.Guard, "guard", false, "make the directory underneath immutable, so that no program writes beside the\nbackup while it isn't mounted (root only)")
	f.lock.flags(fl)
	fl.BoolVar(&f.SnapshotOnUnmount, "snapshot-on-unmount", true, "take a snapshot of every changed archive when unmounting; =false if only you\nname snapshots")
	fl.DurationVar(&f.SnapshotWhenQuiet, "snapshot-when-quiet", defaultQuiet, "take one when a changed archive has been quiet for `DURATION`; 0 is never. Automatic\nsnapshots thin out: hourly for a day, daily for a month, then monthly")
	return cmd
}

func (a *app) mount(ctx context.Context, f *mountFlags, mountpoint string) error {
	for _, list := range f.options {
		if err := f.Options.Parse(list); err != nil {
			return hint(err, "see `bkfs mount --help`")
		}
	}
	if err := f.Options.Check(); err != nil {
		return hint(err, "see `bkfs mount --help`")
	}
	if f.SnapshotWhenQuiet < 0 {
		return errors.New("--snapshot-when-quiet can't be negative")
	}
	var err error
	if f.Lock, err = f.lock.parse(); err != nil {
		return err
	}
	r, err := a.repository(ctx)
	if err != nil {
		return err
	}
	// What can be refused is refused before anybody touches a token.
	if f.Mountpoint, err = checkMountpoint(mountpoint, r.path); err != nil {
		return err
	}
	if c, err := a.daemonFor(r); err == nil && !f.Options.ReadOnly {
		return hint(&archive.LockedError{PID: c.Hello.PID, Mountpoint: c.Hello.Mountpoint},
			"it is mounted at %s already; `bkfs umount %s` first", c.Hello.Mountpoint, c.Hello.Mountpoint)
	}
	if f.Lock.OnRemoval {
		if err := a.canWatch(r); err != nil {
			return err
		}
	}
	u, err := a.unlock(ctx, r)
	if err != nil {
		return err
	}
	defer u.key.Destroy()
	var token *daemon.Token
	if f.Lock.OnRemoval {
		if token, err = watched(u); err != nil {
			return err
		}
	}
	if f.Options.FsName == "" {
		f.Options.FsName = r.path
	}
	job := daemon.Job{Repository: r.path, Slot: u.slot, Token: token, Mount: f.Mount}
	if job.Options.ReadOnly {
		job.IndexDir = filepath.Join(a.cacheDir(), r.config.ID.String())
	}
	if f.foreground {
		return a.serve(ctx, job, r, u, nil)
	}
	return a.background(ctx, job, r, u)
}

// serve is the mount's process, from here on.
func (a *app) serve(ctx context.Context, job daemon.Job, r *repository, u *unlocked, handover *daemon.Handover) error {
	o := daemon.Options{
		Job: job, Store: r.store, Key: u.key, ID: r.config.ID,
		RuntimeDirs: a.runtimeDirs(), Describe: describe,
		Log: slog.New(slog.NewTextHandler(a.term.err, &slog.HandlerOptions{Level: a.daemonLevel()})),
		Opened: func(repo *archive.Repository) error {
			if err := a.rememberOpened(r.config.ID, repo); err != nil {
				f := describe(err)
				return errors.New(strings.TrimSuffix(f.Message+"\nhint: "+f.Hint, "\nhint: "))
			}
			return nil
		},
	}
	o.Serving = func(warnings []string) {
		if handover != nil {
			handover.Serving(warnings)
			return
		}
		for _, w := range warnings {
			a.term.warn("%s", w)
		}
		a.term.notice("Serving at %s. Ctrl-C unmounts.", shown(job.Mountpoint))
	}
	if handover == nil {
		o.Notice = func(text string) { a.term.notice("%s", text) }
	}
	return daemon.Run(ctx, o)
}

func (a *app) daemonLevel() slog.Level {
	if a.verbose {
		return slog.LevelDebug
	}
	return slog.LevelInfo
}

func (a *app) background(ctx context.Context, job daemon.Job, r *repository, u *unlocked) error {
	path, log, err := a.openLog(r)
	if err != nil {
		return err
	}
	defer log.Close()
	job.Log = path
	args := []string{daemonName, job.Repository, job.Mountpoint} // for ps to show
	if a.verbose {
		args = append(args, "-v")
	}
	cmd := helper(context.WithoutCancel(ctx), args...)
	cmd.Stdout, cmd.Stderr = log, log
	warnings, err := daemon.Start(ctx, cmd, job, u.key)
	if err != nil {
		if ctx.Err() == nil {
			err = hint(err, "its log may tell more: %s", path)
		}
		return err
	}
	for _, w := range warnings {
		a.term.warn("%s", w)
	}
	return a.term.answer(struct {
		Repository string `json:"repository"`
		Mountpoint string `json:"mountpoint"`
		Log        string `json:"log"`
	}{job.Repository, job.Mountpoint, path}, func() {})
}

// openLog is the daemon's stderr. A long one is kept aside once.
func (a *app) openLog(r *repository) (string, *os.File, error) {
	path := filepath.Join(a.stateDir(), "log", r.config.ID.String()+".log")
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", nil, fmt.Errorf("open the daemon's log: %w", err)
	}
	if fi, err := os.Stat(path); err == nil && fi.Size() > maxLog {
		if err := os.Rename(path, path+".old"); err != nil {
			return "", nil, fmt.Errorf("open the daemon's log: %w", err)
		}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return "", nil, fmt.Errorf("open the daemon's log: %w", err)
	}
	return path, f, nil
}

// daemonCommand is what mount runs in the background.
func (a *app) daemonCommand() *cobra.Command {
	return &cobra.Command{
		Use: daemonName, Hidden: true, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			h, err := daemon.Receive()
			if err != nil {
				return err
			}
			defer h.Key.Destroy()
			err = a.serveJob(cmd.Context(), h)
			if err != nil {
				h.Failed(describe(err))
			}
			return err
		},
	}
}

func (a *app) serveJob(ctx context.Context, h *daemon.Handover) error {
	st, err := local.New(h.Job.Repository)
	if err != nil {
		return fmt.Errorf("open the repository: %w", err)
	}
	defer st.Close()
	config, err := archive.ReadConfig(ctx, st)
	if err != nil {
		return err
	}
	if _, err := verifyWith(config, h.Key, h.Job.Slot); err != nil {
		return err
	}
	r := &repository{h.Job.Repository, st, config}
	return a.serve(ctx, h.Job, r, &unlocked{key: h.Key, slot: h.Job.Slot}, h)
}

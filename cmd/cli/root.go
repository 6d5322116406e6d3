package cli

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"bkfs/cmd/daemon"
	"bkfs/hardware"
)

// Main runs the program and returns its exit code.
func Main(args []string) int {
	if err := harden(); err != nil {
		newTerminal().failure(describe(err))
		return exitError
	}
	if len(args) == 2 { // helper processes: before anything else is set up
		switch args[1] {
		case hardware.HelperCommand:
			return hardware.HelperMain(os.Stdin, os.Stdout)
		case argon2Command:
			return argon2Main(context.Background(), os.Stdin, os.Stdout)
		}
	}
	a := &app{term: newTerminal(), getenv: os.Getenv, secrets: takeSecrets()}
	a.ask = &asker{agents: agents{a}}
	// The first signal ends what is going on in good order, the second at once.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	context.AfterFunc(ctx, stop)

	root := a.rootCommand()
	root.SetArgs(args[1:])
	err := root.ExecuteContext(ctx)
	a.term.progressDone()
	if err == nil {
		return exitOK
	}
	if strings.HasPrefix(err.Error(), "unknown command") { // cobra's own; it has no type
		err = hint(err, "see `bkfs --help`")
	}
	f := describe(err)
	var d *daemon.Failure
	if ctx.Err() != nil && errors.Is(err, context.Canceled) && !errors.As(err, &d) {
		f.Code, f.Message, f.Hint = exitInterrupted, "interrupted", ""
	}
	a.term.failure(f)
	return f.Code
}

const longHelp = `bkfs is a backup you can mount: a directory tree that keeps every version.

Copy your files into the mount with any tool, and you have a backup: encrypted,
compressed, without duplicates. Snapshots are directories too. What opens it is
a FIDO2 token (a security key), a passphrase, or a recovery key on paper.`

const rootExample = `  export BKFS_REPOSITORY=~/backup.bkfs
  bkfs init --fido2-device auto            # touch the key; a recovery key is shown once
  bkfs mount /mnt/backup                   # finds the token, returns when serving
  cp -a ~/documents /mnt/backup/           # this is the backup
  mkdir /mnt/backup/documents/.snapshots/before-cleanup
  ls /mnt/backup/snapshots/documents/      # every version, as directories
  bkfs umount /mnt/backup                  # waits until everything is durable`

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use: "bkfs", Short: "a backup you can mount", Long: longHelp, Example: rootExample,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
	}
	root.SetOut(a.term.out)
	root.SetErr(a.term.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return hint(err, "see `%s --help`", cmd.CommandPath())
	})
	flags := root.PersistentFlags()
	flags.StringVarP(&a.repositoryFlag, "repository", "r", "", "the repository's `DIRECTORY` (default: $BKFS_REPOSITORY, else\n~/.local/share/bkfs/repository)")
	flags.StringVar(&a.unlockDevice, "unlock-fido2-device", "", "`SPEC` says where to look for a token to unlock with: none, auto, /dev/hidrawN or\nsoft:PATH, or several with commas (default: $BKFS_FIDO2_DEVICE, else auto)")
	flags.Var(&a.wait, "wait", "wait for `DURATION` for a token to be plugged in when none fits; for scripts that a\nperson starts, or a key that isn't at hand (default: 30s on a terminal, else 0)")
	flags.DurationVar(&a.unlockTimeout, "unlock-timeout", 0, "give up unlocking after `DURATION`, everything included (exit code 14); for services\nthat must not wait for a person (default: no limit but those of its parts)")
	flags.BoolVar(&a.noNotify, "no-notify", false, "don't show on the desktop that a key waits for a touch; for when others see the\nscreen (default: $BKFS_NOTIFY, else show it where notify-send is)")
	flags.Var(&a.askPassword, "ask-password", "without a terminal, ask for a PIN or passphrase through systemd's password agents\n(default: $BKFS_ASK_PASSWORD, else only as a service of systemd)")
	flags.Lookup("ask-password").NoOptDefVal = "yes"
	flags.BoolVar(&a.term.json, "json", false, "print the answer as JSON, for scripts")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "log what happens to stderr, for finding faults")

	root.AddGroup(
		&cobra.Group{ID: "use", Title: "Every day:"},
		&cobra.Group{ID: "keys", Title: "Keys and tokens:"},
		&cobra.Group{ID: "care", Title: "Care:"},
	)
	add := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	add("use", a.initCommand(), a.mountCommand(), a.umountCommand(), a.snapshotCommand(), a.statusCommand())
	add("keys", a.keyCommand(), a.tokenCommand(), a.softtokenCommand())
	add("care", a.syncCommand(), a.statsCommand(), a.checkCommand(), a.versionCommand())
	root.AddCommand(a.daemonCommand(),
		&cobra.Command{Use: "exit-codes", Short: "What the program's exit codes mean", Long: exitCodeHelp()},
		&cobra.Command{Use: "environment", Short: "The environment variables bkfs reads, secrets included", Long: environmentHelp()},
	)
	return root
}

func environmentHelp() string {
	return `bkfs reads these variables. Flags go before them.

  BKFS_REPOSITORY            the repository's directory, like -r
  BKFS_FIDO2_DEVICE          where to look for a token, like --unlock-fido2-device;
                             none turns all hardware off
  BKFS_NOTIFY                0: no notices on the desktop, like --no-notify
  BKFS_ASK_PASSWORD          1 or 0: whether questions go to systemd's password agents
                             without a terminal, like --ask-password
  XDG_DATA_HOME              the default repository is bkfs/repository in it
  XDG_RUNTIME_DIR            mounts are found through bkfs/ in it
  XDG_STATE_HOME             logs, and what was last seen of each repository
  XDG_CACHE_HOME             indexes of read-only mounts

Secrets. They are removed from the environment of every process bkfs starts.
Of three sources for the same secret the first that is set counts. A passphrase
or recovery key given here is all that is tried: no token is touched, unless the
key slot needs both. A new secret is never read from an old one's source, nor
the other way round; only init, which has no old one, takes BKFS_PASSPHRASE too.

` + secretVariables()
}

// noArguments and the like say what is wrong the way everything else does.
func arguments(least, most int, what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) < least || len(args) > most {
			return hint(errors.New("wrong number of arguments"), "usage: %s %s", cmd.CommandPath(), what)
		}
		return nil
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"bkfs/archive/seal"
	"bkfs/hardware/softtoken"
)

func (a *app) softtokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "softtoken",
		Short: "A token in a file, for trying bkfs out; it protects nothing",
		Long: `A FIDO2 token in software, for trying bkfs out and for tests. It protects nothing:
whoever can read its file can open what it opens. ` + "`auto`" + ` never finds it; name it
with soft:PATH.`,
		Example: `  bkfs softtoken create /tmp/token
  bkfs init --fido2-device soft:/tmp/token
  BKFS_FIDO2_DEVICE=soft:/tmp/token bkfs mount /mnt/backup`,
	}
	cmd.AddCommand(a.softtokenCreateCommand(), a.softtokenServeCommand(), a.softtokenTouchCommand(), a.softtokenSetCommand(), a.softtokenShowCommand())
	return cmd
}

func (a *app) softtokenCreateCommand() *cobra.Command {
	var changes behaviourFlags
	var pin bool
	cmd := &cobra.Command{
		Use:   "create PATH",
		Short: "Make a software token",
		Long: `Make a software token in a new file. By default it touches itself at once and has
no PIN. A quirk is a fault to see what bkfs does about it:

` + quirkHelp(),
		Example: "  bkfs softtoken create /tmp/token\n  bkfs softtoken create --button --pin /tmp/token\n  bkfs softtoken create --quirk keepalive=touch /tmp/token",
		Args:    arguments(1, 1, "PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			var o softtoken.Options
			if err := changes.apply(&o.Behaviour); err != nil {
				return err
			}
			if pin {
				text, err := a.readPIN(cmd.Context())
				if err != nil {
					return err
				}
				o.PIN = string(text)
				seal.Wipe(text)
			}
			if err := softtoken.Create(args[0], o); err != nil {
				return err
			}
			a.term.notice("%s: %s.", shown(args[0]), softtoken.Warning)
			return nil
		},
	}
	changes.register(cmd.Flags())
	cmd.Flags().BoolVar(&pin, "pin", false, "set a PIN, from BKFS_FIDO2_PIN_COMMAND, BKFS_FIDO2_PIN_FD or the terminal")
	return cmd
}

// readPIN takes the PIN to set.
func (a *app) readPIN(ctx context.Context) ([]byte, error) {
	if a.secrets.pin.given() {
		return a.secrets.pin.read(ctx)
	}
	if !a.ask.Available() {
		return nil, hint(errors.New("a PIN is needed"), "set BKFS_FIDO2_PIN_COMMAND or BKFS_FIDO2_PIN_FD")
	}
	return a.ask.Secret(ctx, "PIN for the software token: ")
}

func (a *app) softtokenServeCommand() *cobra.Command {
	var link string
	cmd := &cobra.Command{
		Use:   "serve PATH",
		Short: "Plug the software token in, until Ctrl-C",
		Long: `Serve a software token behind a pseudo-terminal, whose path is printed: any program
with libfido2 can open that as a device. bkfs itself needs no serve: soft:PATH
plugs the token in when it is used.`,
		Example: "  bkfs softtoken serve --link /tmp/device /tmp/token &\n  fido2-token -I /tmp/device",
		Args:    arguments(1, 1, "PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			a.term.notice("%s.", softtoken.Warning)
			err := softtoken.Serve(cmd.Context(), args[0], link, func(device string) { a.term.print("%s", device) })
			if cmd.Context().Err() != nil && errors.Is(err, context.Canceled) {
				return nil // Ctrl-C is how it ends
			}
			return err
		},
	}
	cmd.Flags().StringVar(&link, "link", "", "keep a symbolic link to the device at `PATH`")
	return cmd
}

func (a *app) softtokenTouchCommand() *cobra.Command {
	var wait time.Duration
	cmd := &cobra.Command{
		Use:     "touch PATH",
		Short:   "Touch a software token that has a button",
		Long:    `Touch the button of a software token as soon as it blinks.`,
		Example: "  bkfs softtoken touch /tmp/token",
		Args:    arguments(1, 1, "PATH"),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), wait)
			defer cancel()
			return softtoken.Press(ctx, args[0])
		},
	}
	cmd.Flags().DurationVar(&wait, "wait", 30*time.Second, "how long to wait for it to blink")
	return cmd
}

func (a *app) softtokenShowCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "show PATH",
		Short:   "Show how a software token is, and what it was asked",
		Example: "  bkfs softtoken show --json /tmp/token",
		Args:    arguments(1, 1, "PATH"),
		RunE: func(_ *cobra.Command, args []string) error {
			s, err := softtoken.Read(args[0])
			if err != nil {
				return err
			}
			return a.term.answer(s, func() {
				a.term.print("PIN set:     %s, %d tries left", yes(s.PINSet), s.Retries)
				a.term.print("blinking:    %s", yes(s.Blinking))
				a.term.print("asked for:   %d credentials, %d assertions, %d silent ones, %d PINs",
					s.Seen.MakeCredential, s.Seen.Assertion, s.Seen.Silent, s.Seen.PIN)
				a.term.print("%s", fmt.Sprintf("warning:     %s", s.Warning))
			})
		},
	}
}

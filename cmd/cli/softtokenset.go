package cli

import (
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"bkfs/hardware/softtoken"
)

// behaviourFlags are changes to how a software token behaves, in the order in which they were given.
type behaviourFlags []func(*softtoken.Behaviour) error

func (c *behaviourFlags) apply(b *softtoken.Behaviour) error {
	for _, change := range *c {
		if err := change(b); err != nil {
			return err
		}
	}
	return nil
}

// register adds the flags. A flag that wasn't given changes nothing.
func (c *behaviourFlags) register(fl *pflag.FlagSet) {
	flag := func(name, usage string, field func(*softtoken.Behaviour) *bool) {
		fl.BoolFunc(name, usage, func(text string) error {
			on, err := strconv.ParseBool(text)
			*c = append(*c, func(b *softtoken.Behaviour) error { *field(b) = on; return nil })
			return err
		})
	}
	duration := func(name, usage string, field func(*softtoken.Behaviour) *time.Duration) {
		fl.Func(name, usage, func(text string) error {
			d, err := time.ParseDuration(text)
			*c = append(*c, func(b *softtoken.Behaviour) error { *field(b) = d; return nil })
			return err
		})
	}
	flag("button", "wait for \"bkfs softtoken touch\" instead of touching itself", func(b *softtoken.Behaviour) *bool { return &b.Button })
	duration("touch-after", "`DURATION` that the automatic touch takes", func(b *softtoken.Behaviour) *time.Duration { return &b.Touch })
	duration("touch-timeout", "`DURATION` that it waits for a touch (30s)", func(b *softtoken.Behaviour) *time.Duration { return &b.Timeout })
	flag("uv", "have a built-in user verification, which the touch satisfies", func(b *softtoken.Behaviour) *bool { return &b.UV })
	flag("always-uv", "verify the user at every use", func(b *softtoken.Behaviour) *bool { return &b.AlwaysUV })
	flag("ctap20", "be an older token: CTAP 2.0 only", func(b *softtoken.Behaviour) *bool { return &b.CTAP20 })
	flag("no-hmac-secret", "lack the extension bkfs needs, to see how that is told", func(b *softtoken.Behaviour) *bool { return &b.NoSecret })
	fl.Func("quirk", "misbehave: `NAME[=VALUE]`, repeatable; none takes all quirks away", func(text string) error {
		if err := new(softtoken.Quirks).Set(text); err != nil {
			return err
		}
		*c = append(*c, func(b *softtoken.Behaviour) error { return b.Quirks.Set(text) })
		return nil
	})
}

func quirkHelp() string {
	return softtoken.QuirkHelp() + `
WHEN is init (from the first frame on), cbor (in answers to commands) or touch (in
answers to commands that asked for a touch). A token has one quirk of these at a time.`
}

func (a *app) softtokenSetCommand() *cobra.Command {
	var changes behaviourFlags
	cmd := &cobra.Command{
		Use:   "set PATH",
		Short: "Change how a software token behaves, also while it is plugged in",
		Long: `Change how a software token behaves. A token that is plugged in follows from its
next command on. What isn't named stays. The quirks are:

` + quirkHelp(),
		Example: strings.Join([]string{
			"  bkfs softtoken set --quirk other-secret /tmp/token",
			"  bkfs softtoken set --quirk none --button=false /tmp/token",
		}, "\n"),
		Args: arguments(1, 1, "PATH"),
		RunE: func(_ *cobra.Command, args []string) error {
			var err error
			changed := softtoken.Behave(args[0], func(b *softtoken.Behaviour) { err = changes.apply(b) })
			if err != nil {
				return err
			}
			return changed
		},
	}
	changes.register(cmd.Flags())
	return cmd
}

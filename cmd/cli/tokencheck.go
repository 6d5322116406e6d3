package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"bkfs/archive/seal"
	"bkfs/hardware"
	"bkfs/keyring"
)

func (a *app) tokenTestCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "test [SLOT]",
		Short: "Test that the plugged-in token opens the repository, without mounting",
		Long: `Test that the plugged-in token opens a key slot of the repository: any token's
slot, or the one that is named by its id or label. It asks for what unlocking
asks for (a touch, a PIN), gets the token's secret and opens the slot with it.
Nothing is mounted, and nothing changes. Worth doing now and then with the spare
token that lies in a drawer.

Exit code 0: it opens the slot. 12: it doesn't, or the PIN is wrong. 13: no
plugged-in token fits. 14: a token is busy, blocked, didn't answer or wasn't
touched. A passphrase is asked for only by a slot that needs both.`,
		Example: "  bkfs token test\n  bkfs token test \"spare key, at the bank\"\n  bkfs token test --json 1f0c9ab23de45678",
		Args:    arguments(0, 1, "[SLOT]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			slot := ""
			if len(args) == 1 {
				slot = args[0]
			}
			return a.testToken(cmd.Context(), slot)
		},
	}
}

func (a *app) testToken(ctx context.Context, slot string) error {
	r, err := a.repository(ctx)
	if err != nil {
		return err
	}
	ring, err := keyring.Parse(r.config.Slots)
	if err != nil {
		return fmt.Errorf("read the key slots: %w", err)
	}
	slots, err := tokenSlots(ring, slot)
	if err != nil {
		return err
	}
	spec, err := a.unlockSpec()
	if err != nil {
		return err
	}
	if spec.None() {
		return hint(say(hardware.ErrNoToken, "tokens are turned off"), "use --unlock-fido2-device auto, or unset BKFS_FIDO2_DEVICE")
	}
	t := &tokenTry{unlocker: &unlocker{app: a, repo: r, ring: ring}, slots: slots, spec: spec}
	if a.secrets.passphrase.given() && combinedType(slots[0].Type) {
		if t.passphrase, err = a.secrets.passphrase.read(ctx); err != nil {
			return err
		}
		defer seal.Wipe(t.passphrase)
	}
	key, id, err := inTime(ctx, a.unlockTimeout, t.run)
	if err != nil {
		return err
	}
	defer key.Destroy()
	if _, err := verifyWith(r.config, key, id); err != nil {
		return fmt.Errorf("%s: %w", shown(r.path), err)
	}
	label := t.slots[t.match.Credential].Label
	return a.term.answer(struct {
		Slot    string `json:"slot"`
		Label   string `json:"label,omitempty"`
		Device  string `json:"device"`
		Product string `json:"product,omitempty"`
		Opens   bool   `json:"opens"`
	}{id, label, t.match.Device, t.match.Product, true}, func() {
		name := id
		if label != "" {
			name = fmt.Sprintf("%s (%s)", shown(label), id)
		}
		a.term.print("The token %s opens key slot %s.", t.match.Device, name)
	})
}

// tokenSlots are the usable slots that take a token: all, or the one with the id or the label.
func tokenSlots(ring keyring.Ring, name string) ([]keyring.Slot, error) {
	var named, out []keyring.Slot
	for _, s := range ring.Slots() {
		if name == "" || s.ID.String() == name || s.Label == name {
			named = append(named, s)
		}
	}
	for _, s := range named {
		if s.Type.Token() {
			out = append(out, s)
		}
	}
	switch {
	case name != "" && len(named) == 0:
		if e, err := ring.Find(name); err == nil && e.Err != nil {
			return nil, e.Err
		}
		return nil, hint(fmt.Errorf("%w: %.40q", keyring.ErrNoSuchSlot, name), "`bkfs key list` shows them")
	case name != "" && len(out) == 0:
		return nil, hint(errors.New("the key slot takes no token"), "`bkfs key list` shows which do")
	case len(out) == 0:
		return nil, hint(say(hardware.ErrNoToken, "no key slot of this repository takes a token"), "`bkfs key add --fido2-device auto` adds one")
	}
	return out, nil
}

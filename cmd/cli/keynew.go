package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"bkfs/archive"
	"bkfs/keyring"
)

func (a *app) keyAddCommand() *cobra.Command {
	var f slotFlags
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Add a key: a passphrase, a token or a recovery key",
		Long: `Add a key slot. It is a passphrase, unless --fido2-device or --recovery-key says
otherwise. The repository is unlocked first with a key it has; without a terminal
that takes BKFS_PASSPHRASE or another old source, and BKFS_NEW_PASSPHRASE or
another new one.`,
		Example: `  bkfs key add --fido2-device auto --label "spare key, at the bank"
  bkfs key add --recovery-key
  BKFS_PASSPHRASE=old BKFS_NEW_PASSPHRASE=new bkfs key add`,
		Args: arguments(0, 0, "[flags]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.newKey(cmd.Context(), &f, func(*unlocked) (string, error) { return "", nil })
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.recovery, "recovery-key", false, "make a recovery key, for when tokens and passphrases are lost")
	return cmd
}

func (a *app) keyChangeCommand() *cobra.Command {
	var f slotFlags
	cmd := &cobra.Command{
		Use:   "change [SLOT]",
		Short: "Replace a key by a new one",
		Long: `Replace a key slot by a new one: the slot that unlocks, or the one that is named.
A passphrase is replaced by a passphrase and a recovery key by a recovery key,
unless the flags say otherwise; the label stays. The old key no longer opens the repository
afterwards.`,
		Example: `  bkfs key change
  BKFS_PASSPHRASE=old BKFS_NEW_PASSPHRASE=new bkfs key change
  bkfs key change 1f0c9ab23de45678 --fido2-device auto`,
		Args: arguments(0, 1, "[SLOT]"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.newKey(cmd.Context(), &f, func(u *unlocked) (string, error) {
				id := u.slot
				if len(args) == 1 {
					id = args[0]
				}
				old, err := u.ring.Find(id)
				if err != nil {
					return "", hint(err, "`bkfs key list` shows them")
				}
				if !cmd.Flags().Changed("label") {
					f.label = old.Label
				}
				return id, a.defaultChange(&f, old.Type)
			})
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.recovery, "recovery-key", false, "make the new key a recovery key")
	return cmd
}

// defaultChange fills in what kind of key the new one is when no flag tells.
func (a *app) defaultChange(f *slotFlags, old keyring.Type) error {
	if f.isToken() || f.recovery || a.secrets.newPassphrase.given() {
		return nil
	}
	if old.Token() { // a token must not turn into a passphrase by an oversight
		return hint(errors.New("the key slot is a token's: say what the new key is to be"),
			"--fido2-device for a token, --recovery-key for a recovery key, BKFS_NEW_PASSPHRASE or `bkfs key add` for a passphrase")
	}
	f.recovery = old == keyring.TypeRecovery
	return nil
}

// newKey unlocks, makes the slot that the flags describe and adds it, or puts
// it in the place of the one that replaced names.
func (a *app) newKey(ctx context.Context, f *slotFlags, replaced func(*unlocked) (string, error)) error {
	if err := a.checkFlags(f); err != nil {
		return err
	}
	if f.recovery && f.isToken() {
		return hint(errors.New("--recovery-key and --fido2-device are two different keys"), "add them one after the other")
	}
	r, err := a.repository(ctx)
	if err != nil {
		return err
	}
	u, err := a.unlock(ctx, r)
	if err != nil {
		return err
	}
	defer u.key.Destroy()
	old, err := replaced(u) // told before anybody touches a token
	if err != nil {
		return err
	}
	if f.recoveryFile != "" && !f.recovery {
		return errors.New("--recovery-key-file: no recovery key is made; add --recovery-key")
	}
	m := &maker{app: a, id: r.config.ID, key: u.key, flags: f}
	for _, s := range u.ring.Slots() {
		if s.FIDO2 != nil && s.ID.String() != old {
			m.enrolled = append(m.enrolled, *s.FIDO2)
		}
	}
	slot, recovery, err := m.one(ctx)
	if err != nil {
		return err
	}
	undo, err := saveRecovery(f.recoveryFile, recovery)
	if err != nil {
		return err
	}
	if _, err := a.changeSlots(ctx, r, u, func(ring keyring.Ring) (keyring.Ring, error) {
		if old != "" {
			return ring.Replace(old, slot)
		}
		return ring.Add(slot)
	}); err != nil {
		undo()
		return err
	}
	return a.showNewKey(f, slot, recovery)
}

func (a *app) showNewKey(f *slotFlags, slot keyring.Slot, recovery string) error {
	answer := struct {
		slotAnswer
		RecoveryKey string `json:"recovery_key,omitempty"`
	}{slotAnswer: slotAnswers([]keyring.Slot{slot})[0]}
	if f.recoveryFile == "" {
		answer.RecoveryKey = recovery
	}
	return a.term.answer(answer, func() {
		a.term.notice("Key slot %s (%s) is ready.", slot.ID, slot.Type)
		if recovery != "" {
			a.showRecovery(f.recoveryFile, recovery)
		}
	})
}

func (m *maker) one(ctx context.Context) (keyring.Slot, string, error) {
	switch {
	case m.flags.recovery:
		return m.newRecovery()
	case m.flags.isToken():
		s, err := m.token(ctx)
		return s, "", err
	default:
		s, err := m.passphrase(ctx)
		return s, "", err
	}
}

// changeSlots changes the config's slots: those that are there now, which
// another command may have changed since u unlocked. The daemon, if there is
// one, isn't asked: it doesn't need them.
func (a *app) changeSlots(ctx context.Context, r *repository, u *unlocked, change func(keyring.Ring) (keyring.Ring, error)) (*archive.Config, error) {
	config, err := archive.UpdateSlots(ctx, r.path, r.store, u.key, func(raw []json.RawMessage) ([]json.RawMessage, error) {
		ring, err := keyring.Parse(raw)
		if err != nil {
			return nil, err
		}
		if _, err := ring.Find(u.slot); err != nil {
			return nil, hint(fmt.Errorf("the key that unlocked was removed meanwhile: %w", err), "unlock with another key")
		}
		if ring, err = change(ring); err != nil {
			return nil, err
		}
		return ring.Marshal(), nil
	})
	if err != nil {
		return nil, fmt.Errorf("write the key slots: %w", err)
	}
	if err := a.rememberConfig(config); err != nil {
		a.term.warning(err)
	}
	return config, nil
}

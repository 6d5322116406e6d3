package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"bkfs/archive"
	"bkfs/archive/seal"
	"bkfs/archive/store/local"
	"bkfs/keyring"
)

// slotAnswer is a key slot in JSON.
type slotAnswer struct {
	ID    string       `json:"id"`
	Type  keyring.Type `json:"type"`
	Label string       `json:"label,omitempty"`
}

func slotAnswers(slots []keyring.Slot) []slotAnswer {
	var out []slotAnswer
	for _, s := range slots {
		out = append(out, slotAnswer{s.ID.String(), s.Type, s.Label})
	}
	return out
}

func (a *app) initCommand() *cobra.Command {
	var f slotFlags
	var o initFlags
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a new repository",
		Long: `Make a new, empty repository.

With --fido2-device a token opens it, and so does a recovery key, which is shown
once: write it down. Without, a passphrase does. With BKFS_NEW_PASSPHRASE (or its
command or descriptor) set nothing is asked, and the passphrase opens the
repository, beside the token if there is one. More keys come with ` + "`bkfs key add`" + `.

--key-from unlocks another repository, and the key that did it gets a slot in the
new one: the same passphrase or recovery key, or the same token under the same
policy, which is touched twice then and nothing is stored on it. The repositories
have nothing else in common. Other keys of the first can't be carried over; they
are listed.`,
		Example: `  bkfs init --fido2-device auto --label "blue key"
  bkfs -r /mnt/disk/second.bkfs init --key-from ~/backup.bkfs
  BKFS_NEW_PASSCOMMAND="pass show bkfs" bkfs -r /srv/backup.bkfs init`,
		Args: arguments(0, 0, "[flags]"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case f.recovery && o.noRecovery:
				return errors.New("--recovery-key and --no-recovery-key contradict each other")
			case o.keyFrom != "" && f.isToken():
				return hint(errors.New("--key-from takes the key of another repository, and --fido2-device enrols one"),
					"`bkfs key add --fido2-device` adds more keys later")
			}
			return a.init(cmd.Context(), &f, o)
		},
	}
	f.register(cmd)
	cmd.Flags().BoolVar(&f.recovery, "recovery-key", false, "make a recovery key also beside a passphrase")
	cmd.Flags().BoolVar(&o.noRecovery, "no-recovery-key", false, "make none beside the token; losing the token then loses everything,\nunless you add another key")
	cmd.Flags().StringVar(&o.keyFrom, "key-from", "", "let the key that unlocks the repository in `DIRECTORY` open the new one, too;\nfor a second repository with the same token or passphrase")
	return cmd
}

// initFlags are init's own.
type initFlags struct {
	noRecovery bool
	keyFrom    string
}

func (a *app) init(ctx context.Context, f *slotFlags, o initFlags) error {
	wantRecovery := (f.isToken() || f.recovery) && !o.noRecovery
	path, err := a.repositoryPath()
	if err != nil {
		return err
	}
	if err := a.checkFlags(f); err != nil {
		return err
	}
	if f.recoveryFile != "" && !wantRecovery && (o.keyFrom == "" || o.noRecovery) {
		return errors.New("--recovery-key-file: no recovery key is made; add --recovery-key")
	}
	if err := checkVacant(path); err != nil {
		return err
	}
	key, err := seal.NewKey()
	if err != nil {
		return err
	}
	defer key.Destroy()
	m := &maker{app: a, id: seal.NewRepositoryID(), key: key, flags: f}
	var slots []keyring.Slot
	var left []keyring.Entry
	var recovery string
	if o.keyFrom == "" {
		slots, recovery, err = m.first(ctx, wantRecovery)
	} else {
		slots, recovery, left, err = m.firstFrom(ctx, o)
	}
	if err != nil {
		return err
	}
	undo, err := saveRecovery(f.recoveryFile, recovery)
	if err != nil {
		return err
	}
	config, err := createRepository(ctx, path, m, slots)
	if err != nil {
		undo()
		return err
	}
	if err := a.rememberConfig(config); err != nil {
		a.term.warning(err)
	}
	answer := struct {
		Repository  string       `json:"repository"`
		ID          string       `json:"id"`
		Slots       []slotAnswer `json:"slots"`
		RecoveryKey string       `json:"recovery_key,omitempty"`
		NotCarried  []slotAnswer `json:"not_carried_over,omitempty"`
	}{path, m.id.String(), slotAnswers(slots), "", nil}
	for _, e := range left {
		answer.NotCarried = append(answer.NotCarried, slotAnswer{e.ID, e.Type, e.Label})
	}
	if f.recoveryFile == "" {
		answer.RecoveryKey = recovery
	}
	return a.term.answer(answer, func() {
		a.term.notice("Made the repository %s.", shown(path))
		if recovery != "" {
			a.showRecovery(f.recoveryFile, recovery)
		}
		a.showLeft(slots[0], left)
	})
}

// first makes the key slots of a new repository.
func (m *maker) first(ctx context.Context, wantRecovery bool) (slots []keyring.Slot, recovery string, err error) {
	if !m.secrets.newPassphrase.given() { // there is no old passphrase yet that could be meant
		m.secrets.newPassphrase = m.secrets.passphrase
	}
	add := func(s keyring.Slot, err error) error {
		if err == nil {
			slots = append(slots, s)
		}
		return err
	}
	switch {
	case !m.flags.isToken():
		err = add(m.passphrase(ctx))
	case m.secrets.newPassphrase.given() && !m.flags.withPassphrase:
		// The token last: a person waits for it, and a passphrase can fail before.
		if err = add(m.passphrase(ctx)); err == nil {
			err = add(m.token(ctx))
		}
	default:
		err = add(m.token(ctx))
	}
	if err == nil && wantRecovery {
		var s keyring.Slot
		s, recovery, err = m.newRecovery()
		err = add(s, err)
	}
	return slots, recovery, err
}

// checkVacant refuses what init would write over.
func checkVacant(path string) error {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return hint(fmt.Errorf("make a repository: %w", err), "name a directory that is empty or doesn't exist")
	case len(entries) == 0:
		return nil
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "config") {
			return hint(fmt.Errorf("%s is a repository already", shown(path)), "`bkfs key add` gives it another key; to begin anew, choose another directory")
		}
	}
	return hint(fmt.Errorf("%s isn't empty", shown(path)), "name a directory that is empty or doesn't exist")
}

func createRepository(ctx context.Context, path string, m *maker, slots []keyring.Slot) (*archive.Config, error) {
	raw := make([]json.RawMessage, len(slots))
	for i, s := range slots {
		var err error
		if raw[i], err = json.Marshal(s); err != nil {
			return nil, err
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("make the repository: %w", err)
	}
	st, err := local.Create(path)
	if err != nil {
		return nil, fmt.Errorf("make the repository: %w", err)
	}
	defer st.Close()
	config, err := archive.Create(ctx, st, m.key, m.id, raw)
	if err != nil {
		return nil, fmt.Errorf("make the repository %s: %w", shown(path), err)
	}
	return config, nil
}

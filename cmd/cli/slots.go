package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"bkfs/archive/seal"
	"bkfs/hardware"
	"bkfs/keyring"
)

// slotFlags describe a new key slot; init, key add and key change share them.
type slotFlags struct {
	device           string
	withPassphrase   bool
	clientPIN        yesNo
	userPresence     yesNo
	userVerification yesNo
	algorithm        string
	label            string
	recovery         bool
	recoveryFile     string
}

func (f *slotFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringVar(&f.device, "fido2-device", "", "enrol a token, named by `SPEC`: auto (the one that is plugged in), /dev/hidrawN, or soft:PATH;\nneeded when the new key is to be a token instead of a passphrase")
	fl.BoolVar(&f.withPassphrase, "fido2-with-passphrase", false, "make a slot that needs the token and a passphrase together;\nfor when neither a found token nor an overheard passphrase may be enough")
	policy := func(v *yesNo, name string, standard bool, usage string) {
		*v = yesNo(standard)
		fl.Var(v, name, usage)
		fl.Lookup(name).NoOptDefVal = "yes"
	}
	policy(&f.clientPIN, "fido2-with-client-pin", false, "ask for the token's PIN at every unlock; for when the token may be stolen")
	policy(&f.userPresence, "fido2-with-user-presence", true, "ask for a touch at every unlock; =no for unattended machines,\nif the token allows it")
	policy(&f.userVerification, "fido2-with-user-verification", false, "ask for the token's own check, such as a fingerprint, at every unlock, or for its\nPIN if it has nothing else")
	fl.StringVar(&f.algorithm, "fido2-credential-algorithm", string(keyring.ES256), "`ALGORITHM`: es256 or eddsa; es256 works with every token")
	fl.StringVar(&f.label, "label", "", "a `NAME` for the slot, such as \"blue key, home\"; worth it with several tokens.\nIt is stored unencrypted")
	fl.StringVar(&f.recoveryFile, "recovery-key-file", "", "write the new recovery key to `FILE`, which is new then (mode 0600), instead of stdout;\nfor scripts")
}

// isToken tells whether a token is to be enrolled.
func (f *slotFlags) isToken() bool { return f.device != "" && f.device != "none" }

// checkFlags refuses what can't be before anything is asked.
func (a *app) checkFlags(f *slotFlags) error {
	if f.withPassphrase && !f.isToken() {
		return errors.New("--fido2-with-passphrase needs --fido2-device")
	}
	if f.isToken() {
		var err error
		if a.enrolSpec, err = hardware.ParseSpec(f.device); err != nil {
			return fmt.Errorf("--fido2-device: %w", err)
		}
	}
	switch keyring.Algorithm(f.algorithm) {
	case keyring.ES256, keyring.EdDSA:
		return nil
	}
	return fmt.Errorf("--fido2-credential-algorithm: %q is neither es256 nor eddsa", f.algorithm)
}

// maker makes key slots for one repository.
type maker struct {
	*app
	id    seal.RepositoryID
	key   *seal.Key
	flags *slotFlags
	// enrolled are the credentials of slots that are there already.
	enrolled []keyring.FIDO2
}

// passphrase makes a passphrase slot.
func (m *maker) passphrase(ctx context.Context) (keyring.Slot, error) {
	derived, params, err := m.newPassphrase(ctx)
	if err != nil {
		return keyring.Slot{}, err
	}
	defer derived.Destroy()
	return keyring.NewSlot(m.id, m.key, keyring.TypePassphrase, keyring.Secret{Passphrase: derived},
		keyring.Meta{Label: m.flags.label, Argon2: &params})
}

func (m *maker) newPassphrase(ctx context.Context) (*seal.Key, keyring.Argon2, error) {
	passphrase, err := m.readNewPassphrase(ctx)
	if err != nil {
		return nil, keyring.Argon2{}, err
	}
	defer seal.Wipe(passphrase)
	params, err := calibrate(ctx)
	if err != nil {
		return nil, params, err
	}
	key, err := kdf(ctx, passphrase, params)
	return key, params, err
}

// readNewPassphrase never reads a source of the old one.
func (a *app) readNewPassphrase(ctx context.Context) ([]byte, error) {
	if a.secrets.newPassphrase.given() {
		return a.secrets.newPassphrase.read(ctx)
	}
	if !a.ask.Available() {
		return nil, hint(say(errNoSecret, "a new passphrase is needed"),
			"set BKFS_NEW_PASSPHRASE, BKFS_NEW_PASSCOMMAND or BKFS_NEW_PASSPHRASE_FD, or run bkfs on a terminal")
	}
	first, err := a.ask.Secret(ctx, "New passphrase: ")
	if err != nil {
		return nil, err
	}
	if len(first) == 0 {
		return nil, hint(say(errNoSecret, "the passphrase is empty"), "an empty passphrase would protect nothing")
	}
	again, err := a.ask.Secret(ctx, "The same again: ")
	defer seal.Wipe(again)
	if err == nil && !bytes.Equal(first, again) {
		err = errors.New("the two passphrases differ")
	}
	if err != nil {
		seal.Wipe(first)
		return nil, err
	}
	return first, nil
}

// token enrols a token and makes its slot, with a passphrase if asked to.
func (m *maker) token(ctx context.Context) (keyring.Slot, error) {
	var parts keyring.Secret
	defer func() { parts.Destroy() }()
	meta := keyring.Meta{Label: m.flags.label}
	kind := keyring.TypeFIDO2
	if m.flags.withPassphrase {
		kind = keyring.TypeFIDO2Passphrase
		derived, params, err := m.newPassphrase(ctx)
		if err != nil {
			return keyring.Slot{}, err
		}
		parts.Passphrase, meta.Argon2 = derived, &params
	}
	salt := make([]byte, keyring.SaltSize)
	rand.Read(salt)
	tokens := m.tokens(m.enrolSpec, nil, m.flags.label)
	defer tokens.Close()
	credential, secret, err := tokens.Enroll(ctx, keyring.EnrollRequest{
		RPID: keyring.RPID, RepositoryID: m.id, Label: m.flags.label, Algorithm: keyring.Algorithm(m.flags.algorithm),
		RequirePIN: bool(m.flags.clientPIN), RequireUP: bool(m.flags.userPresence), RequireUV: bool(m.flags.userVerification),
		Salt: salt, Exclude: m.enrolled,
	})
	if err != nil {
		if errors.Is(err, hardware.ErrNoToken) {
			err = hint(err, "plug the token in; `bkfs token list` shows what is there")
		}
		switch {
		case errors.Is(err, hardware.ErrPINNotSet):
			err = hint(err, "set a PIN first, with `fido2-token -S DEVICE` or the maker's program")
		case errors.Is(err, hardware.ErrPolicy) && !bool(m.flags.userPresence):
			err = hint(err, "most tokens give a secret only when touched: leave out --fido2-with-user-presence=no")
		}
		return keyring.Slot{}, err
	}
	parts.Token, meta.FIDO2 = secret, &credential
	return keyring.NewSlot(m.id, m.key, kind, parts, meta)
}

// newRecovery makes a recovery slot and the text that opens it.
func (m *maker) newRecovery() (keyring.Slot, string, error) {
	recovery, err := keyring.NewRecovery()
	if err != nil {
		return keyring.Slot{}, "", err
	}
	defer recovery.Destroy()
	label := ""
	if m.flags.recovery {
		label = m.flags.label // it is the slot the flags are about
	}
	slot, err := keyring.NewSlot(m.id, m.key, keyring.TypeRecovery, keyring.Secret{Recovery: recovery}, keyring.Meta{Label: label})
	return slot, keyring.FormatRecovery(recovery), err
}

// saveRecovery writes the text to a new file before the slot exists, so that no
// slot's key is ever lost. undo removes it again.
func saveRecovery(path, text string) (undo func(), err error) {
	if path == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, fmt.Errorf("write the recovery key: %w", err)
	}
	undo = func() { os.Remove(path) }
	_, err = f.WriteString(text + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		undo()
		return nil, fmt.Errorf("write the recovery key: %w", err)
	}
	return undo, nil
}

// showRecovery prints the text once, unless it went to a file.
func (a *app) showRecovery(path, text string) {
	if path != "" {
		a.term.notice("The recovery key is in %s. Keep it somewhere else than the repository.", path)
		return
	}
	a.term.notice("This recovery key opens the repository when the token is lost. It is shown only now:\nwrite it down or print it, and keep it away from the repository.\n")
	a.term.print("%s", text)
	a.term.qr(text)
}

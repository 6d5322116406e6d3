package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"bkfs/archive/seal"
	"bkfs/hardware"
	"bkfs/hardware/softtoken"
	"bkfs/keyring"
)

// unlockSpec says where tokens are looked for to unlock: the flag, the
// environment, or any token that is plugged in.
func (u *unlocker) unlockSpec() (hardware.Spec, error) { return u.app.unlockSpec() }

func (a *app) unlockSpec() (hardware.Spec, error) {
	text := a.unlockDevice
	if text == "" {
		text = a.getenv("BKFS_FIDO2_DEVICE")
	}
	if text == "" {
		text = "auto"
	}
	spec, err := hardware.ParseSpec(text)
	if err != nil {
		return nil, fmt.Errorf("--unlock-fido2-device or BKFS_FIDO2_DEVICE: %w", err)
	}
	return spec, nil
}

// tokens opens nothing yet. The caller closes them.
func (a *app) tokens(spec hardware.Spec) *hardware.Tokens {
	return hardware.New(spec, hardware.Options{
		Exec: []string{selfPath(), hardware.HelperCommand},
		Log:  a.log(),
		UI: hardware.UI{
			Touch:  func(label string) { a.term.notice("Touch your security key (%s)…", shown(label)) },
			PIN:    a.askPIN,
			Choose: a.chooseToken,
			Notice: func(text string) { a.term.notice("%s", text) },
			Soft:   a.warnSoft,
		},
	})
}

// warnSoft says what software tokens are worth, once a command and of all that it uses.
func (a *app) warnSoft(names []string) {
	if a.softWarned {
		return
	}
	a.softWarned = true
	for _, s := range a.enrolSpec {
		if s.Kind == hardware.Soft && !slices.Contains(names, s.String()) {
			names = append(names, s.String())
		}
	}
	for i, n := range names {
		names[i] = shown(n)
	}
	a.term.warn("%s: %s", strings.Join(names, ", "), softtoken.Warning)
}

// askPIN reads a PIN from its source, once, or asks for it.
func (a *app) askPIN(ctx context.Context, prompt string, retries int) ([]byte, error) {
	if a.secrets.pin.given() {
		if a.pinUsed {
			return nil, hint(hardware.ErrPINRequired, "the PIN that was given isn't tried again; no try is left to chance")
		}
		a.pinUsed = true
		return a.secrets.pin.read(ctx)
	}
	if !a.ask.Available() {
		return nil, hint(hardware.ErrPINRequired, "set BKFS_FIDO2_PIN_COMMAND or BKFS_FIDO2_PIN_FD, or run bkfs on a terminal")
	}
	left := ""
	if retries >= 0 {
		left = fmt.Sprintf(" (%d %s left)", retries, plural(retries, "try", "tries"))
	}
	return a.ask.Secret(ctx, fmt.Sprintf("%s%s: ", strings.TrimRight(prompt, ": "), left))
}

// chooseToken lists several tokens and asks which is meant.
func (a *app) chooseToken(ctx context.Context, tokens []hardware.Info) (int, error) {
	if !a.ask.Available() {
		return 0, hint(hardware.ErrSeveral, "name one with --fido2-device; `bkfs token list` shows them")
	}
	for i, t := range tokens {
		a.term.notice("  %d  %s  %s", i+1, shown(t.Product), t.Device)
	}
	answer, err := a.ask.Line(ctx, fmt.Sprintf("Which token (1-%d)? ", len(tokens)))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(answer)
	if err != nil || n < 1 || n > len(tokens) {
		return 0, fmt.Errorf("%q is none of them", answer)
	}
	return n - 1, nil
}

// withToken finds the token that made one of the slots' credentials and asks it
// for the secret. passphrase, when it was given, restricts this to slots that
// need both.
func (u *unlocker) withToken(ctx context.Context, spec hardware.Spec, passphrase []byte) (*seal.Key, string, error) {
	slots := u.slots(keyring.Type.Token)
	if passphrase != nil {
		slots = u.slots(combinedType)
	}
	credentials := make([]keyring.FIDO2, len(slots))
	for i, s := range slots {
		credentials[i] = *s.FIDO2
	}
	tokens := u.tokens(spec)
	defer tokens.Close()
	matches, err := tokens.Find(ctx, credentials)
	if errors.Is(err, os.ErrNotExist) { // a software token's file
		err = say(hardware.ErrAbsent, "%v", err)
	}
	if err != nil {
		return nil, "", fmt.Errorf("look for a token: %w", err)
	}
	if len(matches) == 0 {
		return nil, "", say(hardware.ErrNoToken, "no plugged-in token opens this repository")
	}
	// A token alone before one with a passphrase.
	slices.SortStableFunc(matches, func(x, y keyring.Match) int {
		return strings.Compare(string(slots[x.Credential].Type), string(slots[y.Credential].Type))
	})
	var errs []error
	for _, m := range matches {
		slot := slots[m.Credential]
		key, err := u.openWith(ctx, tokens, m, slot, passphrase)
		if err == nil || ctx.Err() != nil {
			u.device = m.Device
			return key, slot.ID.String(), err
		}
		errs = append(errs, err)
		if final(err) {
			break
		}
	}
	return nil, "", errors.Join(errs...)
}

// final tells whether another match must not be tried: a PIN is never tried
// again by itself.
func final(err error) bool {
	return errors.Is(err, hardware.ErrPINInvalid) || errors.Is(err, errNoSecret)
}

func (u *unlocker) openWith(ctx context.Context, tokens keyring.Token, m keyring.Match, slot keyring.Slot, passphrase []byte) (*seal.Key, error) {
	var parts keyring.Secret
	defer func() { parts.Destroy() }()
	if slot.Type.Passphrase() {
		if passphrase == nil {
			if !u.ask.Available() {
				return nil, hint(errNoSecret, "key slot %s needs the passphrase too: set BKFS_PASSPHRASE or run bkfs on a terminal", slot.ID)
			}
			typed, err := u.ask.Secret(ctx, fmt.Sprintf("Passphrase for %s: ", shown(u.repo.path)))
			if err != nil {
				return nil, err
			}
			defer seal.Wipe(typed)
			passphrase = typed
		}
		var err error
		if parts.Passphrase, err = kdf(ctx, passphrase, *slot.Argon2); err != nil {
			return nil, err
		}
	}
	var err error
	if parts.Token, err = tokens.Secret(ctx, m, *slot.FIDO2); err != nil {
		return nil, err
	}
	key, err := slot.Open(u.repo.config.ID, parts)
	switch {
	case errors.Is(err, keyring.ErrWrongSecret) && slot.Type.Passphrase():
		return nil, say(err, "the token fits key slot %s, and the passphrase is wrong", slot.ID)
	case errors.Is(err, keyring.ErrWrongSecret):
		return nil, hint(err, "the token doesn't give the secret it gave at enrolment, or the key slot was changed")
	}
	return key, err
}

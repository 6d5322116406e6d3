package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bkfs/archive"
	"bkfs/archive/seal"
	"bkfs/hardware"
	"bkfs/keyring"
)

// maxTries is how often a mistyped passphrase may be typed again.
const maxTries = 3

// recoveryLength is how long a typed text must be to be taken for an attempt at
// a recovery key: most of its 65 characters.
const recoveryLength = 50

// unlocked is a repository's key and the slot that gave it.
type unlocked struct {
	key  *seal.Key
	ring keyring.Ring
	slot string

	device string // the token that unlocked, as keyring.Match names it; or none
}

// unlocker finds a slot that opens.
type unlocker struct {
	*app
	repo   *repository
	ring   keyring.Ring
	device string // of the token that has opened a slot
}

// unlock opens a key slot and checks that the config is authentic. A secret
// given explicitly is all that is tried; otherwise tokens come first, then a
// question on the terminal.
func (a *app) unlock(ctx context.Context, r *repository) (*unlocked, error) {
	ring, err := keyring.Parse(r.config.Slots)
	if err != nil {
		return nil, fmt.Errorf("read the key slots: %w", err)
	}
	u := &unlocker{app: a, repo: r, ring: ring}
	for _, e := range ring.Entries() {
		if e.Err != nil {
			a.term.warn("key slot %s can't be used: %v", shown(e.ID), e.Err)
		}
	}
	key, slot, err := u.openInTime(ctx)
	if err != nil {
		return nil, err
	}
	if u.ring, err = verifyWith(r.config, key, slot); err != nil {
		key.Destroy()
		return nil, fmt.Errorf("%s: %w", shown(r.path), err)
	}
	if err := a.rememberConfig(r.config); err != nil {
		a.term.warning(err)
	}
	return &unlocked{key, u.ring, slot, u.device}, nil
}

// verifyWith makes config the newest authentic one and returns its slots. A key
// from a slot that is no longer in it doesn't count.
func verifyWith(config *archive.Config, key *seal.Key, slot string) (keyring.Ring, error) {
	if err := config.Verify(key); err != nil {
		return keyring.Ring{}, hint(err, "the repository's config file was edited or damaged; `bkfs key import` puts back a copy that `bkfs key export` made")
	}
	ring, err := keyring.Parse(config.Slots)
	if err != nil {
		return ring, fmt.Errorf("read the key slots: %w", err)
	}
	if _, err := ring.Find(slot); err != nil {
		return ring, hint(say(archive.ErrDamaged, "config: key slot %s isn't in it any more, and somebody put it back into a copy", slot),
			"unlock with another key; `bkfs key list` shows which there are")
	}
	return ring, nil
}

// openInTime is open within --unlock-timeout.
func (u *unlocker) openInTime(ctx context.Context) (*seal.Key, string, error) {
	return inTime(ctx, u.unlockTimeout, u.open)
}

func inTime(ctx context.Context, limit time.Duration, open func(context.Context) (*seal.Key, string, error)) (*seal.Key, string, error) {
	if limit <= 0 {
		return open(ctx)
	}
	limited, stop := context.WithTimeout(ctx, limit)
	defer stop()
	key, slot, err := open(limited)
	if err != nil && ctx.Err() == nil && errors.Is(limited.Err(), context.DeadlineExceeded) {
		err = hint(say(hardware.ErrTimeout, "unlocking took longer than %v", limit), "--unlock-timeout allows no more; nothing was changed")
	}
	return key, slot, err
}

func (u *unlocker) open(ctx context.Context) (*seal.Key, string, error) {
	if u.secrets.passphrase.given() || u.secrets.recovery.given() {
		return u.withGiven(ctx)
	}
	spec, err := u.unlockSpec()
	if err != nil {
		return nil, "", err
	}
	tokenErr := error(nil)
	if slots := u.slots(keyring.Type.Token); !spec.None() && len(slots) > 0 {
		t := &tokenTry{unlocker: u, slots: slots, spec: spec, typing: true}
		key, slot, err := t.run(ctx)
		if err == nil || ctx.Err() != nil || t.typed {
			return key, slot, err
		}
		tokenErr = err
	}
	typed := u.slots(typedType)
	if len(typed) > 0 && u.ask.Available() {
		if tokenErr != nil {
			u.term.notice("%v", tokenErr)
		}
		return u.withTyped(ctx, "")
	}
	if tokenErr != nil {
		return nil, "", hint(tokenErr, "the repository's key slots are: %s", u.slotNames())
	}
	// A recovery key isn't for every day: where a token is the only other key,
	// it is the token that is missing.
	if !u.has(keyring.TypePassphrase) && u.has(keyring.TypeFIDO2, keyring.TypeFIDO2Passphrase) {
		return nil, "", hint(say(hardware.ErrNoToken, "a token opens this repository, and tokens are turned off"),
			"use --unlock-fido2-device auto, or unset BKFS_FIDO2_DEVICE; the key slots are: %s", u.slotNames())
	}
	return nil, "", hint(errNoSecret,
		"set BKFS_PASSPHRASE, BKFS_PASSCOMMAND, BKFS_PASSPHRASE_FD or BKFS_RECOVERY_KEY, or run bkfs on a terminal; the key slots are: %s", u.slotNames())
}

func typedType(t keyring.Type) bool {
	return t == keyring.TypePassphrase || t == keyring.TypeRecovery
}

// slots are the usable slots whose type is wanted, in order.
func (u *unlocker) slots(want func(keyring.Type) bool) []keyring.Slot {
	var out []keyring.Slot
	for _, s := range u.ring.Slots() {
		if want(s.Type) {
			out = append(out, s)
		}
	}
	return out
}

func (u *unlocker) has(types ...keyring.Type) bool {
	return len(u.slots(func(t keyring.Type) bool { return slices.Contains(types, t) })) > 0
}

// slotNames lists all slots for a hint.
func (u *unlocker) slotNames() string {
	var names []string
	for _, e := range u.ring.Entries() {
		name := string(e.Type)
		if e.Label != "" {
			name += " " + shown(e.Label)
		}
		names = append(names, name+" ("+shown(e.ID)+")")
	}
	return strings.Join(names, ", ")
}

// withGiven uses the secrets that come without a question, and only the slots
// they can open.
func (u *unlocker) withGiven(ctx context.Context) (*seal.Key, string, error) {
	var errs []error
	if u.secrets.recovery.given() {
		text, err := u.secrets.recovery.read(ctx)
		if err != nil {
			return nil, "", err
		}
		defer seal.Wipe(text)
		key, slot, err := u.tryRecovery(text)
		if err == nil {
			return key, slot, nil
		}
		errs = append(errs, err)
	}
	if u.secrets.passphrase.given() {
		passphrase, err := u.secrets.passphrase.read(ctx)
		if err != nil {
			return nil, "", err
		}
		defer seal.Wipe(passphrase)
		key, slot, err := u.tryPassphrase(ctx, passphrase)
		if err == nil || ctx.Err() != nil {
			return key, slot, err
		}
		// A passphrase may be half of what a fido2+passphrase slot needs.
		if len(u.slots(combinedType)) > 0 {
			if spec, err := u.unlockSpec(); err != nil || !spec.None() {
				if err != nil {
					return nil, "", err
				}
				t := &tokenTry{unlocker: u, slots: u.slots(combinedType), spec: spec, passphrase: passphrase}
				return t.run(ctx)
			}
		}
		errs = append(errs, err)
	}
	var mistyped *keyring.RecoveryError
	if err := errors.Join(errs...); errors.As(err, &mistyped) {
		return nil, "", err
	}
	return nil, "", hint(errors.Join(errs...), "the repository's key slots are: %s", u.slotNames())
}

func combinedType(t keyring.Type) bool { return t == keyring.TypeFIDO2Passphrase }

// withTyped asks on the terminal; the question begins with before. Where there are both kinds of slots, either
// may be typed: a recovery key can't be mistaken for anything else.
func (u *unlocker) withTyped(ctx context.Context, before string) (*seal.Key, string, error) {
	passphrases, recoveries := u.has(keyring.TypePassphrase), u.has(keyring.TypeRecovery)
	what := "passphrase"
	switch {
	case passphrases && recoveries:
		what = "passphrase or recovery key"
	case recoveries:
		what = "recovery key"
	}
	if before == "" {
		what = strings.ToUpper(what[:1]) + what[1:]
	}
	for try := 1; ; try++ {
		typed, err := u.ask.Secret(ctx, fmt.Sprintf("%s%s for %s: ", before, what, shown(u.repo.path)))
		if err != nil {
			return nil, "", err
		}
		key, slot, err := u.tryTyped(ctx, typed, passphrases, recoveries)
		seal.Wipe(typed)
		if err == nil || ctx.Err() != nil || !wrongSecret(err) || try == maxTries {
			return key, slot, err
		}
		u.term.notice("%v; try again", err)
	}
}

func (u *unlocker) tryTyped(ctx context.Context, typed []byte, passphrases, recoveries bool) (*seal.Key, string, error) {
	if len(typed) == 0 {
		return nil, "", say(errNoSecret, "nothing was typed")
	}
	if !recoveries {
		return u.tryPassphrase(ctx, typed)
	}
	key, slot, recoveryErr := u.tryRecovery(typed)
	if recoveryErr == nil || !passphrases {
		return key, slot, recoveryErr
	}
	key, slot, err := u.tryPassphrase(ctx, typed)
	if wrongSecret(err) && len(typed) >= recoveryLength { // it was meant to be the other
		err = recoveryErr
	}
	return key, slot, err
}

// wrongSecret tells whether typing again can help.
func wrongSecret(err error) bool {
	var mistyped *keyring.RecoveryError
	return errors.Is(err, keyring.ErrWrongSecret) || errors.Is(err, errNoSecret) || errors.As(err, &mistyped)
}

func (u *unlocker) tryRecovery(text []byte) (*seal.Key, string, error) {
	recovery, err := keyring.ParseRecovery(text)
	if err != nil {
		return nil, "", err
	}
	defer recovery.Destroy()
	return u.tryEach(keyring.TypeRecovery, "the recovery key", func(keyring.Slot) (keyring.Secret, error) {
		return keyring.Secret{Recovery: recovery}, nil
	})
}

func (u *unlocker) tryPassphrase(ctx context.Context, passphrase []byte) (*seal.Key, string, error) {
	var derived *seal.Key
	defer func() { derived.Destroy() }()
	return u.tryEach(keyring.TypePassphrase, "the passphrase", func(s keyring.Slot) (keyring.Secret, error) {
		derived.Destroy()
		var err error
		derived, err = kdf(ctx, passphrase, *s.Argon2)
		return keyring.Secret{Passphrase: derived}, err
	})
}

// tryEach tries all slots of a type. A wrong secret is told only when no slot
// had a worse problem.
func (u *unlocker) tryEach(t keyring.Type, what string, secret func(keyring.Slot) (keyring.Secret, error)) (*seal.Key, string, error) {
	slots := u.slots(func(have keyring.Type) bool { return have == t })
	if len(slots) == 0 {
		return nil, "", say(errNoSecret, "no key slot takes %s", strings.Replace(what, "the ", "a ", 1))
	}
	worse := error(nil)
	for _, s := range slots {
		parts, err := secret(s)
		if err != nil {
			return nil, "", err
		}
		key, err := s.Open(u.repo.config.ID, parts)
		if err == nil {
			return key, s.ID.String(), nil
		}
		if !errors.Is(err, keyring.ErrWrongSecret) {
			worse = err
		}
	}
	if worse != nil {
		return nil, "", worse
	}
	return nil, "", say(keyring.ErrWrongSecret, "%s is wrong", what)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bkfs/archive/seal"
	"bkfs/hardware"
	"bkfs/keyring"
)

// defaultWait is how long a person gets to plug the token in.
const defaultWait = 30 * time.Second

// tokenTry is an attempt to unlock with a token.
type tokenTry struct {
	*unlocker
	slots      []keyring.Slot // that may be opened
	spec       hardware.Spec  // where tokens are looked for
	passphrase []byte         // was given; nil: asked for when a slot needs it
	typing     bool           // a passphrase or recovery key may be typed instead
	typed      bool           // … and was asked for

	session *tokenSession
	match   keyring.Match // that opened
}

// run finds a token that made one of the slots' credentials, or waits for it, and opens the slot with its secret.
func (t *tokenTry) run(ctx context.Context) (*seal.Key, string, error) {
	t.session = t.tokens(t.spec, t.slots, "")
	defer t.session.Close()
	credentials := make([]keyring.FIDO2, len(t.slots))
	for i, s := range t.slots {
		credentials[i] = *s.FIDO2
	}
	matches, err := t.session.Find(ctx, credentials)
	if len(matches) > 0 {
		return t.open(ctx, matches, credentials)
	}
	if ctx.Err() != nil || errors.Is(err, hardware.ErrUnsupported) {
		return nil, "", t.notFound(err)
	}
	wait := t.waitTime()
	if wait <= 0 {
		return nil, "", t.notFound(err)
	}
	t.term.notice("%v", t.notFound(err))
	waiting, stop := context.WithTimeout(ctx, wait)
	defer stop()
	if t.typing && t.onTerminal() && len(t.unlocker.slots(typedType)) > 0 {
		return t.either(ctx, waiting, credentials)
	}
	t.term.notice("Plug in your token… (waiting %v; --wait)", wait)
	matches, later := t.session.Await(waiting, credentials)
	if len(matches) == 0 {
		return nil, "", t.notFound(errors.Join(err, later))
	}
	return t.open(ctx, matches, credentials)
}

// notFound says why there is no match, and which tokens there should be.
func (t *tokenTry) notFound(err error) error {
	if err != nil {
		return fmt.Errorf("look for a token: %w", err)
	}
	var names []string
	for _, s := range t.slots {
		name := s.ID.String()
		if s.Label != "" {
			name = shown(s.Label)
		}
		names = append(names, name)
	}
	return say(hardware.ErrNoToken, "no plugged-in token opens this repository; its tokens: %s", strings.Join(names, ", "))
}

// waitTime is --wait, or what suits who runs the program.
func (a *app) waitTime() time.Duration {
	switch {
	case a.wait.set:
		return a.wait.d
	case a.onTerminal():
		return defaultWait
	}
	return 0
}

// either waits for a token and for what is typed, whichever comes first. Typing may take longer.
func (t *tokenTry) either(ctx, waiting context.Context, credentials []keyring.FIDO2) (*seal.Key, string, error) {
	t.typed = true
	typing, stopTyping := context.WithCancel(ctx)
	defer stopTyping()
	waiting, stopWaiting := context.WithCancel(waiting)
	defer stopWaiting()
	found := make(chan []keyring.Match, 1)
	go func() {
		matches, err := t.session.Await(waiting, credentials)
		switch {
		case len(matches) > 0:
			stopTyping()
		case err != nil && waiting.Err() == nil:
			t.term.notice("%v", err)
		}
		found <- matches
	}()
	key, slot, err := t.withTyped(typing, "Plug in your token, or type the ")
	stopWaiting()
	matches := <-found
	switch {
	case err == nil, ctx.Err() != nil, len(matches) == 0:
		return key, slot, err
	}
	return t.open(ctx, matches, credentials)
}

// open gets the secret of one of the matches and opens its slot. A token alone comes before one with a passphrase.
func (t *tokenTry) open(ctx context.Context, matches []keyring.Match, credentials []keyring.FIDO2) (*seal.Key, string, error) {
	var errs []error
	for _, combined := range []bool{false, true} {
		left := slices.Clone(matches)
		left = slices.DeleteFunc(left, func(m keyring.Match) bool { return t.slots[m.Credential].Type.Passphrase() != combined })
		for len(left) > 0 {
			m, key, err := t.openOne(ctx, left, credentials, combined)
			if err == nil {
				t.match, t.device = m, m.Device
				return key, t.slots[m.Credential].ID.String(), nil
			}
			errs = append(errs, err)
			if ctx.Err() != nil || final(err) {
				return nil, "", errors.Join(errs...)
			}
			n := len(left)
			left = slices.DeleteFunc(left, func(other keyring.Match) bool { return other == m })
			if len(left) == n {
				break // none of them gave a secret
			}
		}
	}
	return nil, "", errors.Join(errs...)
}

// final tells whether another match must not be tried: a PIN is never tried
// again by itself.
func final(err error) bool {
	return errors.Is(err, hardware.ErrPINInvalid) || errors.Is(err, errNoSecret)
}

// openOne returns the match it got a secret of, also when that doesn't open the slot.
func (t *tokenTry) openOne(ctx context.Context, matches []keyring.Match, credentials []keyring.FIDO2, combined bool) (keyring.Match, *seal.Key, error) {
	none := keyring.Match{Credential: -1}
	passphrase := t.passphrase
	if combined && passphrase == nil {
		if !t.ask.Available() {
			return none, nil, hint(errNoSecret, "key slot %s needs the passphrase too: set BKFS_PASSPHRASE or run bkfs on a terminal", t.slots[matches[0].Credential].ID)
		}
		typed, err := t.ask.Secret(ctx, fmt.Sprintf("Passphrase for %s: ", shown(t.repo.path)))
		if err != nil {
			return none, nil, err
		}
		defer seal.Wipe(typed)
		passphrase = typed
	}
	m, secret, err := t.session.Secret(ctx, matches, credentials)
	if err != nil {
		return none, nil, tokenHint(err)
	}
	parts := keyring.Secret{Token: secret}
	defer func() { parts.Destroy() }()
	slot := t.slots[m.Credential]
	if combined {
		if parts.Passphrase, err = kdf(ctx, passphrase, *slot.Argon2); err != nil {
			return m, nil, err
		}
	}
	key, err := slot.Open(t.repo.config.ID, parts)
	switch {
	case errors.Is(err, keyring.ErrWrongSecret) && combined:
		err = say(err, "the token fits key slot %s, and the passphrase is wrong", slot.ID)
	case errors.Is(err, keyring.ErrWrongSecret):
		err = hint(fmt.Errorf("token %s: %w", shown(m.Device), err), "the token doesn't give the secret it gave at enrolment, or the key slot was changed")
	}
	return m, key, err
}

// tokenHint says what to do about a token's trouble.
func tokenHint(err error) error {
	switch {
	case errors.Is(err, hardware.ErrPINNotSet):
		return hint(err, "the token's PIN was removed, or the token was reset; use another key")
	case errors.Is(err, hardware.ErrPINAuthBlocked):
		return hint(err, "unplug the token, plug it in again, and be sure of the PIN")
	case errors.Is(err, hardware.ErrPINBlocked):
		return hint(err, "use another key; the token must be reset, and then be enrolled anew")
	case errors.Is(err, hardware.ErrUVFailed):
		return hint(err, "try again; if the token stays blocked, unplug it and plug it in again")
	}
	return err
}

package hardware

import (
	"context"
	"errors"
	"fmt"

	"bkfs/archive/seal"
	"bkfs/keyring"
)

// contender is one device with what it may be asked for, in the order of the matches.
type contender struct {
	name    string
	matches []keyring.Match
}

// Secret makes the real assertion with one match, under its credential's own policy, and checks that it was followed.
// What needs nobody is tried first; then all tokens that need a touch only are asked side by side, and the first one
// touched gives the secret; then one that needs its PIN. A wrong PIN is an ErrPINInvalid (*PINError), which no other
// token is tried after.
func (t *Tokens) Secret(ctx context.Context, matches []keyring.Match, credentials []keyring.FIDO2) (keyring.Match, *seal.Key, error) {
	var alone, touched, pinned []keyring.Match
	for _, m := range matches {
		if m.Credential < 0 || m.Credential >= len(credentials) {
			return m, nil, fmt.Errorf("token %s: no credential %d", m.Device, m.Credential)
		}
		switch c := credentials[m.Credential]; {
		case c.PIN:
			pinned = append(pinned, m)
		case c.UserPresence || c.UserVerification:
			touched = append(touched, m)
		default:
			alone = append(alone, m)
		}
	}
	var errs []error
	for _, stage := range []struct {
		matches []keyring.Match
		try     func(context.Context, []contender, []keyring.FIDO2) (keyring.Match, *seal.Key, error)
		after   error // only when this went wrong before
	}{{alone, t.oneByOne, nil}, {touched, t.race, nil}, {touched, t.verifyByPIN, ErrUVFailed}, {pinned, t.byPIN, nil}} {
		if len(stage.matches) == 0 || stage.after != nil && !errors.Is(errors.Join(errs...), stage.after) {
			continue
		}
		m, key, err := stage.try(ctx, contenders(stage.matches), credentials)
		if key != nil {
			return m, key, nil
		}
		if ctx.Err() != nil {
			return m, nil, ended(ctx)
		}
		if err != nil {
			errs = append(errs, err)
		}
		if settles(err) {
			break
		}
	}
	if len(errs) == 0 {
		errs = append(errs, ErrNoToken)
	}
	return keyring.Match{}, nil, errors.Join(errs...)
}

// settles tells whether nothing else may be tried: no PIN by itself after a wrong one, or after the user gave none.
func settles(err error) bool {
	var ask *askError
	return errors.Is(err, ErrPINInvalid) || errors.As(err, &ask)
}

// contenders groups matches by device.
func contenders(matches []keyring.Match) []contender {
	var out []contender
	at := map[string]int{}
	for _, m := range matches {
		i, ok := at[m.Device]
		if !ok {
			i = len(out)
			at[m.Device] = i
			out = append(out, contender{name: m.Device})
		}
		out[i].matches = append(out[i].matches, m)
	}
	return out
}

func (t *Tokens) oneByOne(ctx context.Context, all []contender, credentials []keyring.FIDO2) (keyring.Match, *seal.Key, error) {
	var errs []error
	for _, c := range all {
		m, key, err := t.contend(ctx, c, credentials)
		if err == nil {
			return m, key, nil
		}
		errs = append(errs, err)
	}
	return keyring.Match{}, nil, errors.Join(errs...)
}

// race asks all at the same time. The first secret wins, and the others stop blinking.
func (t *Tokens) race(ctx context.Context, all []contender, credentials []keyring.FIDO2) (keyring.Match, *seal.Key, error) {
	racing, stop := context.WithCancel(ctx)
	defer stop()
	var asked []Asked
	for _, c := range all {
		m := c.matches[0]
		asked = append(asked, Asked{t.label(m), m.Credential})
	}
	t.touch(asked...)
	type arrival struct {
		match keyring.Match
		key   *seal.Key
		err   error
	}
	arrivals := make(chan arrival)
	for _, c := range all {
		go func() {
			m, key, err := t.contend(racing, c, credentials)
			arrivals <- arrival{m, key, err}
		}()
	}
	var first arrival
	var errs []error
	for range all {
		a := <-arrivals
		switch {
		case a.err != nil:
			if first.key == nil && ctx.Err() == nil {
				t.options.Log.Info(a.err.Error())
				errs = append(errs, a.err)
			}
		case first.key == nil:
			first = a
			stop()
		default:
			a.key.Destroy() // touched at the same moment
		}
	}
	return first.match, first.key, errors.Join(errs...)
}

// contend tries what one device may have.
func (t *Tokens) contend(ctx context.Context, c contender, credentials []keyring.FIDO2) (keyring.Match, *seal.Key, error) {
	d, err := t.find(ctx, c.name)
	if err != nil {
		return keyring.Match{}, nil, fmt.Errorf("token %s: %w", c.name, err)
	}
	var errs []error
	for _, m := range c.matches {
		key, err := t.verified(d, func() (*seal.Key, error) { return t.assert(ctx, d, credentials[m.Credential], nil) })
		if err == nil {
			return m, key, nil
		}
		errs = append(errs, fmt.Errorf("token %s: %w", d.label(), err))
		if ctx.Err() != nil || errors.Is(err, ErrTimeout) || errors.Is(err, ErrLost) {
			break // it would be the same again
		}
	}
	return keyring.Match{}, nil, errors.Join(errs...)
}

// uvTries is how often a finger may be put on the token; most block their sensor after three.
const uvTries = 2

// verified makes an attempt again when the token's own verification of its user failed and may be tried again.
func (t *Tokens) verified(d device, attempt func() (*seal.Key, error)) (*seal.Key, error) {
	for try := 1; ; try++ {
		key, err := attempt()
		if try == uvTries || !errors.Is(err, ErrUVFailed) || errors.Is(err, ErrUVBlocked) {
			return key, err
		}
		t.notice(fmt.Sprintf("token %s did not recognise its user: once more", d.label()))
	}
}

// verifyByPIN is for tokens that verify their user themselves and could not: their PIN gives the same secret (CTAP
// 2.1, clause 12.5: it differs with user verification, whatever its kind). Where that can't be, there is no error.
func (t *Tokens) verifyByPIN(ctx context.Context, all []contender, credentials []keyring.FIDO2) (keyring.Match, *seal.Key, error) {
	for _, c := range all {
		for _, m := range c.matches {
			if !credentials[m.Credential].UserVerification {
				continue
			}
			d, err := t.find(ctx, c.name)
			if err != nil {
				continue // which the race has told
			}
			p, err := t.detail(ctx, d)
			if err != nil || !p.usesPIN() {
				continue
			}
			t.notice(fmt.Sprintf("token %s: its PIN does as well", d.label()))
			return t.typed(ctx, d, p, m, credentials)
		}
	}
	return keyring.Match{}, nil, nil
}

// byPIN lets the user choose one of several, who knows whose PIN it is.
func (t *Tokens) byPIN(ctx context.Context, all []contender, credentials []keyring.FIDO2) (keyring.Match, *seal.Key, error) {
	if len(all) > 1 && t.options.UI.Choose != nil {
		choices := make([]Choice, len(all))
		for i, c := range all {
			choices[i] = Choice{Info{Device: c.name, Product: c.matches[0].Product, PIN: true, PINRetries: -1}, c.matches[0].Credential}
		}
		n, err := t.options.UI.Choose(ctx, choices)
		if err != nil {
			return keyring.Match{}, nil, &askError{err}
		}
		if n < 0 || n >= len(all) {
			return keyring.Match{}, nil, ErrSeveral
		}
		all = all[n : n+1]
	}
	var errs []error
	for _, c := range all {
		d, err := t.find(ctx, c.name)
		var p *properties
		if err == nil {
			p, err = t.detail(ctx, d)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("token %s: %w", c.name, err))
			continue
		}
		for _, m := range c.matches {
			m, key, err := t.typed(ctx, d, p, m, credentials)
			if err == nil {
				return m, key, nil
			}
			errs = append(errs, err)
			if ctx.Err() != nil || settles(err) {
				return m, nil, errors.Join(errs...)
			}
			if !errors.Is(err, ErrNoToken) {
				break // the next credential of this token fares no better
			}
		}
	}
	return keyring.Match{}, nil, errors.Join(errs...)
}

// typed makes the assertion with a PIN.
func (t *Tokens) typed(ctx context.Context, d device, p *properties, m keyring.Match, credentials []keyring.FIDO2) (keyring.Match, *seal.Key, error) {
	c := credentials[m.Credential]
	asked := Asked{d.label(), m.Credential}
	var key *seal.Key
	err := t.withPIN(ctx, d, p, asked, func(pin []byte) (err error) {
		if c.UserPresence {
			t.touch(asked)
		}
		key, err = t.assert(ctx, d, c, pin)
		return err
	})
	if err != nil {
		return m, nil, fmt.Errorf("token %s: %w", d.label(), err)
	}
	return m, key, nil
}

// label is a match's device for the user.
func (t *Tokens) label(m keyring.Match) string {
	if m.Product == "" {
		return m.Device
	}
	return m.Product + ", " + m.Device
}

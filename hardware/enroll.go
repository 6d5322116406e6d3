package hardware

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"bkfs/archive/seal"
	"bkfs/keyring"
)

// Enroll makes a credential on the one token that can have it: with several, the user chooses. It takes three
// touches: to make the credential, to get its secret, and to see that the token gives the same secret again.
func (t *Tokens) Enroll(ctx context.Context, r keyring.EnrollRequest) (keyring.FIDO2, *seal.Key, error) {
	if len(r.Salt) != saltSize {
		return keyring.FIDO2{}, nil, fmt.Errorf("enrol a token: a salt of %d bytes, want %d", len(r.Salt), saltSize)
	}
	d, p, err := t.eligible(ctx, &r)
	if err != nil {
		return keyring.FIDO2{}, nil, fmt.Errorf("enrol a token: %w", err)
	}
	f, key, err := t.enroll(ctx, d, p, &r)
	if err != nil {
		return keyring.FIDO2{}, nil, fmt.Errorf("enrol token %s: %w", d.label(), err)
	}
	return f, key, nil
}

// eligible finds the token to enrol. One reason why not is the error; several are a *ProbeError.
func (t *Tokens) eligible(ctx context.Context, r *keyring.EnrollRequest) (device, *properties, error) {
	references, err := refer(r.Exclude)
	if err != nil {
		return device{}, nil, err
	}
	devices, reasons := t.devices(ctx)
	var good []finding
	answered := false
	for _, f := range t.inspect(ctx, devices, request{Credentials: references, Details: true}) {
		err := f.err
		if err == nil {
			answered = true
			err = suits(f.answer, r)
		}
		if err != nil {
			reasons = append(reasons, fmt.Errorf("token %s: %w", f.device.label(), err))
			continue
		}
		good = append(good, f)
	}
	if ctx.Err() != nil {
		return device{}, nil, ended(ctx)
	}
	switch {
	case len(good) == 0 && len(reasons) == 0:
		return device{}, nil, fmt.Errorf("%w: none is plugged in", ErrNoToken)
	case len(good) == 0 && len(reasons) == 1:
		return device{}, nil, reasons[0]
	case len(good) == 0:
		return device{}, nil, &ProbeError{reasons, answered}
	}
	for _, err := range reasons {
		t.notice(err.Error())
	}
	chosen, err := t.choose(ctx, good)
	if err != nil {
		return device{}, nil, err
	}
	for i, c := range r.Exclude {
		if good[chosen].answer.verdict(i, c) != unclear {
			continue
		}
		t.notice(fmt.Sprintf("token %s doesn't answer silent questions, so it can't be told whether it is enrolled already", good[chosen].device.label()))
		break
	}
	return good[chosen].device, good[chosen].answer.Properties, nil
}

// suits tells why a token cannot have the slot.
func suits(a *answer, r *keyring.EnrollRequest) error {
	p := a.Properties
	switch {
	case !p.hmacSecret():
		return ErrNoHMACSecret
	case slices.Contains(a.Verdicts, uint(mine)):
		return ErrEnrolled
	case r.RequirePIN && !p.Options[optionPIN]:
		return ErrPINNotSet
	case r.RequirePIN && p.Options[optionUVOnly]:
		return fmt.Errorf("%w: its PIN doesn't do for this, only its own user verification", ErrPolicy)
	case r.RequireUV && !p.Options[optionUV] && !p.Options[optionPIN]:
		return fmt.Errorf("%w: it has neither user verification of its own, or none is set up, nor a PIN", ErrPolicy)
	case p.Options[optionAlwaysUV] && !p.Options[optionUV] && !p.Options[optionPIN]:
		return fmt.Errorf("%w: it always verifies its user, and neither a PIN nor anything else is set up for that", ErrPINNotSet)
	}
	return nil
}

// adapt makes the request what the token can follow for ever, and tells the user what that changes.
func (t *Tokens) adapt(d device, p *properties, r *keyring.EnrollRequest) {
	uv, pin := p.Options[optionUV], p.Options[optionPIN]
	switch {
	case r.RequirePIN:
	case r.RequireUV && !uv:
		r.RequirePIN = true
		t.notice(fmt.Sprintf("token %s verifies its user by its PIN: the slot will ask for that", d.label()))
	case !r.RequireUV && p.Options[optionAlwaysUV] && uv:
		r.RequireUV = true
		t.notice(fmt.Sprintf("token %s always verifies its user: the slot will ask for that too", d.label()))
	case !r.RequireUV && p.Options[optionAlwaysUV] && pin:
		r.RequirePIN = true
		t.notice(fmt.Sprintf("token %s always asks for its PIN: the slot will ask for it too", d.label()))
	}
}

func (t *Tokens) choose(ctx context.Context, good []finding) (int, error) {
	if len(good) == 1 {
		return 0, nil
	}
	choices := make([]Choice, len(good))
	err := ErrSeveral
	for i, f := range good {
		choices[i] = Choice{describe(f), -1}
		err = fmt.Errorf("%w: %s", err, f.device.label())
	}
	if t.options.UI.Choose == nil {
		return 0, err
	}
	n, err := t.options.UI.Choose(ctx, choices)
	if err == nil && (n < 0 || n >= len(good)) {
		err = ErrSeveral
	}
	return n, err
}

func (t *Tokens) enroll(ctx context.Context, d device, p *properties, r *keyring.EnrollRequest) (keyring.FIDO2, *seal.Key, error) {
	if r.RequireUP {
		t.notice("The key will ask to be touched three times: to make a credential, to get its secret, and to see that it gives the same again.")
	}
	t.adapt(d, p, r)
	f := keyring.FIDO2{Salt: bytes.Clone(r.Salt), RPID: r.RPID, Algorithm: r.Algorithm}
	if len(p.AAGUID) == len(f.AAGUID) {
		f.AAGUID = keyring.AAGUID(p.AAGUID)
	}
	var key *seal.Key
	attempt := func(pin []byte) (err error) {
		_, err = t.verified(d, func() (_ *seal.Key, err error) {
			f.CredentialID, err = t.create(ctx, d, p, r, bytes.Clone(pin))
			return nil, err
		})
		if err != nil {
			return err
		}
		f.PIN, f.UserPresence, f.UserVerification = r.RequirePIN, r.RequireUP, r.RequireUV
		if f.PIN {
			key, err = t.prove(ctx, d, &f, pin)
			return err
		}
		key, err = t.prove(ctx, d, &f, nil)
		if errors.Is(err, ErrPINRequired) && p.Options[optionPIN] {
			t.notice(fmt.Sprintf("token %s gives its secret for its PIN only: the slot will ask for it too", d.label()))
			r.RequirePIN = true
			if pin != nil {
				f.PIN = true
				key, err = t.prove(ctx, d, &f, pin)
			}
		}
		return err
	}
	err := ErrPINRequired
	if !r.RequirePIN && !asksPIN(p, r) {
		err = attempt(nil)
	}
	// Nothing was tried yet, or the token wants a PIN although it didn't say so.
	if errors.Is(err, ErrPINRequired) && (r.RequirePIN || p.Options[optionPIN]) {
		err = t.withPIN(ctx, d, p, Asked{d.label(), -1}, attempt)
	}
	if err == nil {
		err = t.seek(ctx, d, &f)
	}
	if err != nil {
		key.Destroy()
		return f, nil, err
	}
	return f, key, nil
}

// seek asks silently for the new credential, as unlocking will. A token that denies it is recorded as such.
func (t *Tokens) seek(ctx context.Context, d device, f *keyring.FIDO2) error {
	references, err := refer([]keyring.FIDO2{*f})
	if err != nil {
		return err
	}
	found := t.inspect(ctx, []device{d}, request{Credentials: references})[0]
	if found.err != nil {
		return found.err
	}
	if verdict(found.answer.Verdicts[0]) == notMine {
		f.Hidden = true
		t.notice(fmt.Sprintf("token %s doesn't tell silently which credentials it made: unlocking will ask every token of its model", d.label()))
	}
	return nil
}

// asksPIN tells whether a token with a PIN wants it to make a credential, whatever the slot's policy will be.
func asksPIN(p *properties, r *keyring.EnrollRequest) bool {
	return p.usesPIN() && !r.RequireUV && (!p.Options[optionNoPINMake] || p.Options[optionAlwaysUV])
}

// verifiesToMake tells whether the token's own verification is what makes a credential.
func verifiesToMake(p *properties, r *keyring.EnrollRequest) bool {
	return r.RequireUV || p.Options[optionUV] && !p.usesPIN() && (!p.Options[optionNoPINMake] || p.Options[optionAlwaysUV])
}

// prove gets the new credential's secret twice: it must be the same. A token that verifies its user unasked gives the
// secret that goes with it, so that becomes the slot's policy.
func (t *Tokens) prove(ctx context.Context, d device, f *keyring.FIDO2, pin []byte) (*seal.Key, error) {
	get := func() (*seal.Key, error) {
		if f.UserPresence {
			t.touch(Asked{d.label(), -1})
		}
		return t.assert(ctx, d, *f, pin)
	}
	key, err := t.verified(d, get)
	if !f.PIN && !f.UserVerification && errors.Is(err, errUnaskedVerification) {
		f.UserVerification = true
		key, err = t.verified(d, get)
	}
	if err != nil {
		return nil, err
	}
	again, err := t.verified(d, get)
	if err != nil {
		key.Destroy()
		return nil, err
	}
	defer again.Destroy()
	if !key.Equal(again) {
		key.Destroy()
		return nil, fmt.Errorf("%w: another one each time", ErrSecret)
	}
	return key, nil
}

// create makes the credential, whose id it checks against what the token signed. It wipes pin.
func (t *Tokens) create(ctx context.Context, d device, p *properties, r *keyring.EnrollRequest, pin []byte) ([]byte, error) {
	algorithm := algES256
	if r.Algorithm == keyring.EdDSA {
		algorithm = algEdDSA
	}
	t.touch(Asked{d.label(), -1})
	a, err := t.call(ctx, t.options.TouchTimeout, &request{
		Op: opCreate, Device: d.at.Path, RPID: r.RPID, PIN: pin, Algorithm: algorithm,
		Verify: len(pin) == 0 && verifiesToMake(p, r), Unprotected: slices.Contains(p.Extensions, extensionProtect),
		UserID: r.RepositoryID[:], UserName: r.RepositoryID.String(), DisplayName: clip(r.Label),
	})
	if err != nil {
		return nil, err
	}
	data, err := parseAuthData(a.AuthData)
	if err != nil {
		return nil, err
	}
	if data.rpIDHash != sha256.Sum256([]byte(r.RPID)) || !bytes.Equal(data.attested, a.CredentialID) {
		return nil, fmt.Errorf("%w: it made another credential than it was asked for", ErrPolicy)
	}
	return a.CredentialID, nil
}

// clip shortens a display name to what every token takes.
func clip(s string) string {
	for len(s) > maxUserField {
		r := []rune(s)
		s = string(r[:len(r)-1])
	}
	return s
}

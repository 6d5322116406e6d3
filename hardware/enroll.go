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
	for _, f := range t.inspect(ctx, devices, request{Credentials: references}) {
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
	case r.RequireUV && !r.RequirePIN && !p.Options[optionUV]:
		return fmt.Errorf("%w: it has no user verification of its own, or none is set up", ErrPolicy)
	}
	return nil
}

func (t *Tokens) choose(ctx context.Context, good []finding) (int, error) {
	if len(good) == 1 {
		return 0, nil
	}
	infos := make([]Info, len(good))
	err := ErrSeveral
	for i, f := range good {
		infos[i] = describe(f)
		err = fmt.Errorf("%w: %s", err, f.device.label())
	}
	if t.options.UI.Choose == nil {
		return 0, err
	}
	n, err := t.options.UI.Choose(ctx, infos)
	if err == nil && (n < 0 || n >= len(good)) {
		err = ErrSeveral
	}
	return n, err
}

func (t *Tokens) enroll(ctx context.Context, d device, p *properties, r *keyring.EnrollRequest) (keyring.FIDO2, *seal.Key, error) {
	if r.RequireUP {
		t.notice("The key will ask to be touched three times: to make a credential, to get its secret, and to see that it gives the same again.")
	}
	none := keyring.FIDO2{}
	var pin []byte
	// A token with a PIN wants it to make a credential, whatever the slot's policy will be.
	byItself := r.RequireUV && !r.RequirePIN
	if r.RequirePIN || p.Options[optionPIN] && !p.Options[optionNoPINMake] && !byItself {
		var err error
		if pin, err = t.askPIN(ctx, d, p); err != nil {
			return none, nil, err
		}
		defer seal.Wipe(pin)
	}
	f := keyring.FIDO2{
		Salt: bytes.Clone(r.Salt), RPID: r.RPID, Algorithm: r.Algorithm,
		PIN: r.RequirePIN, UserPresence: r.RequireUP, UserVerification: r.RequireUV,
	}
	if len(p.AAGUID) == len(f.AAGUID) {
		f.AAGUID = keyring.AAGUID(p.AAGUID)
	}
	id, err := t.create(ctx, d, r, bytes.Clone(pin), byItself)
	if err != nil {
		return none, nil, err
	}
	f.CredentialID = id
	if !r.RequirePIN {
		seal.Wipe(pin)
		pin = nil
	}
	key, f, err := t.first(ctx, d, f, pin)
	if err != nil {
		return none, nil, err
	}
	again, _, err := t.assert(ctx, d, f, pin)
	if err != nil {
		key.Destroy()
		return none, nil, err
	}
	defer again.Destroy()
	if !key.Equal(again) {
		key.Destroy()
		return none, nil, fmt.Errorf("%w: another one each time", ErrSecret)
	}
	return f, key, nil
}

// first gets the new credential's secret. A token that verifies its user unasked gives the secret that goes with
// it, so that becomes the slot's policy.
func (t *Tokens) first(ctx context.Context, d device, f keyring.FIDO2, pin []byte) (*seal.Key, keyring.FIDO2, error) {
	key, _, err := t.assert(ctx, d, f, pin)
	if err == nil || f.PIN || f.UserVerification || !errors.Is(err, errUnaskedVerification) {
		return key, f, err
	}
	f.UserVerification = true
	key, _, err = t.assert(ctx, d, f, pin)
	return key, f, err
}

// create makes the credential, whose id it checks against what the token signed. It wipes pin.
func (t *Tokens) create(ctx context.Context, d device, r *keyring.EnrollRequest, pin []byte, byItself bool) ([]byte, error) {
	algorithm := algES256
	if r.Algorithm == keyring.EdDSA {
		algorithm = algEdDSA
	}
	t.touch(d.label())
	a, err := t.call(ctx, t.options.TouchTimeout, &request{
		Op: opCreate, Device: d.at.Path, RPID: r.RPID, PIN: pin, Verify: byItself, Algorithm: algorithm,
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

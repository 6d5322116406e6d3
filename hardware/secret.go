package hardware

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"

	"bkfs/archive/seal"
	"bkfs/keyring"
)

// Secret makes the real assertion with the credential's own policy, and checks that it was followed. A wrong PIN
// is an ErrPINInvalid (*PINError) and is not asked for again.
func (t *Tokens) Secret(ctx context.Context, m keyring.Match, credential keyring.FIDO2) (*seal.Key, error) {
	d, err := t.find(ctx, m.Device)
	if err != nil {
		return nil, fmt.Errorf("token %s: %w", m.Device, err)
	}
	key, err := t.secret(ctx, d, credential)
	if err != nil {
		return nil, fmt.Errorf("token %s: %w", d.label(), err)
	}
	return key, nil
}

func (t *Tokens) secret(ctx context.Context, d device, credential keyring.FIDO2) (*seal.Key, error) {
	var pin []byte
	if credential.PIN {
		f := t.inspect(ctx, []device{d}, request{})[0]
		if f.err != nil {
			return nil, f.err
		}
		var err error
		if pin, err = t.askPIN(ctx, d, f.answer.Properties); err != nil {
			return nil, err
		}
		defer seal.Wipe(pin)
	}
	key, _, err := t.assert(ctx, d, credential, pin)
	return key, err
}

// askPIN asks the user once, having shown how many tries are left.
func (t *Tokens) askPIN(ctx context.Context, d device, p *properties) ([]byte, error) {
	switch {
	case !p.Options[optionPIN]:
		return nil, ErrPINNotSet
	case p.Retries == 0:
		return nil, ErrPINBlocked
	case t.options.UI.PIN == nil:
		return nil, ErrPINRequired
	}
	pin, err := t.options.UI.PIN(ctx, "PIN of "+d.label(), p.Retries)
	if err != nil {
		return nil, err
	}
	if len(pin) == 0 || len(pin) > maxPIN || bytes.IndexByte(pin, 0) >= 0 {
		seal.Wipe(pin)
		return nil, fmt.Errorf("%w: no token has such a PIN, so it was not tried", ErrPINInvalid)
	}
	return pin, nil
}

// assert gets the secret, and tells whether the token says that it verified its user. pin stays the caller's.
func (t *Tokens) assert(ctx context.Context, d device, c keyring.FIDO2, pin []byte) (*seal.Key, bool, error) {
	r := &request{
		Op: opSecret, Device: d.at.Path, Credentials: []reference{{c.RPID, c.CredentialID}}, Salt: c.Salt,
		PIN: bytes.Clone(pin), Presence: c.UserPresence, Verify: c.UserVerification && !c.PIN,
	}
	if c.UserPresence {
		t.touch(d.label())
	}
	a, err := t.call(ctx, t.options.TouchTimeout, r)
	if err != nil {
		if errors.Is(err, ErrTimeout) && c.UserPresence {
			err = fmt.Errorf("it was not touched: %w", err)
		}
		return nil, false, err
	}
	defer a.wipe()
	data, err := parseAuthData(a.AuthData)
	if err != nil {
		return nil, false, err
	}
	if err := data.follows(c); err != nil {
		return nil, false, err
	}
	switch {
	case len(a.Secret) != secretSize:
		return nil, false, fmt.Errorf("%w: %d bytes, want %d", ErrSecret, len(a.Secret), secretSize)
	case bytes.Count(a.Secret, []byte{0}) == secretSize:
		return nil, false, fmt.Errorf("%w: all zero", ErrSecret)
	}
	key, err := seal.KeyFrom(a.Secret)
	return key, data.flags&flagUV != 0, err
}

// Flags of authenticator data (WebAuthn level 2, section 6.1).
const (
	flagUP      = 0x01
	flagUV      = 0x04
	flagAT      = 0x40
	authDataMin = 32 + 1 + 4
)

// authData is what is looked at of authenticator data.
type authData struct {
	rpIDHash [32]byte
	flags    byte
	attested []byte // the credential id, when there is one
}

func parseAuthData(b []byte) (authData, error) {
	if len(b) < authDataMin {
		return authData{}, fmt.Errorf("%w: authenticator data of %d bytes", ErrLost, len(b))
	}
	d := authData{rpIDHash: [32]byte(b), flags: b[32]}
	if d.flags&flagAT == 0 {
		return d, nil
	}
	const idStart = authDataMin + 16 + 2 // after AAGUID and the id's length
	if len(b) < idStart {
		return authData{}, fmt.Errorf("%w: attested credential data cut short", ErrLost)
	}
	n := int(b[idStart-2])<<8 | int(b[idStart-1])
	if len(b)-idStart < n {
		return authData{}, fmt.Errorf("%w: attested credential data cut short", ErrLost)
	}
	d.attested = b[idStart : idStart+n]
	return d, nil
}

var errUnaskedVerification = fmt.Errorf("%w: it verified its user, which gives another secret", ErrPolicy)

// follows checks the policy in what the token says that it did. Without it a token could give, with a straight
// face, the secret of the other user verification, or one for which nobody touched it.
func (d authData) follows(c keyring.FIDO2) error {
	verified, want := d.flags&flagUV != 0, c.PIN || c.UserVerification
	switch {
	case d.rpIDHash != sha256.Sum256([]byte(c.RPID)):
		return fmt.Errorf("%w: it answered for another relying party", ErrPolicy)
	case c.UserPresence && d.flags&flagUP == 0:
		return fmt.Errorf("%w: it says that it was not touched", ErrPolicy)
	case want && !verified:
		return fmt.Errorf("%w: it says that it did not verify its user", ErrPolicy)
	case !want && verified:
		return errUnaskedVerification
	}
	return nil
}

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

// assert gets the secret under the credential's policy. pin stays the caller's. The user has been told to touch.
func (t *Tokens) assert(ctx context.Context, d device, c keyring.FIDO2, pin []byte) (*seal.Key, error) {
	r := &request{
		Op: opSecret, Device: d.at.Path, Credentials: []reference{{c.RPID, c.CredentialID}}, Salt: c.Salt,
		PIN: bytes.Clone(pin), Presence: c.UserPresence, Verify: c.UserVerification && len(pin) == 0,
	}
	a, err := t.call(ctx, t.options.TouchTimeout, r)
	if err != nil {
		if errors.Is(err, ErrTimeout) && c.UserPresence {
			err = fmt.Errorf("it was not touched: %w", err)
		}
		return nil, err
	}
	defer a.wipe()
	data, err := parseAuthData(a.AuthData)
	if err != nil {
		return nil, err
	}
	if err := data.follows(c); err != nil {
		return nil, err
	}
	switch {
	case len(a.Secret) != secretSize:
		return nil, fmt.Errorf("%w: %d bytes, want %d", ErrSecret, len(a.Secret), secretSize)
	case bytes.Count(a.Secret, []byte{0}) == secretSize:
		return nil, fmt.Errorf("%w: all zero", ErrSecret)
	}
	return seal.KeyFrom(a.Secret)
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

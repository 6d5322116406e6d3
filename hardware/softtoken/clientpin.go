package softtoken

import (
	"bytes"
	"crypto/subtle"
	"slices"
)

// authenticatorClientPIN, clause 6.5.5.
const (
	subGetRetries    = 0x01
	subKeyAgreement  = 0x02
	subSetPIN        = 0x03
	subChangePIN     = 0x04
	subGetToken      = 0x05
	subGetTokenUV    = 0x06
	subGetUVRetries  = 0x07
	subGetTokenPIN   = 0x09
	permissionMake   = 0x01
	permissionAssert = 0x02
	maxFailures      = 3 // wrong PINs until the power must be cut
)

type pinRequest struct {
	Protocol    *uint    `cbor:"1,keyasint"`
	Subcommand  *uint    `cbor:"2,keyasint"`
	Key         *coseKey `cbor:"3,keyasint"`
	Auth        []byte   `cbor:"4,keyasint"`
	NewPIN      []byte   `cbor:"5,keyasint"`
	PINHash     []byte   `cbor:"6,keyasint"`
	Permissions *uint    `cbor:"9,keyasint"`
	RPID        string   `cbor:"10,keyasint"`
}

type pinResponse struct {
	Key       *coseKey `cbor:"1,keyasint,omitempty"`
	Token     []byte   `cbor:"2,keyasint,omitempty"`
	Retries   *int     `cbor:"3,keyasint,omitempty"`
	PowerCut  *bool    `cbor:"4,keyasint,omitempty"`
	UVRetries *int     `cbor:"5,keyasint,omitempty"`
}

func (c *command) clientPIN(body []byte) (any, error) {
	var r pinRequest
	if err := c.parse(body, &r); err != nil {
		return nil, err
	}
	if r.Subcommand == nil {
		return nil, errMissingParameter
	}
	switch *r.Subcommand {
	case subGetRetries:
		retries, cut := c.state.PIN.Retries, c.failed >= maxFailures
		return pinResponse{Retries: &retries, PowerCut: &cut}, nil
	case subGetUVRetries:
		if !c.Behaviour.UV {
			return nil, c.noSubcommand()
		}
		retries := max(maxUVRetries-c.state.UVFailures, 0)
		return pinResponse{UVRetries: &retries}, nil
	}
	p, err := c.protocol(r.Protocol)
	if err != nil {
		return nil, err
	}
	switch *r.Subcommand {
	case subKeyAgreement:
		key := p.publicKey()
		return pinResponse{Key: &key}, nil
	case subSetPIN:
		return nil, c.setPIN(p, &r)
	case subChangePIN:
		return nil, c.changePIN(p, &r)
	case subGetToken:
		if r.Permissions != nil || r.RPID != "" {
			return nil, errInvalidParameter
		}
		return c.tokenByPIN(p, &r, permissionMake|permissionAssert)
	case subGetTokenPIN, subGetTokenUV:
		if c.Behaviour.CTAP20 {
			return nil, c.noSubcommand()
		}
		return c.tokenWithPermissions(p, &r)
	default:
		return nil, c.noSubcommand()
	}
}

func (c *command) noSubcommand() error {
	if c.Behaviour.CTAP20 {
		return errInvalidParameter
	}
	return errInvalidSubcommand
}

func (c *command) protocol(version *uint) (*pinProtocol, error) {
	if version == nil {
		return nil, errMissingParameter
	}
	if !slices.Contains(c.protocols(), *version) {
		return nil, errInvalidParameter
	}
	return c.pins[*version], nil
}

func (c *command) setPIN(p *pinProtocol, r *pinRequest) error {
	if r.Key == nil || r.Auth == nil || r.NewPIN == nil {
		return errMissingParameter
	}
	if c.hasPIN() {
		return errPINAuthInvalid
	}
	keys, err := p.decapsulate(*r.Key)
	if err != nil {
		return err
	}
	if !keys.verify(r.Auth, r.NewPIN) {
		return errPINAuthInvalid
	}
	return c.storePIN(keys, r.NewPIN)
}

func (c *command) changePIN(p *pinProtocol, r *pinRequest) error {
	if r.Key == nil || r.Auth == nil || r.NewPIN == nil || r.PINHash == nil {
		return errMissingParameter
	}
	if err := c.pinUsable(); err != nil {
		return err
	}
	keys, err := p.decapsulate(*r.Key)
	if err != nil {
		return err
	}
	if !keys.verify(r.Auth, r.NewPIN, r.PINHash) {
		return errPINAuthInvalid
	}
	if err := c.checkPIN(p, keys, r.PINHash); err != nil {
		return err
	}
	return c.storePIN(keys, r.NewPIN)
}

func (c *command) storePIN(keys *sharedKeys, sealed []byte) error {
	padded, err := keys.decrypt(sealed)
	if err != nil {
		return err
	}
	if len(padded) != 64 {
		return errInvalidParameter
	}
	hash, err := hashPIN(bytes.TrimRight(padded, "\x00"))
	if err != nil {
		return errPINPolicy
	}
	c.failed = 0
	for _, p := range c.pins[1:] {
		if err := p.resetToken(); err != nil {
			return err
		}
	}
	return c.count(func(s *state) { s.PIN, s.UVFailures = pinState{Hash: hash, Retries: maxRetries}, 0 })
}

func (c *command) pinUsable() error {
	switch {
	case !c.hasPIN():
		return errPINNotSet
	case c.state.PIN.Retries == 0:
		return errPINBlocked
	case c.failed >= maxFailures:
		return errPINAuthBlocked
	}
	return nil
}

// checkPIN spends a try in the file before it compares (clause 6.5.5.7.1, step 7).
func (c *command) checkPIN(p *pinProtocol, keys *sharedKeys, sealed []byte) error {
	err := c.count(func(s *state) {
		s.Seen.PIN++
		s.PIN.Retries = max(s.PIN.Retries-1, 0)
	})
	if err != nil {
		return err
	}
	hash, err := keys.decrypt(sealed)
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(hash, c.state.PIN.Hash) != 1 {
		c.failed++
		if err := p.regenerate(); err != nil {
			return err
		}
		switch {
		case c.state.PIN.Retries == 0:
			return errPINBlocked
		case c.failed >= maxFailures:
			return errPINAuthBlocked
		}
		return errPINInvalid
	}
	c.failed = 0
	return c.count(func(s *state) { s.PIN.Retries, s.UVFailures = maxRetries, 0 })
}

func (c *command) tokenByPIN(p *pinProtocol, r *pinRequest, permissions byte) (any, error) {
	if r.Key == nil || r.PINHash == nil {
		return nil, errMissingParameter
	}
	if err := c.pinUsable(); err != nil {
		return nil, err
	}
	keys, err := p.decapsulate(*r.Key)
	if err != nil {
		return nil, err
	}
	if err := c.checkPIN(p, keys, r.PINHash); err != nil {
		return nil, err
	}
	return c.giveToken(p, keys, permissions, r.RPID, false)
}

func (c *command) tokenWithPermissions(p *pinProtocol, r *pinRequest) (any, error) {
	if r.Key == nil || r.Permissions == nil {
		return nil, errMissingParameter
	}
	permissions := *r.Permissions
	if permissions == 0 || permissions > 0xff {
		return nil, errInvalidParameter
	}
	if permissions&^(permissionMake|permissionAssert|permissionManage) != 0 {
		return nil, errUnauthorizedPermission
	}
	if r.RPID == "" && permissions&(permissionMake|permissionAssert) != 0 {
		return nil, errMissingParameter
	}
	if *r.Subcommand == subGetTokenPIN {
		return c.tokenByPIN(p, r, byte(permissions))
	}
	if !c.Behaviour.UV {
		return nil, errNotAllowed
	}
	keys, err := p.decapsulate(*r.Key)
	if err != nil {
		return nil, err
	}
	if err := c.performBuiltIn(); err != nil {
		return nil, err
	}
	return c.giveToken(p, keys, byte(permissions), r.RPID, true)
}

func (c *command) giveToken(p *pinProtocol, keys *sharedKeys, permissions byte, rpID string, present bool) (any, error) {
	for _, other := range c.pins[1:] {
		if err := other.resetToken(); err != nil {
			return nil, err
		}
	}
	p.begin(permissions, rpID, present)
	sealed, err := keys.encrypt(p.token)
	if err != nil {
		return nil, err
	}
	return pinResponse{Token: sealed}, nil
}

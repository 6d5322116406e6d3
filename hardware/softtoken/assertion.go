package softtoken

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
)

type assertRequest struct {
	RPID           string       `cbor:"1,keyasint"`
	ClientDataHash []byte       `cbor:"2,keyasint"`
	Allow          []descriptor `cbor:"3,keyasint"`
	Extensions     struct {
		HMACSecret *secretRequest `cbor:"hmac-secret"`
	} `cbor:"4,keyasint"`
	Options  options `cbor:"5,keyasint"`
	Auth     []byte  `cbor:"6,keyasint"`
	Protocol *uint   `cbor:"7,keyasint"`
}

// secretRequest is hmac-secret's input to getAssertion, clause 12.5.
type secretRequest struct {
	Key      *coseKey `cbor:"1,keyasint"`
	Salts    []byte   `cbor:"2,keyasint"`
	Auth     []byte   `cbor:"3,keyasint"`
	Protocol *uint    `cbor:"4,keyasint"`
}

type assertExtensions struct {
	HMACSecret []byte `cbor:"hmac-secret"`
}

type assertResponse struct {
	Credential descriptor `cbor:"1,keyasint"`
	AuthData   []byte     `cbor:"2,keyasint"`
	Signature  []byte     `cbor:"3,keyasint"`
}

// getAssertion is authenticatorGetAssertion, clause 6.2.2.
func (c *command) getAssertion(body []byte) (any, error) {
	var r assertRequest
	if err := c.parse(body, &r); err != nil {
		return nil, err
	}
	up := r.Options.UP == nil || *r.Options.UP
	err := c.count(func(s *state) {
		if up {
			s.Seen.Assertion++
		} else {
			s.Seen.Silent++
		}
	})
	if err != nil {
		return nil, err
	}
	if r.RPID == "" || len(r.ClientDataHash) != 32 {
		return nil, errMissingParameter
	}
	if r.Auth != nil && len(r.Auth) == 0 {
		return nil, c.probePIN()
	}
	if r.Options.RK != nil || !up && c.Behaviour.Quirks.RefuseSilent {
		return nil, errUnsupportedOption
	}
	verified, err := c.verifyUser(&r.Options, r.Protocol, r.Auth, r.ClientDataHash, permissionAssert, r.RPID)
	if err != nil {
		return nil, err
	}
	if c.Behaviour.AlwaysUV && up && !verified {
		if !c.Behaviour.UV {
			return nil, errPINRequired
		}
		verified = true
	}
	cred, id := c.find(&r, verified)
	if cred == nil {
		return nil, errNoCredentials
	}
	if up || verified && r.Auth == nil || c.Behaviour.Quirks.TouchSilent {
		if err := c.touch(); err != nil {
			return nil, err
		}
	}
	return c.assert(&r, cred, id, up, verified)
}

// find gives the first credential of the allow list that this token made and may use now (step 7).
func (c *command) find(r *assertRequest, verified bool) (*credential, []byte) {
	for _, d := range r.Allow {
		cred, mine := c.open(d.ID, r.RPID)
		if d.Type == publicKeyType && mine && (verified || cred.protect != protectRequired) {
			return cred, d.ID
		}
	}
	return nil, nil
}

func (c *command) assert(r *assertRequest, cred *credential, id []byte, up, verified bool) (any, error) {
	var extensions any
	if s := r.Extensions.HMACSecret; s != nil && cred.hmac && !c.Behaviour.NoSecret {
		if !up && !c.Behaviour.CTAP20 {
			return nil, errUnsupportedOption // 2.1 wants a touch for the secret; 2.0 did not say
		}
		output, err := c.hmacSecret(s, cred, verified)
		if err != nil {
			return nil, err
		}
		extensions = assertExtensions{output}
	}
	data, err := c.authData(r.RPID, up, verified, nil, extensions)
	if err != nil {
		return nil, err
	}
	signature, err := cred.sign(data, r.ClientDataHash)
	if err != nil {
		return nil, err
	}
	return assertResponse{descriptor{id, publicKeyType}, data, signature}, nil
}

// hmacSecret gives HMAC-SHA256(CredRandom, salt) for one or two salts, sealed for the platform.
func (c *command) hmacSecret(s *secretRequest, cred *credential, verified bool) ([]byte, error) {
	if s.Key == nil || s.Salts == nil || s.Auth == nil {
		return nil, errMissingParameter
	}
	version := uint(1) // what 2.0 platforms mean when they do not say
	if s.Protocol != nil {
		version = *s.Protocol
	}
	p, err := c.protocol(&version)
	if err != nil {
		return nil, err
	}
	keys, err := p.decapsulate(*s.Key)
	if err != nil {
		return nil, err
	}
	if !keys.verify(s.Auth, s.Salts) {
		return nil, errPINAuthInvalid
	}
	salts, err := keys.decrypt(s.Salts)
	if err != nil {
		return nil, err
	}
	if len(salts) != 32 && len(salts) != 64 {
		return nil, errInvalidLength
	}
	random := cred.withoutUV
	if verified {
		random = cred.withUV
	}
	var output []byte
	for ; len(salts) > 0; salts = salts[32:] {
		h := hmac.New(sha256.New, random)
		h.Write(salts[:32])
		output = h.Sum(output)
	}
	if c.Behaviour.Quirks.ZeroSecret {
		output = bytes.Repeat([]byte{0}, len(output))
	}
	if c.Behaviour.Quirks.ChangingSecret {
		if output, err = randomBytes(len(output)); err != nil {
			return nil, err
		}
	}
	return keys.encrypt(output)
}

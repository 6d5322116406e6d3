package softtoken

import (
	"crypto/hmac"
	"crypto/sha256"
	"time"
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
	Credential descriptor  `cbor:"1,keyasint"`
	AuthData   []byte      `cbor:"2,keyasint"`
	Signature  []byte      `cbor:"3,keyasint"`
	User       *userEntity `cbor:"4,keyasint,omitempty"`
	Count      int         `cbor:"5,keyasint,omitempty"`
}

// assertion is what all answers to one request have in common.
type assertion struct {
	rpID           string
	clientDataHash []byte
	present        bool
	verified       bool
	several        bool // discovered, and there are others: whose each is may be told
	secret         *secretRequest
	opened         *salts
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
	if c.Behaviour.AlwaysUV && up && !verified { // step 5: as if uv had been asked for
		if !c.Behaviour.UV {
			return nil, errPINRequired
		}
		if err := c.verifyBuiltIn(); err != nil {
			return nil, err
		}
		verified = true
	}
	found := c.find(&r, verified)
	if len(found) == 0 {
		return nil, errNoCredentials
	}
	if up || c.Behaviour.Quirks.TouchSilent {
		if err := c.presence(); err != nil {
			return nil, err
		}
		c.spend()
	}
	a := assertion{
		rpID: r.RPID, clientDataHash: r.ClientDataHash, present: up, verified: verified,
		several: len(found) > 1, secret: r.Extensions.HMACSecret,
	}
	if !a.several {
		return c.assert(&a, found[0], len(r.Allow) == 0)
	}
	answer, err := c.assert(&a, found[0], true)
	if err != nil {
		return nil, err
	}
	answer.Count = len(found)
	c.round = &round{a, found[1:], time.Now()}
	return answer, nil
}

// find gives the credentials that may answer (step 7): the first of the allow list that this token made, or those
// that it discovers.
func (c *command) find(r *assertRequest, verified bool) []applicable {
	if len(r.Allow) == 0 {
		return c.discover(r.RPID, verified)
	}
	for _, d := range r.Allow {
		cred, mine := c.open(d.ID, r.RPID)
		if d.Type == publicKeyType && mine && (verified || cred.protect != protectRequired) {
			return []applicable{{cred, d.ID, nil}}
		}
	}
	return nil
}

func (c *command) assert(a *assertion, cred applicable, discovered bool) (*assertResponse, error) {
	var extensions any
	if a.secret != nil && cred.hmac && !c.Behaviour.NoSecret {
		if !a.present && !c.Behaviour.CTAP20 {
			return nil, errUnsupportedOption // 2.1 wants a touch for the secret; 2.0 did not say
		}
		output, err := c.hmacSecret(a, cred.credential)
		if err != nil {
			return nil, err
		}
		extensions = assertExtensions{output}
	}
	data, err := c.authData(a.rpID, a.present, a.verified, nil, extensions)
	if err != nil {
		return nil, err
	}
	signature, err := cred.sign(data, a.clientDataHash)
	if err != nil {
		return nil, err
	}
	answer := &assertResponse{Credential: descriptor{cred.id, publicKeyType}, AuthData: data, Signature: signature}
	if discovered && cred.user != nil {
		answer.User = &userEntity{ID: cred.user.ID}
		if a.several && a.verified { // else no names (clause 6.2.2, step 13)
			answer.User = cred.user
		}
	}
	return answer, nil
}

// salts are hmac-secret's opened input: one or two of 32 bytes.
type salts struct {
	keys   *sharedKeys
	values []byte
}

// openSalts opens hmac-secret's input (clause 12.5).
func (c *command) openSalts(s *secretRequest) (*salts, error) {
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
	values, err := keys.decrypt(s.Salts)
	if err != nil {
		return nil, err
	}
	if len(values) != 32 && len(values) != 64 {
		return nil, errInvalidLength
	}
	return &salts{keys, values}, nil
}

// hmacSecret gives HMAC-SHA256(CredRandom, salt) for one or two salts, sealed for the platform. 2.0 has one
// CredRandom, 2.1 one for each kind of user verification.
func (c *command) hmacSecret(a *assertion, cred *credential) ([]byte, error) {
	if a.opened == nil {
		var err error
		if a.opened, err = c.openSalts(a.secret); err != nil {
			return nil, err
		}
	}
	random := cred.withoutUV
	if a.verified && !c.Behaviour.CTAP20 || c.Behaviour.Quirks.SecretWithoutPIN {
		random = cred.withUV
	}
	var output []byte
	for s := a.opened.values; len(s) > 0; s = s[32:] {
		h := hmac.New(sha256.New, random)
		h.Write(s[:32])
		output = h.Sum(output)
	}
	output, err := c.Behaviour.Quirks.secret(output)
	if err != nil {
		return nil, err
	}
	return c.Behaviour.Quirks.sealSecret(a.opened.keys, output)
}

package softtoken

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
)

// Flags of authenticator data (WebAuthn, section 6.1).
const (
	flagUP = 0x01
	flagUV = 0x04
	flagAT = 0x40
	flagED = 0x80
)

type options struct {
	RK *bool `cbor:"rk"`
	UP *bool `cbor:"up"`
	UV *bool `cbor:"uv"`
}

func set(b *bool) bool { return b != nil && *b }

type makeRequest struct {
	ClientDataHash []byte `cbor:"1,keyasint"`
	RP             *struct {
		ID string `cbor:"id"`
	} `cbor:"2,keyasint"`
	User       *userEntity  `cbor:"3,keyasint"`
	Params     []parameter  `cbor:"4,keyasint"`
	Exclude    []descriptor `cbor:"5,keyasint"`
	Extensions struct {
		HMACSecret *bool `cbor:"hmac-secret"`
		Protect    *uint `cbor:"credProtect"`
	} `cbor:"6,keyasint"`
	Options    options `cbor:"7,keyasint"`
	Auth       []byte  `cbor:"8,keyasint"`
	Protocol   *uint   `cbor:"9,keyasint"`
	Enterprise *uint   `cbor:"10,keyasint"`
}

type makeExtensions struct {
	HMACSecret *bool `cbor:"hmac-secret,omitempty"`
	Protect    *uint `cbor:"credProtect,omitempty"`
}

type makeResponse struct {
	Format    string      `cbor:"1,keyasint"`
	AuthData  []byte      `cbor:"2,keyasint"`
	Statement attestation `cbor:"3,keyasint"`
}

// attestation is "packed" self-attestation (WebAuthn, section 8.2): it says nothing about the model.
type attestation struct {
	Alg       int    `cbor:"alg"`
	Signature []byte `cbor:"sig"`
}

// makeCredential is authenticatorMakeCredential, clause 6.1.2.
func (c *command) makeCredential(body []byte) (any, error) {
	var r makeRequest
	if err := c.parse(body, &r); err != nil {
		return nil, err
	}
	if err := c.count(func(s *state) { s.Seen.MakeCredential++ }); err != nil {
		return nil, err
	}
	if len(r.ClientDataHash) != 32 || r.RP == nil || r.RP.ID == "" || r.User == nil || r.Params == nil {
		return nil, errMissingParameter
	}
	if r.Auth != nil && len(r.Auth) == 0 {
		return nil, c.probePIN()
	}
	alg, err := choose(r.Params)
	if err != nil {
		return nil, err
	}
	if len(r.User.ID) > maxUserID || len(r.RP.ID) > maxRPID {
		return nil, errInvalidLength
	}
	if r.Enterprise != nil {
		return nil, errInvalidParameter // step 9: not supported
	}
	if r.Options.UP != nil && !*r.Options.UP {
		return nil, errInvalidOption
	}
	verified, err := c.verifyUser(&r.Options, r.Protocol, r.Auth, r.ClientDataHash, permissionMake, r.RP.ID)
	if err != nil {
		return nil, err
	}
	if !verified && c.Behaviour.AlwaysUV && c.Behaviour.UV { // step 5: as if uv had been asked for
		if err := c.verifyBuiltIn(); err != nil {
			return nil, err
		}
		verified = true
	}
	if !verified && c.protects(set(r.Options.RK)) {
		if !c.hasPIN() && c.Behaviour.UV && !c.Behaviour.AlwaysUV {
			return nil, errOperationDenied
		}
		return nil, errPINRequired
	}
	for _, d := range r.Exclude {
		if cred, mine := c.open(d.ID, r.RP.ID); mine && (verified || cred.protect != protectRequired) {
			if err := c.presence(); err != nil {
				return nil, err
			}
			c.spend()
			return nil, errCredentialExcluded
		}
	}
	if err := c.presence(); err != nil {
		return nil, err
	}
	c.spend()
	return c.newCredential(&r, alg, verified)
}

func (c *command) newCredential(r *makeRequest, alg int, verified bool) (any, error) {
	protect, extensions := byte(protectOptional), makeExtensions{}
	if p := r.Extensions.Protect; p != nil && !c.Behaviour.CTAP20 {
		if *p < protectOptional || *p > protectRequired {
			return nil, errInvalidOption
		}
		protect, extensions.Protect = byte(*p), p
	}
	hmac := set(r.Extensions.HMACSecret) && !c.Behaviour.NoSecret
	if hmac {
		extensions.HMACSecret = &hmac
	}
	cred, err := newCredential(alg, protect, hmac)
	if err != nil {
		return nil, err
	}
	cred.resident = set(r.Options.RK)
	id, err := c.seal(cred, r.RP.ID)
	if err != nil {
		return nil, err
	}
	if cred.resident {
		if err := c.keep(r, id); err != nil {
			return nil, err
		}
	}
	public, err := cred.public()
	if err != nil {
		return nil, err
	}
	cose, err := c.enc.Marshal(public)
	if err != nil {
		return nil, err
	}
	attested := bytes.Join([][]byte{c.AAGUID, binary.BigEndian.AppendUint16(nil, uint16(len(id))), id, cose}, nil)
	var ext any
	if extensions != (makeExtensions{}) {
		ext = extensions
	}
	data, err := c.authData(r.RP.ID, true, verified, attested, ext)
	if err != nil {
		return nil, err
	}
	signature, err := cred.sign(data, r.ClientDataHash)
	if err != nil {
		return nil, err
	}
	return makeResponse{"packed", data, attestation{alg, signature}}, nil
}

func choose(params []parameter) (int, error) {
	for _, p := range params {
		if p.Type == publicKeyType && (p.Alg == algES256 || p.Alg == algEdDSA) {
			return p.Alg, nil
		}
	}
	return 0, errUnsupportedAlgorithm
}

// probePIN answers an empty pinUvAuthParam: the platform lets the user choose a token by touch.
func (c *command) probePIN() error {
	if err := c.touch(); err != nil {
		return err
	}
	if c.hasPIN() {
		return errPINInvalid
	}
	return errPINNotSet
}

// authData builds authenticator data (WebAuthn, section 6.1) and counts the signature.
func (c *command) authData(rpID string, present, verified bool, attested []byte, extensions any) ([]byte, error) {
	if err := c.count(func(s *state) { s.SignCount++ }); err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(rpID))
	var flags byte
	if present {
		flags |= flagUP
	}
	if verified {
		flags |= flagUV
	}
	if attested != nil {
		flags |= flagAT
	}
	var ext []byte
	if extensions != nil {
		flags |= flagED
		var err error
		if ext, err = c.enc.Marshal(extensions); err != nil {
			return nil, err
		}
	}
	flags = c.Behaviour.Quirks.flags(flags)
	return bytes.Join([][]byte{hash[:], {flags}, binary.BigEndian.AppendUint32(nil, c.SignCount), attested, ext}, nil), nil
}

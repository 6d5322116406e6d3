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
	User *struct {
		ID []byte `cbor:"id"`
	} `cbor:"3,keyasint"`
	Params     []parameter  `cbor:"4,keyasint"`
	Exclude    []descriptor `cbor:"5,keyasint"`
	Extensions struct {
		HMACSecret *bool `cbor:"hmac-secret"`
		Protect    *uint `cbor:"credProtect"`
	} `cbor:"6,keyasint"`
	Options  options `cbor:"7,keyasint"`
	Auth     []byte  `cbor:"8,keyasint"`
	Protocol *uint   `cbor:"9,keyasint"`
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
	if set(r.Options.RK) {
		return nil, errUnsupportedOption
	}
	if r.Options.UP != nil && !*r.Options.UP {
		return nil, errInvalidOption
	}
	verified, err := c.verifyUser(&r.Options, r.Protocol, r.Auth, r.ClientDataHash, permissionMake, r.RP.ID)
	if err != nil {
		return nil, err
	}
	verified = verified || c.Behaviour.AlwaysUV && c.Behaviour.UV // step 5: as if uv had been asked for
	if !verified && c.protects() {
		return nil, errPINRequired
	}
	for _, d := range r.Exclude {
		if _, mine := c.open(d.ID, r.RP.ID); mine {
			if err := c.touch(); err != nil {
				return nil, err
			}
			return nil, errCredentialExcluded
		}
	}
	if err := c.touch(); err != nil {
		return nil, err
	}
	return c.newCredential(&r, alg, verified)
}

func (c *command) newCredential(r *makeRequest, alg int, verified bool) (any, error) {
	protect, extensions := byte(protectOptional), makeExtensions{}
	if p := r.Extensions.Protect; p != nil {
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
	id, err := c.seal(cred, r.RP.ID)
	if err != nil {
		return nil, err
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

// verifyUser tells whether this command verified the user, by a PIN token or the built-in method, whose
// simulation is a touch of its own.
func (c *command) verifyUser(o *options, protocol *uint, auth, clientDataHash []byte, permission byte, rpID string) (bool, error) {
	if auth != nil {
		return true, c.authorize(protocol, auth, clientDataHash, permission, rpID)
	}
	if !set(o.UV) {
		return false, nil
	}
	if !c.Behaviour.UV {
		return false, errInvalidOption
	}
	return true, nil
}

// authData builds authenticator data (WebAuthn, section 6.1) and counts the signature.
func (c *command) authData(rpID string, present, verified bool, attested []byte, extensions any) ([]byte, error) {
	if err := c.count(func(s *state) { s.SignCount++ }); err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte(rpID))
	var flags byte
	if present && !c.Behaviour.Quirks.OmitUP {
		flags |= flagUP
	}
	if verified && !c.Behaviour.Quirks.OmitUV {
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
	return bytes.Join([][]byte{hash[:], {flags}, binary.BigEndian.AppendUint32(nil, c.SignCount), attested, ext}, nil), nil
}

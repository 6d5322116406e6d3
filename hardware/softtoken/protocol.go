package softtoken

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"time"
	"unicode/utf8"
)

const (
	algES256   = -7
	algEdDSA   = -8
	algECDH    = -25 // ECDH-ES + HKDF-256, which key agreement carries without meaning it
	ktyOKP     = 1
	ktyEC2     = 2
	crvP256    = 1
	crvEd25519 = 6

	minPINLength = 4  // code points (clause 6.5.1)
	maxPINLength = 63 // bytes
)

// coseKey is a public key (RFC 9052, section 7).
type coseKey struct {
	Type  int    `cbor:"1,keyasint"`
	Alg   int    `cbor:"3,keyasint"`
	Curve int    `cbor:"-1,keyasint"`
	X     []byte `cbor:"-2,keyasint"`
	Y     []byte `cbor:"-3,keyasint,omitempty"`
}

// pinProtocol is one PIN/UV auth protocol's volatile half in the token (clauses 6.5.6 and 6.5.7).
type pinProtocol struct {
	version     uint
	agreement   *ecdh.PrivateKey
	token       []byte
	permissions byte
	rpID        string // the relying party the token is bound to; empty: none yet
	verified    bool   // the token was given out, and not used up
	given       time.Time
	used        bool
	seen        time.Time // when the user was present to have it given; zero: nobody was
}

// Limits of a token by USB (clause 6.5.2.1).
const (
	firstUse    = 30 * time.Second
	presentFor  = 30 * time.Second
	wholePeriod = 10 * time.Minute
)

// begin is beginUsingPinUvAuthToken.
func (p *pinProtocol) begin(permissions byte, rpID string, present bool) {
	p.permissions, p.rpID, p.verified = permissions, rpID, true
	p.given, p.used, p.seen = time.Now(), false, time.Time{}
	if present {
		p.seen = p.given
	}
}

// usable tells whether the token was given out and has not expired; 2.0 knew no expiry.
func (p *pinProtocol) usable(ctap20 bool) bool {
	age := time.Since(p.given)
	return p.verified && (ctap20 || age <= wholePeriod && (p.used || age <= firstUse))
}

// use binds the token to the first relying party it is used for.
func (p *pinProtocol) use(rpID string) { p.rpID, p.used = rpID, true }

func (p *pinProtocol) present() bool { return !p.seen.IsZero() && time.Since(p.seen) <= presentFor }

// spend clears the user's presence and verification, and all permissions.
func (p *pinProtocol) spend() { p.permissions, p.verified, p.seen = 0, false, time.Time{} }

func newPINProtocol(version uint) (*pinProtocol, error) {
	p := &pinProtocol{version: version}
	if err := p.regenerate(); err != nil {
		return nil, err
	}
	return p, p.resetToken()
}

func (p *pinProtocol) regenerate() (err error) {
	p.agreement, err = ecdh.P256().GenerateKey(rand.Reader)
	return err
}

func (p *pinProtocol) resetToken() (err error) {
	p.token, err = randomBytes(32)
	p.spend()
	p.rpID = ""
	return err
}

func (p *pinProtocol) publicKey() coseKey {
	b := p.agreement.PublicKey().Bytes() // 4 || x || y
	return coseKey{Type: ktyEC2, Alg: algECDH, Curve: crvP256, X: b[1:33], Y: b[33:]}
}

// sharedKeys are what both sides derive from the key agreement.
type sharedKeys struct {
	version    uint
	auth, cpyr []byte // HMAC and AES key; the same in version 1
}

// decapsulate derives the shared keys with a platform's public key.
func (p *pinProtocol) decapsulate(peer coseKey) (*sharedKeys, error) {
	if peer.Type != ktyEC2 || peer.Curve != crvP256 || len(peer.X) != 32 || len(peer.Y) != 32 {
		return nil, errInvalidParameter
	}
	key, err := ecdh.P256().NewPublicKey(bytes.Join([][]byte{{4}, peer.X, peer.Y}, nil))
	if err != nil {
		return nil, errInvalidParameter
	}
	z, err := p.agreement.ECDH(key)
	if err != nil {
		return nil, errInvalidParameter
	}
	return kdf(p.version, z)
}

func kdf(version uint, z []byte) (*sharedKeys, error) {
	if version == 1 {
		k := sha256.Sum256(z)
		return &sharedKeys{version, k[:], k[:]}, nil
	}
	salt := make([]byte, 32)
	auth, err := hkdf.Key(sha256.New, z, salt, "CTAP2 HMAC key", 32)
	if err != nil {
		return nil, err
	}
	cpyr, err := hkdf.Key(sha256.New, z, salt, "CTAP2 AES key", 32)
	if err != nil {
		return nil, err
	}
	return &sharedKeys{version, auth, cpyr}, nil
}

func (k *sharedKeys) encrypt(plain []byte) ([]byte, error) {
	block, err := aes.NewCipher(k.cpyr)
	if err != nil {
		return nil, err
	}
	iv := make([]byte, aes.BlockSize)
	if k.version == 2 {
		if _, err := rand.Read(iv); err != nil {
			return nil, err
		}
	}
	out := make([]byte, len(plain))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(out, plain)
	if k.version == 2 {
		out = append(iv, out...)
	}
	return out, nil
}

func (k *sharedKeys) decrypt(sealed []byte) ([]byte, error) {
	block, err := aes.NewCipher(k.cpyr)
	if err != nil {
		return nil, err
	}
	iv := make([]byte, aes.BlockSize)
	if k.version == 2 {
		if len(sealed) < len(iv) {
			return nil, errInvalidParameter
		}
		iv, sealed = sealed[:len(iv)], sealed[len(iv):]
	}
	if len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return nil, errInvalidParameter
	}
	out := make([]byte, len(sealed))
	cipher.NewCBCDecrypter(block, iv).CryptBlocks(out, sealed)
	return out, nil
}

// verify checks an authentication: protocol 1 sends the first 16 bytes only.
func verify(version uint, key, mac []byte, parts ...[]byte) bool {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	want := h.Sum(nil)
	if version == 1 {
		want = want[:16]
	}
	return hmac.Equal(want, mac)
}

func (k *sharedKeys) verify(mac []byte, parts ...[]byte) bool {
	return verify(k.version, k.auth, mac, parts...)
}

// hashPIN is LEFT(SHA-256(PIN), 16), after the policy of clause 6.5.1.
func hashPIN(pin []byte) ([]byte, error) {
	if !utf8.Valid(pin) || utf8.RuneCount(pin) < minPINLength || len(pin) > maxPINLength {
		return nil, fmt.Errorf("a PIN has %d characters to %d bytes: %w", minPINLength, maxPINLength, errPINPolicy)
	}
	sum := sha256.Sum256(pin)
	return sum[:16], nil
}

func randomBytes(n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := rand.Read(b)
	return b, err
}

package softtoken

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"slices"
)

const publicKeyType = "public-key"

// Levels of credProtect, clause 12.1.1.
const (
	protectOptional = 1
	protectWithID   = 2
	protectRequired = 3
)

// parameter is one entry of pubKeyCredParams.
type parameter struct {
	Alg  int    `cbor:"alg"`
	Type string `cbor:"type"`
}

// descriptor names a credential.
type descriptor struct {
	ID   []byte `cbor:"id"`
	Type string `cbor:"type"`
}

// credential is what a credential id holds, sealed under the token's master key: the token stores none of it, and
// of a resident one only that it is there and whose it is.
type credential struct {
	alg       int
	protect   byte
	hmac      bool   // made with hmac-secret
	resident  bool   // good for as long as the token keeps it
	key       []byte // 32 bytes: P-256 scalar or Ed25519 seed
	withUV    []byte // CredRandomWithUV, 32 bytes
	withoutUV []byte // CredRandomWithoutUV, 32 bytes
}

const (
	nonceSize     = 12
	plainSize     = 3 + 3*32
	credentialLen = nonceSize + plainSize + 16
)

const (
	withHMAC     = 1 << 0
	withResident = 1 << 1
)

func newCredential(alg int, protect byte, hmac bool) (*credential, error) {
	random, err := randomBytes(2 * 32)
	if err != nil {
		return nil, err
	}
	c := &credential{alg: alg, protect: protect, hmac: hmac, withUV: random[:32], withoutUV: random[32:]}
	if alg == algEdDSA {
		c.key, err = randomBytes(ed25519.SeedSize)
		return c, err
	}
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c.key, err = k.Bytes()
	return c, err
}

func (s *state) aead() (cipher.AEAD, error) {
	key, err := hkdf.Key(sha256.New, s.Master, nil, "bkfs software token: credential id", 32)
	if err != nil {
		return nil, err
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// seal makes the credential id, bound to the relying party.
func (s *state) seal(c *credential, rpID string) ([]byte, error) {
	aead, err := s.aead()
	if err != nil {
		return nil, err
	}
	id, err := randomBytes(nonceSize)
	if err != nil {
		return nil, err
	}
	kind := byte(0)
	if c.hmac {
		kind |= withHMAC
	}
	if c.resident {
		kind |= withResident
	}
	plain := bytes.Join([][]byte{{byte(-c.alg), c.protect, kind}, c.key, c.withUV, c.withoutUV}, nil)
	return aead.Seal(id, id, plain, []byte(rpID)), nil
}

// open gives the credential that this token made for rpID under id; ok is false for every other id.
func (s *state) open(id []byte, rpID string) (c *credential, ok bool) {
	if len(id) != credentialLen {
		return nil, false
	}
	aead, err := s.aead()
	if err != nil {
		return nil, false
	}
	plain, err := aead.Open(nil, id[:nonceSize], id[nonceSize:], []byte(rpID))
	if err != nil || len(plain) != plainSize {
		return nil, false
	}
	secrets := plain[3:]
	c = &credential{
		alg: -int(plain[0]), protect: plain[1], hmac: plain[2]&withHMAC != 0, resident: plain[2]&withResident != 0,
		key: secrets[:32], withUV: secrets[32:64], withoutUV: secrets[64:],
	}
	kept := func(r resident) bool { return bytes.Equal(r.ID, id) }
	return c, !c.resident || slices.ContainsFunc(s.Resident, kept)
}

func (c *credential) public() (coseKey, error) {
	if c.alg == algEdDSA {
		public := ed25519.NewKeyFromSeed(c.key).Public().(ed25519.PublicKey)
		return coseKey{Type: ktyOKP, Alg: algEdDSA, Curve: crvEd25519, X: public}, nil
	}
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), c.key)
	if err != nil {
		return coseKey{}, err
	}
	b, err := k.PublicKey.Bytes() // 4 || x || y
	if err != nil {
		return coseKey{}, err
	}
	return coseKey{Type: ktyEC2, Alg: algES256, Curve: crvP256, X: b[1:33], Y: b[33:]}, nil
}

func (c *credential) sign(authData, clientDataHash []byte) ([]byte, error) {
	message := bytes.Join([][]byte{authData, clientDataHash}, nil)
	if c.alg == algEdDSA {
		return ed25519.Sign(ed25519.NewKeyFromSeed(c.key), message), nil
	}
	k, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), c.key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(message)
	return ecdsa.SignASN1(rand.Reader, k, sum[:])
}

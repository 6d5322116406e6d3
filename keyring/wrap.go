package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"bkfs/archive/seal"
)

// ErrWrongSecret means that the secret isn't the slot's, or that something the
// derivation depends on was changed: the two can't be told apart.
var ErrWrongSecret = errors.New("the secret doesn't open this key slot")

// Secret is what opens one slot: the parts its type needs. It prints redacted.
type Secret struct {
	Token      *seal.Key // hmac-secret
	Passphrase *seal.Key // output of the KDF
	Recovery   *seal.Key
}

// Destroy destroys all parts.
func (s Secret) Destroy() {
	s.Token.Destroy()
	s.Passphrase.Destroy()
	s.Recovery.Destroy()
}

// Meta is what a new slot says about itself.
type Meta struct {
	Label   string
	Created time.Time // now when zero
	FIDO2   *FIDO2    // with a Type that takes a token
	Argon2  *Argon2   // with a Type that takes a passphrase
}

const kekInfo = "bkfs/v1/slot"

// NewSlot wraps the repository key. The parts stay their caller's.
func NewSlot(repo seal.RepositoryID, repositoryKey *seal.Key, t Type, parts Secret, m Meta) (Slot, error) {
	if m.Created.IsZero() {
		m.Created = time.Now()
	}
	s := Slot{
		ID: newSlotID(), Type: t, Label: m.Label, Created: m.Created.UTC().Truncate(time.Second),
		Salt: make([]byte, SaltSize), FIDO2: m.FIDO2, Argon2: m.Argon2,
	}
	rand.Read(s.Salt)
	if err := s.wrap(repo, repositoryKey, parts); err != nil {
		return Slot{}, fmt.Errorf("new %s slot: %w", t, err)
	}
	return s, nil
}

func (s *Slot) wrap(repo seal.RepositoryID, repositoryKey *seal.Key, parts Secret) error {
	if err := s.checkHeader(); err != nil {
		return err
	}
	plain := repositoryKey.Bytes()
	if len(plain) != seal.KeySize {
		return errors.New("no repository key")
	}
	aead, commitment, err := s.kek(repo, parts)
	if err != nil {
		return err
	}
	s.Commitment = commitment
	// The zero nonce is safe: the salt is fresh, so the key seals only this.
	s.Wrapped = aead.Seal(nil, make([]byte, aead.NonceSize()), plain, s.header(repo))
	return nil
}

// Open unwraps the repository key. ErrWrongSecret, ErrDamagedSlot, ErrParams or
// ErrUnknownType.
func (s *Slot) Open(repo seal.RepositoryID, parts Secret) (*seal.Key, error) {
	key, err := s.open(repo, parts)
	if err != nil {
		return nil, fmt.Errorf("open %s slot %s: %w", s.Type, s.ID, err)
	}
	return key, nil
}

func (s *Slot) open(repo seal.RepositoryID, parts Secret) (*seal.Key, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	aead, commitment, err := s.kek(repo, parts)
	if err != nil {
		return nil, err
	}
	if subtle.ConstantTimeCompare(commitment, s.Commitment) != 1 {
		return nil, ErrWrongSecret
	}
	plain, err := aead.Open(nil, make([]byte, aead.NonceSize()), s.Wrapped, s.header(repo))
	if err != nil {
		return nil, ErrDamagedSlot
	}
	return seal.KeyFrom(plain)
}

// kek derives the wrap key and the commitment from the slot's secret.
func (s *Slot) kek(repo seal.RepositoryID, parts Secret) (cipher.AEAD, []byte, error) {
	secret, err := s.secret(parts)
	if err != nil {
		return nil, nil, err
	}
	defer seal.Wipe(secret)
	out, err := hkdf.Key(sha256.New, secret, s.Salt, string(s.info(repo)), 2*seal.KeySize)
	if err != nil {
		return nil, nil, err
	}
	defer seal.Wipe(out[:seal.KeySize])
	block, err := aes.NewCipher(out[:seal.KeySize])
	if err != nil {
		return nil, nil, err
	}
	aead, err := cipher.NewGCM(block)
	return aead, out[seal.KeySize:], err
}

// secret joins the parts in their fixed order, token first. The caller wipes it.
func (s *Slot) secret(parts Secret) ([]byte, error) {
	secret := make([]byte, 0, 2*seal.KeySize)
	for _, part := range []struct {
		needed bool
		name   string
		key    *seal.Key
	}{
		{s.Type.Token(), "token's secret", parts.Token},
		{s.Type.Passphrase(), "passphrase", parts.Passphrase},
		{s.Type == TypeRecovery, "recovery key", parts.Recovery},
	} {
		if !part.needed {
			continue
		}
		b := part.key.Bytes()
		if len(b) != seal.KeySize {
			seal.Wipe(secret)
			return nil, fmt.Errorf("a %s slot needs the %s", s.Type, part.name)
		}
		secret = append(secret, b...)
	}
	return secret, nil
}

// info is what steers the derivation: HKDF's info.
func (s *Slot) info(repo seal.RepositoryID) []byte {
	b := append([]byte(kekInfo), repo[:]...)
	b = append(b, s.ID[:]...)
	b = appendString(b, string(s.Type))
	if f := s.FIDO2; f != nil {
		b = appendString(b, string(f.CredentialID))
		b = appendString(b, string(f.Salt))
		b = appendString(b, f.RPID)
		b = appendString(b, string(f.Algorithm))
		b = append(b, flags(f.PIN, f.UserPresence, f.UserVerification, f.Hidden))
		b = append(b, f.AAGUID[:]...)
	}
	if a := s.Argon2; a != nil {
		b = binary.BigEndian.AppendUint32(b, a.Time)
		b = binary.BigEndian.AppendUint32(b, a.MemoryKiB)
		b = append(b, a.Threads)
		b = appendString(b, string(a.Salt))
	}
	return b
}

// header is the associated data of the wrapped key: every field before it.
func (s *Slot) header(repo seal.RepositoryID) []byte {
	b := s.info(repo)
	b = appendString(b, string(s.Salt))
	b = appendString(b, s.Label)
	b = binary.BigEndian.AppendUint64(b, uint64(s.Created.Unix()))
	return append(b, s.Commitment...)
}

// appendString needs no length check: all fields were checked to be short.
func appendString(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint16(b, uint16(len(s)))
	return append(b, s...)
}

func flags(bits ...bool) (f byte) {
	for i, set := range bits {
		if set {
			f |= 1 << i
		}
	}
	return f
}

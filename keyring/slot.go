package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"bkfs/archive/seal"
)

// Bounds of a slot's fields, in bytes.
const (
	MaxSlotSize   = 16 << 10 // one slot's JSON
	MaxLabel      = 128
	MaxRPID       = 253  // a domain name's
	MaxCredential = 1023 // CTAP 2.1, 6.1: the largest credential id there is
	SaltSize      = 32   // of a slot, and of hmac-secret (CTAP 2.1, 12.5)

	wrappedSize = seal.KeySize + seal.Overhead
)

var (
	// ErrDamagedSlot means that a slot's fields aren't those it was written with.
	ErrDamagedSlot = errors.New("damaged key slot")
	// ErrUnknownType means a slot made by a later version.
	ErrUnknownType = errors.New("key slot of an unknown type")
	// ErrParams means argon2 parameters out of bounds.
	ErrParams = errors.New("argon2 parameters out of bounds")
)

// Type is what opens a slot.
type Type string

const (
	TypeFIDO2           Type = "fido2"
	TypePassphrase      Type = "passphrase"
	TypeRecovery        Type = "recovery"
	TypeFIDO2Passphrase Type = "fido2+passphrase"
)

// Known tells whether this version can open slots of the type.
func (t Type) Known() bool { return t.Token() || t.Passphrase() || t == TypeRecovery }

// Token tells whether opening takes a token.
func (t Type) Token() bool { return t == TypeFIDO2 || t == TypeFIDO2Passphrase }

// Passphrase tells whether opening takes a passphrase.
func (t Type) Passphrase() bool { return t == TypePassphrase || t == TypeFIDO2Passphrase }

// Slot is the repository key, wrapped. Nothing in it is secret.
type Slot struct {
	ID         SlotID    `json:"id"`
	Type       Type      `json:"type"`
	Label      string    `json:"label,omitempty"`
	Created    time.Time `json:"created"` // UTC, whole seconds
	Salt       []byte    `json:"salt"`
	FIDO2      *FIDO2    `json:"fido2,omitempty"`  // with a Type that takes a token
	Argon2     *Argon2   `json:"argon2,omitempty"` // with a Type that takes a passphrase
	Commitment []byte    `json:"commitment"`
	Wrapped    []byte    `json:"wrapped"`
}

// Algorithm is the signature algorithm of a credential.
type Algorithm string

const (
	ES256 Algorithm = "es256"
	EdDSA Algorithm = "eddsa"
)

// FIDO2 is a credential and how to ask it for its secret.
type FIDO2 struct {
	CredentialID     []byte    `json:"credential"`
	Salt             []byte    `json:"salt"` // hmac-secret salt
	RPID             string    `json:"rp"`
	Algorithm        Algorithm `json:"algorithm"`
	PIN              bool      `json:"pin"`
	UserPresence     bool      `json:"presence"`
	UserVerification bool      `json:"verification"`
	Hidden           bool      `json:"hidden,omitempty"` // the token denies the credential when it is asked silently
	AAGUID           AAGUID    `json:"aaguid,omitzero"`  // the authenticator's model
}

// ParseSlot reads one slot and checks every field's bounds. ErrDamagedSlot,
// ErrParams, or ErrUnknownType.
func ParseSlot(raw []byte) (Slot, error) {
	if len(raw) > MaxSlotSize {
		return Slot{}, fmt.Errorf("%w: %d bytes, at most %d", ErrDamagedSlot, len(raw), MaxSlotSize)
	}
	var kind struct {
		Type Type `json:"type"`
	}
	if err := json.Unmarshal(raw, &kind); err != nil {
		return Slot{}, fmt.Errorf("%w: %w", ErrDamagedSlot, err)
	}
	if !kind.Type.Known() {
		return Slot{}, fmt.Errorf("%w: %.40q", ErrUnknownType, string(kind.Type))
	}
	var s Slot
	if err := json.Unmarshal(raw, &s); err != nil {
		return Slot{}, fmt.Errorf("%w: %w", ErrDamagedSlot, err)
	}
	if err := s.check(); err != nil {
		return Slot{}, err
	}
	return s, nil
}

// check holds for every slot that was parsed or made here.
func (s *Slot) check() error {
	if err := s.checkHeader(); err != nil {
		return err
	}
	switch {
	case len(s.Commitment) != 32:
		return fmt.Errorf("%w: a commitment of %d bytes, want 32", ErrDamagedSlot, len(s.Commitment))
	case len(s.Wrapped) != wrappedSize:
		return fmt.Errorf("%w: a wrapped key of %d bytes, want %d", ErrDamagedSlot, len(s.Wrapped), wrappedSize)
	}
	return nil
}

func (s *Slot) checkHeader() error {
	switch {
	case !s.Type.Known():
		return fmt.Errorf("%w: %.40q", ErrUnknownType, string(s.Type))
	case s.ID == SlotID{}:
		return fmt.Errorf("%w: no id", ErrDamagedSlot)
	case !isLabel(s.Label):
		return fmt.Errorf("%w: the label has over %d bytes or unprintable characters", ErrDamagedSlot, MaxLabel)
	case s.Created.Unix() < 0 || s.Created.Nanosecond() != 0:
		return fmt.Errorf("%w: created %s", ErrDamagedSlot, s.Created)
	case len(s.Salt) != SaltSize:
		return fmt.Errorf("%w: a salt of %d bytes, want %d", ErrDamagedSlot, len(s.Salt), SaltSize)
	case (s.FIDO2 != nil) != s.Type.Token():
		return fmt.Errorf("%w: credential missing or superfluous in a %s slot", ErrDamagedSlot, s.Type)
	case (s.Argon2 != nil) != s.Type.Passphrase():
		return fmt.Errorf("%w: argon2 parameters missing or superfluous in a %s slot", ErrDamagedSlot, s.Type)
	}
	if s.FIDO2 != nil {
		if err := s.FIDO2.check(); err != nil {
			return err
		}
	}
	if s.Argon2 != nil {
		return s.Argon2.check()
	}
	return nil
}

func (f *FIDO2) check() error {
	switch {
	case len(f.CredentialID) < 1 || len(f.CredentialID) > MaxCredential:
		return fmt.Errorf("%w: a credential id of %d bytes, want 1 to %d", ErrDamagedSlot, len(f.CredentialID), MaxCredential)
	case len(f.Salt) != SaltSize:
		return fmt.Errorf("%w: an hmac-secret salt of %d bytes, want %d", ErrDamagedSlot, len(f.Salt), SaltSize)
	case f.RPID == "" || len(f.RPID) > MaxRPID || strings.ContainsFunc(f.RPID, func(r rune) bool { return r <= ' ' || r > '~' }):
		return fmt.Errorf("%w: relying party of %d bytes, want 1 to %d of printable ASCII", ErrDamagedSlot, len(f.RPID), MaxRPID)
	case f.Algorithm != ES256 && f.Algorithm != EdDSA:
		return fmt.Errorf("%w: credential algorithm %.20q", ErrDamagedSlot, string(f.Algorithm))
	}
	return nil
}

// isLabel keeps terminal escapes and line breaks out of what is listed.
func isLabel(s string) bool {
	return len(s) <= MaxLabel && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

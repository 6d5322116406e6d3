package keyring

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
)

// SlotID names a slot within its repository: 8 random bytes, written as 16
// lower-case hex digits.
type SlotID [8]byte

func newSlotID() SlotID {
	var id SlotID
	rand.Read(id[:])
	return id
}

func (id SlotID) String() string { return hex.EncodeToString(id[:]) }

func (id SlotID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

func (id *SlotID) UnmarshalText(text []byte) error {
	if err := decodeHex(id[:], string(text)); err != nil {
		return fmt.Errorf("slot id: %w", err)
	}
	return nil
}

// AAGUID names an authenticator's model; zero when unknown. It is written as a
// UUID (RFC 9562).
type AAGUID [16]byte

func (a AAGUID) String() string {
	h := hex.EncodeToString(a[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

func (a AAGUID) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

func (a *AAGUID) UnmarshalText(text []byte) error {
	s := string(text)
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return fmt.Errorf("aaguid: not in the form of a UUID")
	}
	if err := decodeHex(a[:], s[:8]+s[9:13]+s[14:18]+s[19:23]+s[24:]); err != nil {
		return fmt.Errorf("aaguid: %w", err)
	}
	return nil
}

// decodeHex accepts one spelling only: full length, lower case.
func decodeHex(dst []byte, s string) error {
	if len(s) != hex.EncodedLen(len(dst)) {
		return fmt.Errorf("%d digits, want %d", len(s), hex.EncodedLen(len(dst)))
	}
	if _, err := hex.Decode(dst, []byte(s)); err != nil {
		return err
	}
	if hex.EncodeToString(dst) != s {
		return fmt.Errorf("upper-case digits")
	}
	return nil
}

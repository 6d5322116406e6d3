package hardware

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"bkfs/archive/seal"

	"github.com/fxamacker/cbor/v2"
)

// The helper's protocol: one frame in, one frame out, before which there may be pending ones. A frame is the length of a CBOR map (4 bytes, big endian),
// the length of a secret (2 bytes), the map with integer keys, and the secret: the PIN in a request, the
// hmac-secret in an answer. Both ends are the same binary, so another version is an error and never negotiated.
const (
	wireVersion = 1
	frameHead   = 6
	maxFrame    = 128 << 10
	maxSecret   = 64

	maxDevicePath   = 4096
	maxRPID         = 253  // a domain name
	maxCredentials  = 256  // of all slots together
	maxCredentialID = 1023 // WebAuthn level 2, section 6.5.1
	maxPIN          = 63   // bytes; CTAP 2.1, clause 6.5.1
	maxUserField    = 64   // bytes; WebAuthn, section 5.4.3 and CTAP 2.1, clause 6.1.2
)

var errFrame = errors.New("malformed message between bkfs and its helper")

type operation string

const (
	opList    operation = "list"    // enumerate devices
	opInspect operation = "inspect" // what a device can do, and which of Credentials it made
	opSecret  operation = "secret"  // the assertion with hmac-secret
	opCreate  operation = "create"  // make a credential
)

// reference names one credential.
type reference struct {
	RPID string `cbor:"1,keyasint"`
	ID   []byte `cbor:"2,keyasint"`
}

type request struct {
	Version     uint        `cbor:"1,keyasint"`
	Op          operation   `cbor:"2,keyasint"`
	Device      string      `cbor:"3,keyasint,omitempty"`
	Credentials []reference `cbor:"4,keyasint,omitempty"`
	RPID        string      `cbor:"5,keyasint,omitempty"` // of the credential to create
	Salt        []byte      `cbor:"6,keyasint,omitempty"`
	PIN         []byte      `cbor:"-"`
	Presence    bool        `cbor:"7,keyasint,omitempty"`
	Verify      bool        `cbor:"8,keyasint,omitempty"` // by the token's own means
	Algorithm   int         `cbor:"9,keyasint,omitempty"`
	UserID      []byte      `cbor:"10,keyasint,omitempty"`
	UserName    string      `cbor:"11,keyasint,omitempty"`
	DisplayName string      `cbor:"12,keyasint,omitempty"`
	Unprotected bool        `cbor:"14,keyasint,omitempty"` // create: with credProtect level 1, whatever the token's default
	Details     bool        `cbor:"13,keyasint,omitempty"` // inspect: ask for firmware and PIN retries too
}

// location is an enumerated device.
type location struct {
	Path         string `cbor:"1,keyasint"`
	Manufacturer string `cbor:"2,keyasint,omitempty"`
	Product      string `cbor:"3,keyasint,omitempty"`
	VendorID     uint16 `cbor:"4,keyasint,omitempty"`
	ProductID    uint16 `cbor:"5,keyasint,omitempty"`
}

// properties are what a device says of itself.
type properties struct {
	AAGUID     []byte          `cbor:"1,keyasint,omitempty"`
	Versions   []string        `cbor:"2,keyasint,omitempty"`
	Extensions []string        `cbor:"3,keyasint,omitempty"`
	Options    map[string]bool `cbor:"4,keyasint,omitempty"`
	Retries    int             `cbor:"5,keyasint"` // PIN retries; -1 unknown, not asked for or no PIN set
	Firmware   string          `cbor:"6,keyasint,omitempty"`
}

// verdict is a silent probe's outcome for one credential.
type verdict uint8

const (
	notMine  verdict = iota
	mine             // the device made it
	unclear          // the device will not say without a touch or a PIN
	verdicts         // how many there are
)

type answer struct {
	Version      uint        `cbor:"1,keyasint"`
	Fault        *fault      `cbor:"2,keyasint,omitempty"`
	Locations    []location  `cbor:"3,keyasint,omitempty"`
	Properties   *properties `cbor:"4,keyasint,omitempty"`
	Verdicts     []uint      `cbor:"5,keyasint,omitempty"`
	CredentialID []byte      `cbor:"6,keyasint,omitempty"`
	AuthData     []byte      `cbor:"7,keyasint,omitempty"` // raw, without its CBOR header
	Pending      bool        `cbor:"8,keyasint,omitempty"` // a sign of life: the device answered, and more is being asked
	Secret       []byte      `cbor:"-"`
}

func (r *request) wipe() { seal.Wipe(r.PIN) }

func (a *answer) wipe() { seal.Wipe(a.Secret) }

// check bounds a request as the helper gets it: go-libfido2 panics on empty slices.
func (r *request) check() error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", errFrame, what) }
	if r.Version != wireVersion {
		return bad(fmt.Sprintf("version %d, want %d", r.Version, wireVersion))
	}
	if r.Op != opList && (r.Device == "" || len(r.Device) > maxDevicePath) {
		return bad("device")
	}
	for _, c := range r.Credentials {
		if c.RPID == "" || len(c.RPID) > maxRPID || len(c.ID) == 0 || len(c.ID) > maxCredentialID {
			return bad("credential")
		}
	}
	if len(r.PIN) > maxPIN || bytes.IndexByte(r.PIN, 0) >= 0 {
		return bad("PIN")
	}
	switch r.Op {
	case opList, opInspect:
		if len(r.Credentials) > maxCredentials {
			return bad("too many credentials")
		}
	case opSecret:
		if len(r.Credentials) != 1 || len(r.Salt) != saltSize {
			return bad("one credential and one salt")
		}
	case opCreate:
		if r.RPID == "" || len(r.RPID) > maxRPID || len(r.UserID) == 0 || len(r.UserID) > maxUserField || r.UserName == "" ||
			r.Algorithm != algES256 && r.Algorithm != algEdDSA {
			return bad("relying party, user or algorithm")
		}
	default:
		return bad("operation")
	}
	return nil
}

// check bounds an answer to r.
func (a *answer) check(r *request) error {
	bad := func(what string) error { return fmt.Errorf("%w: %s", errFrame, what) }
	if a.Version != wireVersion {
		return bad(fmt.Sprintf("version %d, want %d", a.Version, wireVersion))
	}
	if a.Fault != nil || a.Pending {
		return nil //nolint:nilerr // a well-formed answer, whatever it says
	}
	switch r.Op {
	case opInspect:
		if a.Properties == nil || len(a.Verdicts) != len(r.Credentials) {
			return bad("properties or verdicts")
		}
		for _, v := range a.Verdicts {
			if v >= uint(verdicts) {
				return bad("verdict")
			}
		}
	case opCreate:
		if len(a.CredentialID) == 0 || len(a.CredentialID) > maxCredentialID {
			return bad("credential id")
		}
	}
	return nil
}

// message is what a frame carries: a CBOR map, and beside it one short secret, which is kept out of the encoder
// because that reuses its buffers.
type message interface{ secret() *[]byte }

func (r *request) secret() *[]byte { return &r.PIN }

func (a *answer) secret() *[]byte { return &a.Secret }

func writeFrame(w io.Writer, m message) error {
	body, err := cbor.Marshal(m)
	if err != nil {
		return err
	}
	secret := *m.secret()
	if len(body) > maxFrame || len(secret) > maxSecret {
		return fmt.Errorf("%w: %d and %d bytes, at most %d and %d", errFrame, len(body), len(secret), maxFrame, maxSecret)
	}
	frame := make([]byte, 0, frameHead+len(body)+len(secret))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(body)))
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(secret)))
	frame = append(append(frame, body...), secret...)
	defer seal.Wipe(frame)
	_, err = w.Write(frame)
	return err
}

func readFrame(r io.Reader, m message) error {
	var head [frameHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	n, s := binary.BigEndian.Uint32(head[:]), binary.BigEndian.Uint16(head[4:])
	if n > maxFrame || s > maxSecret {
		return fmt.Errorf("%w: %d and %d bytes, at most %d and %d", errFrame, n, s, maxFrame, maxSecret)
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	mode, err := cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 4, MaxArrayElements: maxCredentials, MaxMapPairs: 64,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
	}.DecMode()
	if err != nil {
		return err
	}
	if err := mode.Unmarshal(body, m); err != nil {
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	if s == 0 {
		return nil
	}
	secret := make([]byte, s)
	if _, err := io.ReadFull(r, secret); err != nil {
		seal.Wipe(secret)
		return fmt.Errorf("%w: %w", errFrame, err)
	}
	*m.secret() = secret
	return nil
}

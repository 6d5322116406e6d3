package softtoken

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Quirks are differences and faults that real tokens have shown, for tests. The healthy code asks the methods and
// fields here, and each does nothing in the zero value. How a token misbehaves on the wire is in fault.go.
type Quirks struct {
	RefuseSilent     bool          `json:"refuse_silent,omitempty"`      // up=false is refused
	TouchSilent      bool          `json:"touch_silent,omitempty"`       // up=false waits for a touch all the same
	OptionalPIN      bool          `json:"optional_pin,omitempty"`       // makes credentials without the PIN although one is set
	SecretWithoutPIN bool          `json:"secret_without_pin,omitempty"` // the secret that goes with the PIN is given without it too
	OmitUP           bool          `json:"omit_up,omitempty"`            // the UP bit stays clear
	OmitUV           bool          `json:"omit_uv,omitempty"`            // the UV bit stays clear
	ZeroSecret       bool          `json:"zero_secret,omitempty"`        // hmac-secret gives zeros
	ChangingSecret   bool          `json:"changing_secret,omitempty"`    // hmac-secret gives something else every time
	OtherSecret      bool          `json:"other_secret,omitempty"`       // hmac-secret gives another secret than without this quirk
	SecretSize       int           `json:"secret_size,omitempty"`        // hmac-secret gives so many bytes
	Mute             bool          `json:"mute,omitempty"`               // frames are read and never answered
	Delay            time.Duration `json:"delay,omitempty"`              // before every CBOR answer
	UVFails          int           `json:"uv_fails,omitempty"`           // so many built-in user verifications fail
	U2FOnly          bool          `json:"u2f_only,omitempty"`           // no CTAP2: only CTAPHID_MSG
	Fault            Fault         `json:"fault,omitempty"`
	FaultAt          Moment        `json:"fault_at,omitempty"` // empty: CBOR answers, and for unplug the touch
}

// ErrQuirk says that a text names no quirk.
var ErrQuirk = errors.New("no such quirk")

// quirk is how one is named on a command line.
type quirk struct {
	name, value, what string
	set               func(q *Quirks, value string) error
}

func quirks() []quirk {
	flag := func(field func(*Quirks) *bool) func(*Quirks, string) error {
		return func(q *Quirks, value string) (err error) {
			on := value == ""
			if !on {
				on, err = strconv.ParseBool(value)
			}
			*field(q) = on
			return err
		}
	}
	number := func(field func(*Quirks) *int, most int) func(*Quirks, string) error {
		return func(q *Quirks, value string) error {
			n, err := strconv.Atoi(value)
			if err == nil && (n < 0 || n > most) {
				err = fmt.Errorf("0 to %d", most)
			}
			*field(q) = n
			return err
		}
	}
	return []quirk{
		{"refuse-silent", "", "refuse assertions without user presence", flag(func(q *Quirks) *bool { return &q.RefuseSilent })},
		{"touch-silent", "", "want a touch for them too", flag(func(q *Quirks) *bool { return &q.TouchSilent })},
		{"optional-pin", "", "make credentials without the PIN", flag(func(q *Quirks) *bool { return &q.OptionalPIN })},
		{"secret-without-pin", "", "give the PIN's secret without the PIN", flag(func(q *Quirks) *bool { return &q.SecretWithoutPIN })},
		{"omit-up", "", "leave the UP bit clear", flag(func(q *Quirks) *bool { return &q.OmitUP })},
		{"omit-uv", "", "leave the UV bit clear", flag(func(q *Quirks) *bool { return &q.OmitUV })},
		{"zero-secret", "", "give a secret of zeros", flag(func(q *Quirks) *bool { return &q.ZeroSecret })},
		{"changing-secret", "", "give another secret every time", flag(func(q *Quirks) *bool { return &q.ChangingSecret })},
		{"other-secret", "", "give another secret than without", flag(func(q *Quirks) *bool { return &q.OtherSecret })},
		{"secret-size", "BYTES", "give a secret of that length", number(func(q *Quirks) *int { return &q.SecretSize }, maxSecretSize)},
		{"uv-fails", "TIMES", "fail built-in user verification", number(func(q *Quirks) *int { return &q.UVFails }, 1000)},
		{"u2f-only", "", "know nothing of CTAP2", flag(func(q *Quirks) *bool { return &q.U2FOnly })},
		{"delay", "DURATION", "be slow", func(q *Quirks, value string) (err error) {
			q.Delay, err = time.ParseDuration(value)
			return err
		}},
	}
}

// Set turns a quirk on by its name: NAME or NAME=VALUE. A Fault's value is its Moment. "none" turns all off.
// ErrQuirk.
func (q *Quirks) Set(text string) error {
	name, value, given := strings.Cut(text, "=")
	if name == "none" && !given {
		*q = Quirks{}
		return nil
	}
	if slices.Contains(faultNames(), Fault(name)) {
		at := Moment(value)
		if given && !slices.Contains(moments(), at) {
			return fmt.Errorf("%w: %s happens at %q, want one of %v", ErrQuirk, name, value, moments())
		}
		q.Fault, q.FaultAt = Fault(name), at
		return nil
	}
	for _, k := range quirks() {
		if k.name != name {
			continue
		}
		if err := k.set(q, value); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrQuirk, text, err)
		}
		return nil
	}
	return fmt.Errorf("%w: %q", ErrQuirk, name)
}

// QuirkHelp lists the quirks for a person.
func QuirkHelp() string {
	var b strings.Builder
	for _, k := range quirks() {
		name := k.name
		if k.value != "" {
			name += "=" + k.value
		}
		fmt.Fprintf(&b, "  %-22s %s\n", name, k.what)
	}
	for _, f := range faults() {
		fmt.Fprintf(&b, "  %-22s %s\n", string(f.name)+"[=WHEN]", f.what)
	}
	return b.String()
}

// valid tells whether a state file's quirks can be.
func (q *Quirks) valid() bool {
	return q.SecretSize >= 0 && q.SecretSize <= maxSecretSize && q.UVFails >= 0 && q.Delay >= 0 &&
		(q.Fault == "" || slices.Contains(faultNames(), q.Fault)) && (q.FaultAt == "" || slices.Contains(moments(), q.FaultAt))
}

const maxSecretSize = 1024

// flags gives authenticator data's flags as the token reports them.
func (q *Quirks) flags(flags byte) byte {
	if q.OmitUP {
		flags &^= flagUP
	}
	if q.OmitUV {
		flags &^= flagUV
	}
	return flags
}

// secret gives hmac-secret's output as the token makes it.
func (q *Quirks) secret(output []byte) ([]byte, error) {
	if q.OtherSecret {
		for i := range output {
			output[i] ^= 0xa5
		}
	}
	if q.ZeroSecret {
		clear(output)
	}
	if q.ChangingSecret {
		return randomBytes(len(output))
	}
	return output, nil
}

// sealSecret encrypts hmac-secret's output for the platform. One of a size that the cipher has no padding for is
// cut after it was encrypted.
func (q *Quirks) sealSecret(keys *sharedKeys, output []byte) ([]byte, error) {
	if q.SecretSize == 0 {
		return keys.encrypt(output)
	}
	n := q.SecretSize
	padded := bytes.Repeat(output, (n+15)/len(output)+1)[:(n+15)/16*16]
	sealed, err := keys.encrypt(padded)
	if err != nil {
		return nil, err
	}
	return sealed[:len(sealed)-len(padded)+n], nil
}

// failsUV tells whether this built-in user verification fails, and counts it.
func (q *Quirks) failsUV() bool {
	if q.UVFails == 0 {
		return false
	}
	q.UVFails--
	return true
}

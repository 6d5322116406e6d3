package hardware

import (
	"context"
	"errors"
	"fmt"
)

// What a caller may branch on.
var (
	ErrUnsupported    = errors.New("built without FIDO2 support")
	ErrNoLibrary      = errors.New("libfido2, the library for tokens, can't be loaded")
	ErrNoToken        = errors.New("no token fits")
	ErrSeveral        = errors.New("several tokens could be enrolled: name one, or unplug the others")
	ErrEnrolled       = errors.New("the token is already enrolled")
	ErrAbsent         = errors.New("there is no such device")
	ErrPermission     = errors.New("no permission to open the device")
	ErrNotDevice      = errors.New("not a character device")
	ErrBusy           = errors.New("another program is using the token")
	ErrTimeout        = errors.New("no answer in time")
	ErrInterrupted    = errors.New("interrupted")
	ErrLost           = errors.New("the token stopped answering sensibly: was it unplugged?")
	ErrNotFIDO2       = errors.New("the device does not do FIDO2 (an older, U2F-only key?)")
	ErrNoHMACSecret   = errors.New("the token lacks the hmac-secret extension")
	ErrPINRequired    = errors.New("the token asks for its PIN")
	ErrPINInvalid     = errors.New("wrong PIN")
	ErrPINNotSet      = errors.New("the token has no PIN")
	ErrPINBlocked     = errors.New("the token's PIN is blocked: only a reset, which forgets its credentials, makes the token usable again")
	ErrPINAuthBlocked = errors.New("too many wrong PINs in a row: unplug the token and plug it in again")
	ErrUVFailed       = errors.New("the token could not verify its user")
	ErrUVBlocked      = fmt.Errorf("%w: that is blocked, or it wants its PIN instead", ErrUVFailed)
	ErrRefused        = errors.New("the token refused")
	ErrPolicy         = errors.New("the token does not follow the slot's policy")
	ErrSecret         = errors.New("the token gave an unusable secret")
	ErrHelper         = errors.New("the helper process for tokens failed")
)

// PINError is ErrPINInvalid with how many tries the token has left; -1 is unknown.
type PINError struct{ Retries int }

func (e *PINError) Error() string {
	switch e.Retries {
	case -1:
		return ErrPINInvalid.Error()
	case 1:
		return ErrPINInvalid.Error() + ": 1 try left"
	default:
		return fmt.Sprintf("%v: %d tries left", ErrPINInvalid, e.Retries)
	}
}

// Is makes a PINError an ErrPINInvalid.
func (e *PINError) Is(target error) bool { return target == ErrPINInvalid }

// faultKind is what a helper reports beside CTAP status codes.
type faultKind string

const (
	faultCTAP        faultKind = "ctap" // Code is libfido2's: a CTAP2 status, or negative
	faultAbsent      faultKind = "absent"
	faultPermission  faultKind = "permission"
	faultNotDevice   faultKind = "not-device"
	faultBusy        faultKind = "busy"
	faultNotFIDO2    faultKind = "not-fido2"
	faultUnsupported faultKind = "unsupported"
	faultNoLibrary   faultKind = "no-library"
	faultOther       faultKind = "other"
)

// fault is an error on its way from the helper.
type fault struct {
	Kind    faultKind `cbor:"1,keyasint"`
	Code    int       `cbor:"2,keyasint,omitempty"`
	Text    string    `cbor:"3,keyasint,omitempty"`
	Retries int       `cbor:"4,keyasint,omitempty"` // after a wrong PIN; -1 is unknown
}

func (f *fault) Error() string { return fmt.Sprintf("%s %#x %s", f.Kind, f.Code, f.Text) }

// Codes of libfido2's fido/err.h (CTAP 2.1, clause 6.3) that mean something here.
const (
	codeTX                = -1
	codeRX                = -2
	codeRXNotCBOR         = -3
	codeRXInvalidCBOR     = -4
	codeInvalidParam      = -5
	codeInvalidArgument   = -7
	codePresenceRequired  = -8
	codeInternal          = -9
	codeInvalidCommand    = 0x01
	codeInvalidParameter  = 0x02
	codeInvalidLength     = 0x03
	codeTimeout           = 0x05
	codeChannelBusy       = 0x06
	codeMissingParameter  = 0x14
	codeExcluded          = 0x19
	codeInvalidCredential = 0x22
	codeUnsupportedAlg    = 0x26
	codeDenied            = 0x27
	codeUnsupportedOption = 0x2b
	codeInvalidOption     = 0x2c
	codeKeepaliveCancel   = 0x2d
	codeNoCredentials     = 0x2e
	codeUserTimeout       = 0x2f
	codeNotAllowed        = 0x30
	codePINInvalid        = 0x31
	codePINBlocked        = 0x32
	codePINAuthInvalid    = 0x33
	codePINAuthBlocked    = 0x34
	codePINNotSet         = 0x35
	codePINRequired       = 0x36
	codePINPolicy         = 0x37
	codeActionTimeout     = 0x3a
	codeUPRequired        = 0x3b
	codeUVBlocked         = 0x3c
	codeUVInvalid         = 0x3f
	codePermission        = 0x40
	codeOther             = 0x7f
)

// err translates a fault at the boundary.
func (f *fault) err() error {
	switch f.Kind {
	case faultCTAP:
		return f.statusErr()
	case faultAbsent:
		return ErrAbsent
	case faultPermission:
		return ErrPermission
	case faultNotDevice:
		return ErrNotDevice
	case faultBusy:
		return ErrBusy
	case faultNotFIDO2:
		return ErrNotFIDO2
	case faultUnsupported:
		return ErrUnsupported
	case faultNoLibrary:
		return fmt.Errorf("%w (%s)", ErrNoLibrary, f.Text)
	}
	return fmt.Errorf("%w: %s", ErrHelper, f.Text)
}

func (f *fault) statusErr() error {
	switch f.Code {
	case codeNoCredentials, codeInvalidCredential:
		return fmt.Errorf("%w: this one did not make the credential", ErrNoToken)
	case codePINInvalid:
		return &PINError{f.Retries}
	case codePINBlocked:
		return ErrPINBlocked
	case codePINAuthBlocked:
		return ErrPINAuthBlocked
	case codePINNotSet:
		return ErrPINNotSet
	case codePINRequired:
		return ErrPINRequired
	case codeUVInvalid:
		return ErrUVFailed
	case codeUVBlocked:
		return ErrUVBlocked
	case codePINPolicy:
		return fmt.Errorf("%w: its PIN must be changed first", ErrRefused)
	case codePermission:
		return fmt.Errorf("%w: its PIN doesn't do for this, only its own user verification", ErrPolicy)
	case codeChannelBusy:
		return ErrBusy
	case codeTimeout, codeUserTimeout, codeActionTimeout:
		return ErrTimeout
	case codeTX, codeRX, codeRXNotCBOR, codeRXInvalidCBOR, codeInternal:
		return fmt.Errorf("%w (libfido2 %d)", ErrLost, f.Code)
	case codeExcluded:
		return ErrEnrolled
	case codeDenied, codeNotAllowed, codeKeepaliveCancel:
		return fmt.Errorf("%w (CTAP %#02x)", ErrRefused, f.Code)
	case codeUnsupportedOption, codeInvalidOption, codeUnsupportedAlg, codeUPRequired, codePresenceRequired:
		return fmt.Errorf("%w: it cannot do what is asked (CTAP %#02x)", ErrPolicy, f.Code)
	}
	return fmt.Errorf("%w (libfido2 %#x)", ErrRefused, f.Code)
}

// ended tells why a call was given up with ctx.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("%w: %w", ErrTimeout, ctx.Err())
	}
	return fmt.Errorf("%w: %w", ErrInterrupted, ctx.Err())
}

//go:build cgo

package hardware

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	libfido2 "github.com/keys-pub/go-libfido2"
)

// The adapter is all of the module that calls libfido2. It runs in the helper only, on a locked thread whose
// signals are blocked. Arguments have been checked by request.check: go-libfido2 panics on empty slices.

const supported = true

// A program that takes no lock, as browsers don't, may have the token for a moment: then there is no sensible answer
// to getInfo, and the question is put again.
const (
	busyTries = 5
	busyPause = 250 * time.Millisecond
)

// current is the device being waited for, so that the helper can take a touch request back. It is written by the
// one worker and read by the watcher.
type current struct {
	device    atomic.Pointer[libfido2.Device]
	cancelled atomic.Bool
}

// over tells whether nothing more may be asked.
func (c *current) over() bool { return c.cancelled.Load() }

// cancel sends CTAPHID_CANCEL. It does nothing when the wait has not begun.
func (c *current) cancel() {
	c.cancelled.Store(true)
	if d := c.device.Load(); d != nil {
		_ = d.Cancel()
	}
}

func (c *current) open(path string) (*libfido2.Device, *fault) {
	d, err := libfido2.NewDevice(path)
	if err != nil {
		return nil, asFault(err)
	}
	c.device.Store(d)
	return d, nil
}

func locations() ([]location, *fault) {
	found, err := libfido2.DeviceLocations()
	if err != nil {
		return nil, &fault{Kind: faultOther, Text: "enumerate devices: " + err.Error()}
	}
	out := make([]location, len(found))
	for i, l := range found {
		out[i] = location{l.Path, l.Manufacturer, l.Product, uint16(l.VendorID), uint16(l.ProductID)}
	}
	return out, nil
}

// properties asks a device what it can do. The details cost it more questions; pending is called after each.
func (c *current) properties(path string, details bool, pending func()) (*properties, *fault) {
	d, f := c.open(path)
	if f != nil {
		return nil, f
	}
	info, err := d.Info()
	for range busyTries {
		if !errors.Is(err, libfido2.ErrRX) {
			break
		}
		time.Sleep(busyPause)
		info, err = d.Info()
	}
	if err != nil {
		return nil, asFault(err)
	}
	pending()
	p := &properties{
		AAGUID: info.AAGUID, Versions: info.Versions, Extensions: info.Extensions,
		Options: make(map[string]bool, len(info.Options)), Retries: -1,
	}
	for _, o := range info.Options {
		p.Options[o.Name] = o.Value == libfido2.True
	}
	if details && p.Options[optionPIN] {
		p.Retries = retries(d)
		pending()
	}
	if details {
		if hid, err := d.CTAPHIDInfo(); err == nil {
			p.Firmware = fmt.Sprintf("%d.%d.%d", hid.Major, hid.Minor, hid.Build)
		}
		pending()
	}
	return p, nil
}

func retries(d *libfido2.Device) int {
	n, err := d.RetryCount()
	if err != nil || n < 0 || n > 255 {
		return -1
	}
	return n
}

// silent asks for an assertion without touch, PIN or secret. A token need not name the credential when it was asked
// for one only (CTAP 2.1, clause 6.2.2).
func (c *current) silent(path string, r reference) *fault {
	d, f := c.open(path)
	if f != nil {
		return f
	}
	a, err := d.Assertion(r.RPID, clientDataHash(), [][]byte{r.ID}, "", &libfido2.AssertionOpts{UP: libfido2.False})
	if err == nil && len(a.CredentialID) > 0 && !bytes.Equal(a.CredentialID, r.ID) {
		return &fault{Kind: faultCTAP, Code: codeNoCredentials}
	}
	return asFault(err)
}

// secret makes the real assertion.
func (c *current) secret(r *request) (authData, secret []byte, _ *fault) {
	d, f := c.open(r.Device)
	if f != nil {
		return nil, nil, f
	}
	opts := &libfido2.AssertionOpts{Extensions: []libfido2.Extension{libfido2.HMACSecretExtension}, HMACSalt: r.Salt}
	if !r.Presence {
		opts.UP = libfido2.False
	}
	if r.Verify {
		opts.UV = libfido2.True
	}
	credential := r.Credentials[0]
	a, err := d.Assertion(credential.RPID, clientDataHash(), [][]byte{credential.ID}, string(r.PIN), opts)
	if err != nil {
		f := pinFault(d, err)
		// What a token says whose own verification failed and may not be tried again for now (CTAP 2.1, clause 6.2.2):
		// that it wants its PIN instead, or, without one, that it refuses.
		if r.Verify && (f.Code == codePINRequired || f.Code == codeDenied) {
			f.Code = codeUVBlocked
		}
		return nil, nil, f
	}
	return a.AuthDataCBOR, a.HMACSecret, nil
}

// create makes a non-resident credential.
func (c *current) create(r *request) (authData, id []byte, _ *fault) {
	d, f := c.open(r.Device)
	if f != nil {
		return nil, nil, f
	}
	opts := &libfido2.MakeCredentialOpts{Extensions: []libfido2.Extension{libfido2.HMACSecretExtension}}
	if r.Verify {
		opts.UV = libfido2.True
	}
	if r.Unprotected {
		opts.CredProtect = libfido2.CredProtectUVOptional
	}
	a, err := d.MakeCredential(clientDataHash(), libfido2.RelyingParty{ID: r.RPID, Name: r.RPID},
		libfido2.User{ID: r.UserID, Name: r.UserName, DisplayName: r.DisplayName},
		libfido2.CredentialType(r.Algorithm), string(r.PIN), opts)
	if err != nil {
		return nil, nil, pinFault(d, err)
	}
	return a.AuthData, a.CredentialID, nil
}

// clientDataHash has no client behind it: signatures are not looked at, the secret proves itself.
func clientDataHash() []byte {
	b := make([]byte, 32)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return b
}

func pinFault(d *libfido2.Device, err error) *fault {
	f := asFault(err)
	if f.Code == codePINInvalid {
		f.Retries = retries(d)
	}
	return f
}

// asFault finds libfido2's code again in go-libfido2's error.
func asFault(err error) *fault {
	if err == nil {
		return nil
	}
	var e libfido2.Error
	if errors.As(err, &e) {
		return &fault{Kind: faultCTAP, Code: e.Code}
	}
	if errors.Is(err, libfido2.ErrNotFIDO2) {
		return &fault{Kind: faultNotFIDO2}
	}
	for _, known := range []struct {
		err  error
		code int
	}{
		{libfido2.ErrTX, codeTX}, {libfido2.ErrRX, codeRX}, {libfido2.ErrRXNotCBOR, codeRXNotCBOR},
		{libfido2.ErrRXInvalidCBOR, codeRXInvalidCBOR}, {libfido2.ErrInternal, codeInternal},
		{libfido2.ErrInvalidArgument, codeInvalidArgument}, {libfido2.ErrUserPresenceRequired, codePresenceRequired},
		{libfido2.ErrInvalidCommand, codeInvalidCommand}, {libfido2.ErrInvalidLength, codeInvalidLength},
		{libfido2.ErrMissingParameter, codeMissingParameter}, {libfido2.ErrInvalidCredential, codeInvalidCredential},
		{libfido2.ErrOperationDenied, codeDenied}, {libfido2.ErrUnsupportedOption, codeUnsupportedOption},
		{libfido2.ErrInvalidOption, codeInvalidOption}, {libfido2.ErrKeepaliveCancel, codeKeepaliveCancel},
		{libfido2.ErrNoCredentials, codeNoCredentials}, {libfido2.ErrNotAllowed, codeNotAllowed},
		{libfido2.ErrPinInvalid, codePINInvalid}, {libfido2.ErrPinAuthBlocked, codePINAuthBlocked},
		{libfido2.ErrPinNotSet, codePINNotSet}, {libfido2.ErrPinRequired, codePINRequired},
		{libfido2.ErrPinPolicyViolation, codePINPolicy}, {libfido2.ErrActionTimeout, codeActionTimeout},
		{libfido2.ErrUPRequired, codeUPRequired}, {libfido2.ErrOther, codeOther},
	} {
		if errors.Is(err, known.err) {
			return &fault{Kind: faultCTAP, Code: known.code}
		}
	}
	return &fault{Kind: faultOther, Text: err.Error()}
}

package softtoken

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// Status bytes of a keepalive (clause 11.2.9.2.1).
const (
	statusProcessing = 1
	statusTouch      = 2
)

// status is a CTAP2 status code (clause 6.3), which doubles as the error of a command.
type status byte

func (s status) Error() string { return fmt.Sprintf("CTAP2 status %#02x", byte(s)) }

const (
	statusOK                  status = 0x00
	errInvalidCommand         status = 0x01
	errInvalidParameter       status = 0x02
	errInvalidLength          status = 0x03
	errUnexpectedType         status = 0x11
	errInvalidCBOR            status = 0x12
	errMissingParameter       status = 0x14
	errCredentialExcluded     status = 0x19
	errUnsupportedAlgorithm   status = 0x26
	errOperationDenied        status = 0x27
	errKeyStoreFull           status = 0x28
	errUnsupportedOption      status = 0x2b
	errInvalidOption          status = 0x2c
	errKeepaliveCancel        status = 0x2d
	errNoCredentials          status = 0x2e
	errUserActionTimeout      status = 0x2f
	errNotAllowed             status = 0x30
	errPINInvalid             status = 0x31
	errPINBlocked             status = 0x32
	errPINAuthInvalid         status = 0x33
	errPINAuthBlocked         status = 0x34
	errPINNotSet              status = 0x35
	errPINRequired            status = 0x36
	errPINPolicy              status = 0x37
	errUVBlocked              status = 0x3c
	errInvalidSubcommand      status = 0x3e
	errUVInvalid              status = 0x3f
	errUnauthorizedPermission status = 0x40
	errOther                  status = 0x7f
	commandMakeCredential            = 0x01
	commandGetAssertion              = 0x02
	commandGetInfo                   = 0x04
	commandClientPIN                 = 0x06
	commandReset                     = 0x07
	commandGetNextAssertion          = 0x08
	commandManage                    = 0x0a
	commandManagePreview             = 0x41 // of 2.1's drafts; libfido2 1.12 knows no other
	commandSelection                 = 0x0b
	maxCredentialsInList             = 16
	maxCredentialIDLength            = 256
	maxRequest                       = maxMessage - 1
	defaultTouchTimeout              = 30 * time.Second
	resetWindow                      = 10 * time.Second // clause 6.6
)

// authenticator is a powered token: what is in its file, and what it forgets without power. One command at a
// time: the transport sees to it.
type authenticator struct {
	path    string
	powered time.Time
	pins    [3]*pinProtocol        // by version; 0 is unused
	failed  int                    // wrong PINs since power-up (clause 6.5.2.2)
	seen    atomic.Uint64          // reports not yet counted in the file
	quirks  atomic.Pointer[Quirks] // as of the last command, INIT or power-up
	round   *round                 // what is left for getNextAssertion
	listing *listing               // what is left for credential management
	enc     cbor.EncMode
	dec     cbor.DecMode
}

func newAuthenticator(path string) (*authenticator, error) {
	a := &authenticator{path: path, powered: time.Now()}
	for v := uint(1); v <= 2; v++ {
		p, err := newPINProtocol(v)
		if err != nil {
			return nil, err
		}
		a.pins[v] = p
	}
	var err error
	if a.enc, err = cbor.CTAP2EncOptions().EncMode(); err != nil {
		return nil, err
	}
	if a.dec, err = decodeMode(); err != nil {
		return nil, err
	}
	_, err = a.refresh()
	return a, err
}

// refresh reads the state file again: how the token behaves may have been changed.
func (a *authenticator) refresh() (*state, error) {
	s, err := load(a.path)
	if err != nil {
		if a.quirks.Load() == nil {
			a.quirks.Store(&Quirks{})
		}
		return nil, err
	}
	q := s.Behaviour.Quirks
	a.quirks.Store(&q)
	return s, nil
}

// decodeMode bounds what a client may send: clause 8 allows four levels and no indefinite lengths.
func decodeMode() (cbor.DecMode, error) {
	return cbor.DecOptions{
		DupMapKey: cbor.DupMapKeyEnforcedAPF, MaxNestedLevels: 4, MaxArrayElements: 128, MaxMapPairs: 64,
		IndefLength: cbor.IndefLengthForbidden, TagsMd: cbor.TagsForbidden, UTF8: cbor.UTF8RejectInvalid,
	}.DecMode()
}

// handle runs one CBOR command and gives the answer with its status byte first.
func (a *authenticator) handle(ctx context.Context, request []byte, report func(status uint32)) []byte {
	answer, err := a.dispatch(ctx, request, report)
	if err != nil {
		var s status
		if !errors.As(err, &s) {
			s = errOther
		}
		return []byte{byte(s)}
	}
	if answer == nil {
		return []byte{byte(statusOK)}
	}
	b, err := a.enc.Marshal(answer)
	if err != nil {
		return []byte{byte(errOther)}
	}
	return append([]byte{byte(statusOK)}, b...)
}

// command is one request being carried out: the state it found, and how to tell the client to wait.
type command struct {
	*authenticator
	*state
	ctx    context.Context
	report func(status uint32)

	touched bool         // the user was present in this command
	used    *pinProtocol // the one whose token this command carries
}

func (a *authenticator) dispatch(ctx context.Context, request []byte, report func(uint32)) (any, error) {
	if len(request) == 0 {
		return nil, errInvalidLength
	}
	s, err := a.refresh()
	if err != nil {
		return nil, err
	}
	if d := s.Behaviour.Quirks.Delay; d > 0 && pause(ctx, d) != nil {
		return nil, errKeepaliveCancel
	}
	c := &command{authenticator: a, state: s, ctx: ctx, report: report}
	if request[0] != commandGetNextAssertion {
		a.round = nil
	}
	if request[0] != commandManage && request[0] != commandManagePreview {
		a.listing = nil
	}
	body := request[1:]
	switch request[0] {
	case commandGetInfo:
		return c.getInfo()
	case commandMakeCredential:
		return c.makeCredential(body)
	case commandGetAssertion:
		return c.getAssertion(body)
	case commandClientPIN:
		return c.clientPIN(body)
	case commandReset:
		return nil, c.reset()
	case commandGetNextAssertion:
		return c.nextAssertion()
	case commandManage, commandManagePreview:
		if c.Behaviour.CTAP20 {
			return nil, errInvalidCommand
		}
		return c.manage(body)
	case commandSelection:
		if c.Behaviour.CTAP20 {
			return nil, errInvalidCommand
		}
		return nil, c.touch()
	default:
		return nil, errInvalidCommand
	}
}

// parse decodes a request's parameters into v.
func (c *command) parse(body []byte, v any) error {
	err := c.dec.Unmarshal(body, v)
	var wrongType *cbor.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &wrongType):
		return errUnexpectedType
	default:
		return errInvalidCBOR
	}
}

// count changes the state file; fn sees the newest state, and c.state becomes it.
func (c *command) count(fn func(*state)) error {
	reports := c.authenticator.seen.Swap(0)
	return update(c.path, func(s *state) error {
		s.Seen.Frames += reports
		fn(s)
		c.state = s
		return nil
	})
}

type info struct {
	Versions   []string        `cbor:"1,keyasint"`
	Extensions []string        `cbor:"2,keyasint,omitempty"`
	AAGUID     []byte          `cbor:"3,keyasint"`
	Options    map[string]bool `cbor:"4,keyasint"`
	MaxMessage uint            `cbor:"5,keyasint"`
	Protocols  []uint          `cbor:"6,keyasint"`
	MaxList    uint            `cbor:"7,keyasint,omitempty"`
	MaxID      uint            `cbor:"8,keyasint,omitempty"`
	Transports []string        `cbor:"9,keyasint,omitempty"`
	Algorithms []parameter     `cbor:"10,keyasint,omitempty"`
	MinPIN     uint            `cbor:"13,keyasint,omitempty"`
	Firmware   uint            `cbor:"14,keyasint,omitempty"`
	UVTries    uint            `cbor:"17,keyasint,omitempty"`
	Space      *uint           `cbor:"20,keyasint,omitempty"`
}

func (c *command) getInfo() (any, error) {
	if err := c.count(func(s *state) { s.Seen.GetInfo++ }); err != nil {
		return nil, err
	}
	b := c.Behaviour
	i := info{
		Versions: []string{"FIDO_2_0"}, Extensions: []string{"credProtect", "hmac-secret"}, AAGUID: c.AAGUID,
		Options:    map[string]bool{"rk": true, "up": true, "plat": false, "clientPin": c.hasPIN()},
		MaxMessage: maxMessage, Protocols: c.protocols(),
	}
	if b.NoSecret {
		i.Extensions = i.Extensions[:1]
	}
	if b.UV {
		i.Options["uv"] = true
	}
	if b.CTAP20 {
		i.Extensions = i.Extensions[1:] // credProtect is of 2.1
		return i, nil
	}
	i.Versions = append(i.Versions, "FIDO_2_1")
	for _, has := range []string{"pinUvAuthToken", "credMgmt", "credentialMgmtPreview"} {
		i.Options[has] = true
	}
	if b.AlwaysUV {
		i.Options["alwaysUv"] = true
	}
	if b.Quirks.OptionalPIN && !b.AlwaysUV {
		i.Options["makeCredUvNotRqd"] = true
	}
	i.MaxList, i.MaxID, i.Transports = maxCredentialsInList, maxCredentialIDLength, []string{"usb"}
	i.Algorithms = []parameter{{algES256, publicKeyType}, {algEdDSA, publicKeyType}}
	i.MinPIN, i.Firmware = minPINLength, 1
	space := uint(maxResident - len(c.state.Resident))
	i.Space = &space
	if b.UV {
		i.UVTries = 1 // then the PIN
	}
	return i, nil
}

func (c *command) hasPIN() bool { return len(c.state.PIN.Hash) != 0 }

// protects tells whether making a credential needs user verification (clause 6.1.2, steps 5 to 7).
func (c *command) protects(rk bool) bool {
	optional := c.Behaviour.Quirks.OptionalPIN && !rk // makeCredUvNotRqd
	return (c.hasPIN() || c.Behaviour.UV) && !optional || c.Behaviour.AlwaysUV
}

func (c *command) protocols() []uint {
	if p := c.Behaviour.Protocols; len(p) > 0 {
		return p
	}
	if c.Behaviour.CTAP20 {
		return []uint{1}
	}
	return []uint{2, 1}
}

// touch asks for the user's presence and waits for it.
func (c *command) touch() error {
	var before uint64
	err := c.count(func(s *state) {
		s.Seen.Blinks++
		s.Blinking, before = true, s.Presses
	})
	if err != nil {
		return err
	}
	c.report(statusTouch)
	err = c.wait(before)
	c.touched = err == nil
	c.report(statusProcessing)
	return errors.Join(err, c.count(func(s *state) { s.Blinking = false }))
}

func (c *command) wait(before uint64) error {
	timeout := c.Behaviour.Timeout
	if timeout <= 0 {
		timeout = defaultTouchTimeout
	}
	if !c.Behaviour.Button && c.Behaviour.Touch <= timeout {
		if pause(c.ctx, c.Behaviour.Touch) != nil {
			return errKeepaliveCancel
		}
		return nil
	}
	for end := time.Now().Add(timeout); time.Now().Before(end); {
		if pause(c.ctx, pollInterval) != nil {
			return errKeepaliveCancel
		}
		s, err := load(c.path)
		if err != nil {
			return err
		}
		if s.Presses != before {
			return nil
		}
	}
	return errUserActionTimeout
}

// reset forgets PIN, resident credentials and master key, and with it every credential (clause 6.6).
func (c *command) reset() error {
	if time.Since(c.powered) > resetWindow {
		return errNotAllowed
	}
	if err := c.touch(); err != nil {
		return err
	}
	master, err := randomBytes(32)
	if err != nil {
		return err
	}
	c.failed = 0
	for _, p := range c.pins[1:] {
		if err := errors.Join(p.regenerate(), p.resetToken()); err != nil {
			return err
		}
	}
	return c.count(func(s *state) {
		s.Master, s.PIN, s.UVFailures, s.Resident = master, pinState{Retries: maxRetries}, 0, nil
	})
}

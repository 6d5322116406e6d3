package hardware

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"bkfs/keyring"
)

// finding is what one device answered to an inspection.
type finding struct {
	device device
	answer *answer
	err    error
}

// inspect asks every device side by side what it is and which of the credentials it made.
func (t *Tokens) inspect(ctx context.Context, devices []device, r request) []finding {
	out := make([]finding, len(devices))
	slots := make(chan struct{}, maxAtOnce)
	var wg sync.WaitGroup
	for i, d := range devices {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			r := r
			r.Op, r.Device = opInspect, d.at.Path
			a, err := t.call(ctx, t.options.ProbeTimeout, &r)
			out[i] = finding{d, a, err}
		})
	}
	wg.Wait()
	return out
}

// Find asks every device silently which of the credentials it made. Matches that are certain come alone; a token
// that does not answer silent questions is named only when there is none. Once a match is certain, other devices have
// a short time left to match too; who hasn't answered then isn't waited for. When nothing matches and a device could
// not be asked, the error is a *ProbeError.
func (t *Tokens) Find(ctx context.Context, credentials []keyring.FIDO2) ([]keyring.Match, error) {
	t.mu.Lock()
	clear(t.denied)
	t.mu.Unlock()
	return t.look(ctx, credentials, false)
}

// Await is Find until something matches or ctx's deadline comes: it asks devices that are plugged in meanwhile, and again those that could not be
// asked. Devices that denied the credentials in the last Find are left alone, unless they are plugged in again.
func (t *Tokens) Await(ctx context.Context, credentials []keyring.FIDO2) ([]keyring.Match, error) {
	return t.look(ctx, credentials, true)
}

func (t *Tokens) look(ctx context.Context, credentials []keyring.FIDO2, patient bool) ([]keyring.Match, error) {
	if len(credentials) == 0 || t.spec.None() {
		return nil, nil
	}
	references, err := refer(credentials)
	if err != nil {
		return nil, err
	}
	s := newSearch(t, references, credentials, patient)
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	matches := s.matches()
	return matches, t.outcome(len(matches) > 0, s.answered, s.faults())
}

func refer(credentials []keyring.FIDO2) ([]reference, error) {
	if len(credentials) > maxCredentials {
		return nil, fmt.Errorf("look for a token: %d credentials, at most %d", len(credentials), maxCredentials)
	}
	out := make([]reference, len(credentials))
	for i, c := range credentials {
		if c.RPID == "" || len(c.RPID) > maxRPID || len(c.CredentialID) == 0 || len(c.CredentialID) > maxCredentialID {
			return nil, fmt.Errorf("look for a token: credential %d cannot be one", i)
		}
		out[i] = reference{c.RPID, c.CredentialID}
	}
	return out, nil
}

// outcome tells of devices that could not be asked: aside when another one matched, else as the error. A device
// that does not do FIDO2, or not hmac-secret, is no fault.
func (t *Tokens) outcome(matched, answered bool, faults []error) error {
	var left []error
	for _, err := range faults {
		switch {
		case errors.Is(err, ErrNotFIDO2), errors.Is(err, ErrNoHMACSecret):
			if matched {
				t.options.Log.Info(err.Error())
				continue
			}
			t.notice(err.Error())
		case errors.Is(err, ErrUnsupported):
			return ErrUnsupported
		case matched:
			t.notice(err.Error())
		default:
			left = append(left, err)
		}
	}
	if len(left) == 0 {
		return nil
	}
	return &ProbeError{left, answered}
}

// ProbeError says that no token fits, and which devices could not be asked or used. It is each of their errors, and
// ErrNoToken when another device did answer: then waiting for these may be in vain.
type ProbeError struct {
	Devices  []error
	Answered bool
}

func (e *ProbeError) Error() string {
	var texts []string
	if e.Answered {
		texts = append(texts, ErrNoToken.Error())
	}
	for _, err := range e.Devices {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

// Unwrap gives ErrNoToken, if it is one, and the devices' errors.
func (e *ProbeError) Unwrap() []error {
	if e.Answered {
		return append([]error{ErrNoToken}, e.Devices...)
	}
	return e.Devices
}

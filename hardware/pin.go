package hardware

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"bkfs/archive/seal"
)

// askError is a PIN that could not be had, as the user interface says it: no other token is asked for one then.
type askError struct{ err error }

func (e *askError) Error() string { return e.err.Error() }
func (e *askError) Unwrap() error { return e.err }

// withPIN asks for the PIN of a token and uses it once. Only a person who mistyped it is asked again, as long as the
// token takes another. The PIN is wiped.
func (t *Tokens) withPIN(ctx context.Context, d device, p *properties, asked Asked, use func(pin []byte) error) error {
	for retries := p.Retries; ; {
		pin, err := t.askPIN(ctx, p.Options[optionPIN], retries, asked)
		if err != nil {
			return err
		}
		err = use(pin)
		seal.Wipe(pin)
		var wrong *PINError
		if !errors.As(err, &wrong) || !t.options.UI.Retype || wrong.Retries == 0 {
			return err
		}
		t.notice(wrong.Error())
		retries = wrong.Retries
	}
}

// askPIN asks the user once, having shown how many tries are left.
func (t *Tokens) askPIN(ctx context.Context, set bool, retries int, asked Asked) ([]byte, error) {
	switch {
	case !set:
		return nil, ErrPINNotSet
	case retries == 0:
		return nil, ErrPINBlocked
	case t.options.UI.PIN == nil:
		return nil, ErrPINRequired
	}
	pin, err := t.options.UI.PIN(ctx, asked, retries)
	if err != nil {
		return nil, &askError{err}
	}
	if len(pin) == 0 || len(pin) > maxPIN || bytes.IndexByte(pin, 0) >= 0 {
		seal.Wipe(pin)
		return nil, fmt.Errorf("%w: no token has such a PIN, so it was not tried", ErrPINInvalid)
	}
	return pin, nil
}

// detail asks a device for what is only needed now and then, the PIN's retries among it.
func (t *Tokens) detail(ctx context.Context, d device) (*properties, error) {
	f := t.inspect(ctx, []device{d}, request{Details: true})[0]
	if f.err != nil {
		return nil, f.err
	}
	return f.answer.Properties, nil
}

package softtoken

import (
	"context"
	"fmt"
	"time"
)

// Status is what can be told of a token without its secrets.
type Status struct {
	Warning   string    `json:"warning"`
	PINSet    bool      `json:"pin_set"`
	Retries   int       `json:"pin_retries"`
	Blinking  bool      `json:"blinking"`
	Seen      Seen      `json:"seen"`
	Behaviour Behaviour `json:"behaviour"`
}

// Read tells how the token in the file path is.
func Read(path string) (Status, error) {
	s, err := load(path)
	if err != nil {
		return Status{}, err
	}
	return Status{
		Warning: s.Warning, PINSet: len(s.PIN.Hash) != 0, Retries: s.PIN.Retries,
		Blinking: s.Blinking, Seen: s.Seen, Behaviour: s.Behaviour,
	}, nil
}

// Behave changes how the token answers from its next command on.
func Behave(path string, fn func(*Behaviour)) error {
	return update(path, func(s *state) error {
		fn(&s.Behaviour)
		return nil
	})
}

// AwaitBlink returns when the token asks for a touch. It gives up with ctx: ErrIdle.
func AwaitBlink(ctx context.Context, path string) error {
	for {
		s, err := load(path)
		if err != nil {
			return err
		}
		if s.Blinking {
			return nil
		}
		if err := pause(ctx, pollInterval); err != nil {
			return fmt.Errorf("%w: %w", ErrIdle, err)
		}
	}
}

// Press touches the token's button as soon as it blinks. It gives up with ctx: ErrIdle.
func Press(ctx context.Context, path string) error {
	if err := AwaitBlink(ctx, path); err != nil {
		return err
	}
	return update(path, func(s *state) error {
		s.Presses++
		return nil
	})
}

// pollInterval is how often a waiting token and a waiting finger look at the state file: it needs no second
// channel beside the file, and works whichever process serves the token.
const pollInterval = 10 * time.Millisecond

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

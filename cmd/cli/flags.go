package cli

import (
	"fmt"
	"strings"
	"time"
)

// parseYes reads a boolean as systemd's programs do.
func parseYes(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "yes", "y", "true", "t", "on", "1":
		return true, nil
	case "no", "n", "false", "f", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither yes nor no", text)
}

// yesNo is a flag's value; given without one it means yes.
type yesNo bool

func (v *yesNo) String() string { return yes(bool(*v)) }
func (v *yesNo) Type() string   { return "yes|no" }

func (v *yesNo) Set(text string) error {
	b, err := parseYes(text)
	*v = yesNo(b)
	return err
}

// optionalBool is a flag's value that may be absent.
type optionalBool struct{ set, b bool }

func (v *optionalBool) String() string { return "" }
func (v *optionalBool) Type() string   { return "yes|no" }

func (v *optionalBool) Set(text string) (err error) {
	v.b, err = parseYes(text)
	v.set = err == nil
	return err
}

// optionalDuration is a flag's value that may be absent.
type optionalDuration struct {
	set bool
	d   time.Duration
}

func (v *optionalDuration) String() string { return "" }
func (v *optionalDuration) Type() string   { return "duration" }

func (v *optionalDuration) Set(text string) (err error) {
	if v.d, err = time.ParseDuration(text); err != nil {
		return err
	}
	if v.d < 0 {
		return fmt.Errorf("%v is negative", v.d)
	}
	v.set = true
	return nil
}

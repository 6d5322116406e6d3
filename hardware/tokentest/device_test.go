//go:build cgo

package tokentest_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"

	"bkfs/hardware"
	"bkfs/hardware/tokentest"
	"bkfs/keyring"
)

const (
	deviceVariable = "BKFS_TEST_FIDO2_DEVICE"
	pinVariable    = "BKFS_TEST_FIDO2_PIN"
	spareTries     = 3 // of the PIN: they are the owner's
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == hardware.HelperCommand {
		os.Exit(hardware.HelperMain(os.Stdin, os.Stdout))
	}
	os.Exit(m.Run())
}

// owner is who stands beside a real token.
type owner struct {
	mu      sync.Mutex
	touches int
	tries   int // of the PIN, as they were when it was given; 0: not yet
}

func (o *owner) ui(t *testing.T) hardware.UI {
	return hardware.UI{
		Touch: func(tokens []hardware.Asked) {
			o.mu.Lock()
			defer o.mu.Unlock()
			o.touches++
			fmt.Fprintf(os.Stderr, "\n>>> %s: TOUCH the key now (%s), touch %d\n", t.Name(), tokens[0].Device, o.touches)
		},
		Notice: func(text string) { t.Log(text) },
		PIN: func(context.Context, hardware.Asked, int) ([]byte, error) {
			return nil, fmt.Errorf("the token has a PIN: set %s", pinVariable)
		},
	}
}

// give hands the PIN out for as long as that costs no try: fewer tries left than before mean that it is wrong.
func (o *owner) give(pin string, retries int) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if retries >= 0 && (retries <= spareTries || retries < o.tries) {
		return nil, fmt.Errorf("%d tries are left: the PIN in %s is not tried (again)", retries, pinVariable)
	}
	o.tries = retries
	return []byte(pin), nil
}

// TestDevice runs the suite against the real token that BKFS_TEST_FIDO2_DEVICE names.
func TestDevice(t *testing.T) {
	device, pin := os.Getenv(deviceVariable), os.Getenv(pinVariable)
	if device == "" {
		t.Skipf("%s names no real token, e.g. /dev/hidraw3 or auto", deviceVariable)
	}
	spec, err := hardware.ParseSpec(device)
	if err != nil {
		t.Fatal(err)
	}
	var o owner
	subject := tokentest.Subject{
		New: func(t *testing.T) keyring.Token {
			ui := o.ui(t)
			if pin != "" {
				ui.PIN = func(_ context.Context, _ hardware.Asked, retries int) ([]byte, error) { return o.give(pin, retries) }
			}
			tokens := hardware.New(spec, hardware.Options{UI: ui})
			t.Cleanup(func() {
				if err := tokens.Close(); err != nil {
					t.Error(err)
				}
			})
			return tokens
		},
		Lacks: func(err error) bool { return errors.Is(err, hardware.ErrPolicy) },
	}
	if pin != "" {
		subject.Request = func(r *keyring.EnrollRequest) { r.RequirePIN = true }
	}
	tokentest.Run(t, subject)
}

// TestWrongPIN doesn't try a PIN again that was wrong once, nor one of which few tries are left.
func TestWrongPIN(t *testing.T) {
	for _, row := range []struct {
		retries []int
		given   int
	}{
		{[]int{8, 8, 8}, 3}, {[]int{8, 7, 7}, 1}, {[]int{3}, 0}, {[]int{-1, -1}, 2}, {[]int{5, 4, 3}, 1},
	} {
		var o owner
		given := 0
		for _, n := range row.retries {
			if _, err := o.give("1234", n); err != nil {
				break
			}
			given++
		}
		if given != row.given {
			t.Errorf("tries left %v: the PIN was given %d times, want %d", row.retries, given, row.given)
		}
	}
}

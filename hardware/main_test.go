package hardware

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"bkfs/archive/seal"
	"bkfs/hardware/softtoken"
	"bkfs/keyring"
)

// Helpers that misbehave. crashCommand ends by SIGSEGV when it is asked for the device whose path is its next
// argument, or for any when there is none.
const (
	crashCommand   = "__crash"
	muteCommand    = "__mute"
	garbageCommand = "__garbage"
	nobodyCommand  = "__nobody"
	denyCommand    = "__deny"   // the device denies every credential that it is asked for silently
	unsureCommand  = "__unsure" // the device's own user verification is blocked
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case HelperCommand:
			os.Exit(HelperMain(os.Stdin, os.Stdout))
		case crashCommand:
			crash(os.Args[2:])
		case nobodyCommand:
			asNobody()
		case denyCommand:
			change(nil, func(a *answer) { clear(a.Verdicts) })
		case unsureCommand:
			change(func(r *request) *answer {
				if r.Op == opSecret && r.Verify {
					return &answer{Fault: &fault{Kind: faultCTAP, Code: codeUVBlocked}}
				}
				return nil
			}, nil)
		case muteCommand: // ends with its stdin only
			_, _ = io.Copy(io.Discard, os.Stdin)
			time.Sleep(time.Hour) // until it is killed
		case garbageCommand:
			_, _ = os.Stdout.WriteString(strings.Repeat("\xff", 1<<10))
			os.Exit(0)
		}
	}
	os.Exit(m.Run())
}

func crash(paths []string) {
	var r request
	if readFrame(os.Stdin, &r) != nil {
		os.Exit(9)
	}
	if len(paths) == 0 || paths[0] == r.Device {
		_ = syscall.Kill(os.Getpid(), syscall.SIGSEGV)
		time.Sleep(time.Hour) // the signal is on its way
	}
	var again bytes.Buffer
	_ = writeFrame(&again, &r)
	os.Exit(HelperMain(io.MultiReader(&again, os.Stdin), os.Stdout))
}

// change is a helper that gives an answer of its own, or changes the device's.
func change(own func(*request) *answer, edit func(*answer)) {
	var r request
	if readFrame(os.Stdin, &r) != nil {
		os.Exit(9)
	}
	if own != nil {
		if a := own(&r); a != nil {
			a.Version = wireVersion
			_ = writeFrame(os.Stdout, a)
			os.Exit(0)
		}
	}
	var again, frames bytes.Buffer
	_ = writeFrame(&again, &r)
	code := HelperMain(io.MultiReader(&again, os.Stdin), &frames)
	for {
		var a answer
		if readFrame(&frames, &a) != nil {
			os.Exit(code)
		}
		if edit != nil {
			edit(&a)
		}
		_ = writeFrame(os.Stdout, &a)
	}
}

// asNobody is a helper without the rights of root.
func asNobody() {
	if os.Getuid() == 0 && syscall.Setuid(65534) != nil {
		os.Exit(9)
	}
	os.Exit(HelperMain(os.Stdin, os.Stdout))
}

// voice is a UI that notes what it was told.
type voice struct {
	mu      sync.Mutex
	pins    []string // to answer with, in turn
	touches []string
	notices []string
	retries []int
}

func (v *voice) ui() UI {
	return UI{
		Touch: func(tokens []Asked) {
			v.mu.Lock()
			defer v.mu.Unlock()
			var labels []string
			for _, a := range tokens {
				labels = append(labels, a.Device)
			}
			v.touches = append(v.touches, strings.Join(labels, "; "))
		},
		Notice: func(text string) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.notices = append(v.notices, text)
		},
		PIN: func(_ context.Context, _ Asked, retries int) ([]byte, error) {
			v.mu.Lock()
			defer v.mu.Unlock()
			v.retries = append(v.retries, retries)
			if len(v.pins) == 0 {
				return nil, errors.New("asked for a PIN")
			}
			pin := []byte(v.pins[0])
			v.pins = v.pins[1:]
			return pin, nil
		},
	}
}

func (v *voice) said(part string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return strings.Contains(strings.Join(v.notices, "\n"), part)
}

// take gets the secret of one match.
func take(ctx context.Context, tokens *Tokens, m keyring.Match, f keyring.FIDO2) (*seal.Key, error) {
	m.Credential = 0
	_, key, err := tokens.Secret(ctx, []keyring.Match{m}, []keyring.FIDO2{f})
	return key, err
}

// newToken makes a software token's file.
func newToken(t *testing.T, o softtoken.Options) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token.json")
	if err := softtoken.Create(path, o); err != nil {
		t.Fatal(err)
	}
	return path
}

// serve powers a token up as a device of its own.
func serve(t *testing.T, path string) string {
	t.Helper()
	s, err := softtoken.Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s.Device()
}

func newTokens(t *testing.T, v *voice, o Options, specs ...string) *Tokens {
	t.Helper()
	spec, err := ParseSpec(specs...)
	if err != nil {
		t.Fatal(err)
	}
	o.UI = v.ui()
	tokens := New(spec, o)
	t.Cleanup(func() {
		if err := tokens.Close(); err != nil {
			t.Error(err)
		}
	})
	return tokens
}

func enrollRequest() keyring.EnrollRequest {
	return keyring.EnrollRequest{
		RPID: keyring.RPID, Label: "test", Algorithm: keyring.ES256, RequireUP: true, Salt: bytes.Repeat([]byte{7}, saltSize),
	}
}

func status(t *testing.T, path string) softtoken.Status {
	t.Helper()
	s, err := softtoken.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

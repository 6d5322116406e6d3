//go:build cgo

package hardware

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"bkfs/hardware/softtoken"
	"bkfs/keyring"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func needPIN(r *keyring.EnrollRequest) { r.RequirePIN = true }

// TestPIN follows the tries left: shown before, spent one at a time, blocked after three and after eight.
func TestPIN(t *testing.T) {
	t.Parallel()
	path, f, want := enrolled(t, softtoken.Options{PIN: pin}, needPIN)
	m := keyring.Match{Device: "soft:" + path}
	v := &voice{pins: []string{"0000", pin, "0000", "0000", "0000", pin}}
	tokens := newTokens(t, v, Options{}, m.Device)
	wrong := func(retries int) {
		t.Helper()
		_, err := take(t.Context(), tokens, m, f)
		var e *PINError
		if !errors.Is(err, ErrPINInvalid) || !errors.As(err, &e) || e.Retries != retries {
			t.Fatalf("got %v, want a wrong PIN and %d tries left", err, retries)
		}
	}
	wrong(7)
	key, err := take(t.Context(), tokens, m, f)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if !key.Equal(want) {
		t.Error("another secret")
	}
	wrong(7)
	wrong(6)
	for range 2 { // the third wrong one in a row, and then the right one
		if _, err := take(t.Context(), tokens, m, f); !errors.Is(err, ErrPINAuthBlocked) {
			t.Fatalf("got %v, want ErrPINAuthBlocked", err)
		}
	}
	if d := cmp.Diff([]int{8, 7, 8, 7, 6, 5}, v.retries); d != "" {
		t.Errorf("tries left as shown before each PIN: %s", d)
	}
	if got := status(t, path); got.Retries != 5 || got.Seen.PIN != 8 {
		t.Errorf("the token has %d tries left and saw %d PINs, want 5 and 8 (3 to enrol)", got.Retries, got.Seen.PIN)
	}
}

func TestPINBlocked(t *testing.T) {
	t.Parallel()
	path, f, _ := enrolled(t, softtoken.Options{PIN: pin}, needPIN)
	m := keyring.Match{Device: "soft:" + path}
	var err error
	for i := range 8 {
		tokens := newTokens(t, &voice{pins: []string{"0000"}}, Options{}, m.Device) // power is cut between the tries
		_, err = take(t.Context(), tokens, m, f)
		if i < 7 && !errors.Is(err, ErrPINInvalid) {
			t.Fatalf("try %d: got %v, want ErrPINInvalid", i, err)
		}
	}
	if !errors.Is(err, ErrPINBlocked) {
		t.Errorf("last try: got %v, want ErrPINBlocked", err)
	}
	v := &voice{}
	if _, err := take(t.Context(), newTokens(t, v, Options{}, m.Device), m, f); !errors.Is(err, ErrPINBlocked) || len(v.retries) != 0 {
		t.Errorf("when blocked: got %v and asked %d times, want ErrPINBlocked and no question", err, len(v.retries))
	}
}

func TestPINNotAsked(t *testing.T) {
	t.Parallel()
	path, f, _ := enrolled(t, softtoken.Options{PIN: pin}, needPIN)
	m := keyring.Match{Device: "soft:" + path}
	spec, _ := ParseSpec(m.Device)
	mute := New(spec, Options{})
	defer mute.Close()
	if _, err := take(t.Context(), mute, m, f); !errors.Is(err, ErrPINRequired) {
		t.Errorf("nobody to ask: got %v, want ErrPINRequired", err)
	}
	for _, bad := range []string{"", strings.Repeat("1", maxPIN+1), "12\x0034"} {
		tokens := newTokens(t, &voice{pins: []string{bad}}, Options{}, m.Device)
		if _, err := take(t.Context(), tokens, m, f); !errors.Is(err, ErrPINInvalid) {
			t.Errorf("PIN %q: got %v, want ErrPINInvalid", bad, err)
		}
	}
	if got := status(t, path); got.Retries != 8 {
		t.Errorf("impossible PINs cost tries: %d left", got.Retries)
	}
}

// TestPolicy has slots that were changed, and tokens that do otherwise than at enrolment.
func TestPolicy(t *testing.T) {
	t.Parallel()
	behave := func(fn func(*softtoken.Quirks)) func(*softtoken.Behaviour) {
		return func(b *softtoken.Behaviour) { fn(&b.Quirks) }
	}
	for _, test := range []struct {
		name    string
		options softtoken.Options
		request func(*keyring.EnrollRequest)
		change  func(*keyring.FIDO2)
		behave  func(*softtoken.Behaviour)
		want    error
	}{
		{"PIN dropped from the slot", softtoken.Options{PIN: pin, Behaviour: softtoken.Behaviour{AlwaysUV: true}}, needPIN,
			func(f *keyring.FIDO2) { f.PIN = false }, nil, ErrPINRequired},
		{"token verifies unasked", softtoken.Options{Behaviour: softtoken.Behaviour{UV: true}}, func(r *keyring.EnrollRequest) { r.RequireUV = true },
			func(f *keyring.FIDO2) { f.UserVerification = false }, func(b *softtoken.Behaviour) { b.AlwaysUV = true }, ErrPolicy},
		{"token cannot verify", softtoken.Options{}, nil, func(f *keyring.FIDO2) { f.UserVerification = true }, nil, ErrUVFailed},
		{"PIN added to the slot", softtoken.Options{}, nil, func(f *keyring.FIDO2) { f.PIN = true }, nil, ErrPINNotSet},
		{"no touch in a 2.1 token", softtoken.Options{}, nil, func(f *keyring.FIDO2) { f.UserPresence = false }, nil, ErrPolicy},
		{"UP bit missing", softtoken.Options{}, nil, nil, behave(func(q *softtoken.Quirks) { q.OmitUP = true }), ErrPolicy},
		{"UV bit missing", softtoken.Options{PIN: pin}, needPIN, nil, behave(func(q *softtoken.Quirks) { q.OmitUV = true }), ErrPolicy},
		{"zero secret", softtoken.Options{}, nil, nil, behave(func(q *softtoken.Quirks) { q.ZeroSecret = true }), ErrSecret},
		{"no secret", softtoken.Options{}, nil, nil, func(b *softtoken.Behaviour) { b.NoSecret = true }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path, f, _ := enrolled(t, test.options, test.request)
			if test.change != nil {
				test.change(&f)
			}
			if test.behave != nil {
				if err := softtoken.Behave(path, test.behave); err != nil {
					t.Fatal(err)
				}
			}
			m := keyring.Match{Device: "soft:" + path}
			key, err := take(t.Context(), newTokens(t, &voice{pins: []string{pin}}, Options{}, m.Device), m, f)
			if err == nil {
				key.Destroy()
				t.Fatal("a secret all the same")
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			t.Log(err)
		})
	}
}

// TestNoTouchPolicy is possible with CTAP 2.0 tokens only.
func TestNoTouchPolicy(t *testing.T) {
	t.Parallel()
	path, f, want := enrolled(t, softtoken.Options{Behaviour: softtoken.Behaviour{CTAP20: true}},
		func(r *keyring.EnrollRequest) { r.RequireUP = false })
	before := status(t, path).Seen.Blinks
	v := &voice{}
	key, err := take(t.Context(), newTokens(t, v, Options{}, "soft:"+path), keyring.Match{Device: "soft:" + path}, f)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if !key.Equal(want) || status(t, path).Seen.Blinks != before || len(v.touches) != 0 {
		t.Errorf("another secret, or a touch after all")
	}
}

// TestTouch waits for the button; nobody presses it before the token blinks.
func TestTouch(t *testing.T) {
	t.Parallel()
	path, f, want := enrolled(t, softtoken.Options{}, nil)
	button(t, path)
	v := &voice{}
	tokens := newTokens(t, v, Options{}, "soft:"+path)
	pressed := make(chan error, 1)
	go func() { pressed <- softtoken.Press(t.Context(), path) }()
	key, err := take(t.Context(), tokens, keyring.Match{Device: "soft:" + path}, f)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if err := <-pressed; err != nil || !key.Equal(want) || len(v.touches) != 1 {
		t.Errorf("pressed %v, said %q", err, v.touches)
	}
}

func button(t *testing.T, path string) {
	t.Helper()
	if err := softtoken.Behave(path, func(b *softtoken.Behaviour) { b.Button = true }); err != nil {
		t.Fatal(err)
	}
}

// TestUntouched has nobody press the button, or Ctrl-C while waiting: the token must stop blinking.
func TestUntouched(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name  string
		limit time.Duration
		stop  bool
		want  error
	}{
		{"Timeout", 400 * time.Millisecond, false, ErrTimeout},
		{"Interrupt", time.Minute, true, ErrInterrupted},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path, f, _ := enrolled(t, softtoken.Options{}, nil)
			button(t, path)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			tokens := newTokens(t, &voice{}, Options{TouchTimeout: test.limit}, "soft:"+path)
			if test.stop {
				go func() {
					if err := softtoken.AwaitBlink(t.Context(), path); err != nil {
						t.Error(err)
					}
					cancel()
				}()
			}
			_, err := take(ctx, tokens, keyring.Match{Device: "soft:" + path}, f)
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if status(t, path).Blinking {
				t.Error("the token still blinks")
			}
			// The token is free for the next one at once.
			go func() { _ = softtoken.Press(t.Context(), path) }()
			key, err := take(t.Context(), tokens, keyring.Match{Device: "soft:" + path}, f)
			if test.stop && err != nil {
				t.Errorf("afterwards: %v", err)
			}
			key.Destroy()
		})
	}
}

// TestUnplugged takes the device away while it waits for a touch.
func TestUnplugged(t *testing.T) {
	t.Parallel()
	path, f, _ := enrolled(t, softtoken.Options{}, nil)
	button(t, path)
	s, err := softtoken.Start(path)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		if err := softtoken.AwaitBlink(t.Context(), path); err != nil {
			t.Error(err)
		}
		s.Close()
	}()
	m := keyring.Match{Device: s.Device()}
	if _, err := take(t.Context(), newTokens(t, &voice{}, Options{}, m.Device), m, f); !errors.Is(err, ErrLost) {
		t.Errorf("got %v, want ErrLost", err)
	}
}

// TestSignals sends signals to every thread of the helper while it waits for a touch: libfido2 would take the
// interrupted wait for a failure.
func TestSignals(t *testing.T) {
	path, f, want := enrolled(t, softtoken.Options{}, nil)
	button(t, path)
	tokens := newTokens(t, &voice{}, Options{}, "soft:"+path)
	sent := make(chan int, 1)
	go func() {
		if err := softtoken.AwaitBlink(t.Context(), path); err != nil {
			t.Error(err)
		}
		n := 0
		for _, thread := range helperThreads() {
			for _, signal := range []unix.Signal{unix.SIGCHLD, unix.SIGURG, unix.SIGWINCH} {
				if unix.Tgkill(thread[0], thread[1], signal) == nil {
					n++
				}
			}
		}
		_ = softtoken.Press(t.Context(), path)
		sent <- n
	}()
	key, err := take(t.Context(), tokens, keyring.Match{Device: "soft:" + path}, f)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if n := <-sent; n == 0 {
		t.Error("no helper was found to send a signal to")
	}
	if !key.Equal(want) {
		t.Error("another secret")
	}
}

// helperThreads finds the threads of this process's children.
func helperThreads() [][2]int {
	var out [][2]int
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(os.Getpid()) {
			continue
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
		tasks, _ := os.ReadDir(filepath.Join(filepath.Dir(stat), "task"))
		for _, task := range tasks {
			tid, _ := strconv.Atoi(task.Name())
			out = append(out, [2]int{pid, tid})
		}
	}
	return out
}

//go:build cgo

package hardware

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"bkfs/archive/seal"
	"bkfs/hardware/softtoken"
	"bkfs/keyring"

	"golang.org/x/sys/unix"
)

// enrolled makes a token and a credential on it.
func enrolled(t *testing.T, o softtoken.Options, change func(*keyring.EnrollRequest)) (string, keyring.FIDO2, *seal.Key) {
	t.Helper()
	path := newToken(t, o)
	r := enrollRequest()
	if change != nil {
		change(&r)
	}
	f, key, err := newTokens(t, &voice{pins: []string{o.PIN}}, Options{}, "soft:"+path).Enroll(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Destroy)
	return path, f, key
}

// TestSeveralTokens has eight, the right one last: it is found, and the others never blink.
func TestSeveralTokens(t *testing.T) {
	t.Parallel()
	var specs, wrong []string
	for range 7 {
		path := newToken(t, softtoken.Options{PIN: pin})
		wrong = append(wrong, path)
		specs = append(specs, serve(t, path))
	}
	right, f, want := enrolled(t, softtoken.Options{}, nil)
	device := serve(t, right)
	specs = append(specs, device)
	v := &voice{}
	tokens := newTokens(t, v, Options{}, specs...)
	before := status(t, right).Seen
	matches, err := tokens.Find(t.Context(), []keyring.FIDO2{f})
	if err != nil || len(matches) != 1 || matches[0].Device != device {
		t.Fatalf("Find: got %v, %v, want %s", matches, err, device)
	}
	if got := status(t, right).Seen; got.Blinks != before.Blinks {
		t.Errorf("the probe made the right token blink: %+v", got)
	}
	if len(v.touches) != 0 || len(v.retries) != 0 {
		t.Errorf("the probe asked for %v, %v", v.touches, v.retries)
	}
	got, err := take(t.Context(), tokens, matches[0], f)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Destroy()
	if !got.Equal(want) {
		t.Error("another secret")
	}
	for _, path := range wrong {
		s := status(t, path)
		if s.Seen.Silent != 1 || s.Seen.Blinks != 0 || s.Seen.Assertion != 0 || s.Seen.MakeCredential != 0 || s.Seen.PIN != 0 || s.Retries != 8 {
			t.Errorf("a wrong token was disturbed: %+v", s)
		}
	}
}

func TestNoToken(t *testing.T) {
	t.Parallel()
	_, f, _ := enrolled(t, softtoken.Options{}, nil)
	tokens := newTokens(t, &voice{}, Options{}, "soft:"+newToken(t, softtoken.Options{}))
	if got, err := tokens.Find(t.Context(), []keyring.FIDO2{f}); err != nil || len(got) != 0 {
		t.Errorf("Find: got %v, %v, want neither", got, err)
	}
	// Asked all the same, the token refuses and gives no secret.
	wrong := keyring.Match{Device: tokens.spec[0].String()}
	if _, err := take(t.Context(), tokens, wrong, f); !errors.Is(err, ErrNoToken) {
		t.Errorf("Secret: got %v, want ErrNoToken", err)
	}
}

// TestNoTokenAmongFaults tells both: that the token that answered does not fit, and that another did not answer.
func TestNoTokenAmongFaults(t *testing.T) {
	t.Parallel()
	_, f, _ := enrolled(t, softtoken.Options{}, nil)
	tokens := newTokens(t, &voice{}, Options{}, "soft:"+newToken(t, softtoken.Options{}), "/dev/hidraw-that-is-not")
	if _, err := tokens.Find(t.Context(), []keyring.FIDO2{f}); !errors.Is(err, ErrNoToken) || !errors.Is(err, ErrAbsent) {
		t.Errorf("got %v, want ErrNoToken and ErrAbsent", err)
	}
}

// TestNoneOpensNothing has a helper that would fail if it were ever run.
func TestNoneOpensNothing(t *testing.T) {
	_, f, _ := enrolled(t, softtoken.Options{}, nil)
	tokens := newTokens(t, &voice{}, Options{Exec: []string{"/nonexistent"}}, "none")
	if got, err := tokens.Find(t.Context(), []keyring.FIDO2{f}); err != nil || got != nil {
		t.Errorf("Find: got %v, %v", got, err)
	}
	if got, err := tokens.List(t.Context()); err != nil || got != nil {
		t.Errorf("List: got %v, %v", got, err)
	}
	if _, err := take(t.Context(), tokens, keyring.Match{Device: "/dev/null"}, f); !errors.Is(err, ErrAbsent) {
		t.Errorf("Secret: got %v, want ErrAbsent", err)
	}
	if _, _, err := tokens.Enroll(t.Context(), enrollRequest()); !errors.Is(err, ErrNoToken) {
		t.Errorf("Enroll: got %v, want ErrNoToken", err)
	}
	auto := newTokens(t, &voice{}, Options{Exec: []string{"/nonexistent"}}, "auto")
	if got, err := auto.Find(t.Context(), nil); err != nil || got != nil {
		t.Errorf("Find of nothing: got %v, %v", got, err)
	}
}

// TestAutoFindsNoSoftToken runs the real enumeration, with a software token being served.
func TestAutoFindsNoSoftToken(t *testing.T) {
	t.Parallel()
	device := serve(t, newToken(t, softtoken.Options{}))
	got, err := newTokens(t, &voice{}, Options{}, "auto").List(t.Context())
	if err != nil {
		t.Logf("enumeration: %v", err)
	}
	for _, i := range got {
		if i.Device == device {
			t.Errorf("found %+v", i)
		}
	}
}

// TestFaultyDevices has every device that cannot be asked beside the right one, which is found all the same.
func TestFaultyDevices(t *testing.T) {
	t.Parallel()
	right, f, _ := enrolled(t, softtoken.Options{}, nil)
	for _, test := range []struct {
		name   string
		device func(t *testing.T) string
		exec   func(device string) []string
		want   error
	}{
		{name: "Dead", want: ErrTimeout, device: func(t *testing.T) string {
			path := newToken(t, softtoken.Options{Behaviour: softtoken.Behaviour{Quirks: softtoken.Quirks{Mute: true}}})
			return serve(t, path)
		}},
		{name: "Absent", want: ErrAbsent, device: func(*testing.T) string { return "/dev/hidraw-that-is-not" }},
		{name: "File", want: ErrNotDevice, device: func(t *testing.T) string { return newToken(t, softtoken.Options{}) }},
		{name: "Held", want: ErrBusy, device: func(t *testing.T) string {
			device := serve(t, newToken(t, softtoken.Options{}))
			other, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY, 0)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { other.Close() })
			if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
				t.Fatal(err)
			}
			return device
		}},
		{name: "Crash", want: ErrHelper,
			device: func(t *testing.T) string { return serve(t, newToken(t, softtoken.Options{})) },
			exec:   func(device string) []string { return []string{os.Args[0], crashCommand, device} }},
		{name: "Null", want: ErrLost, device: func(*testing.T) string { return "/dev/null" }},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			o := Options{}
			bad := test.device(t)
			if test.exec != nil {
				o.Exec = test.exec(bad)
			}
			v := &voice{}
			good := serve(t, right)
			begin := time.Now()
			got, err := newTokens(t, v, o, bad, good).Find(t.Context(), []keyring.FIDO2{f})
			if err != nil || len(got) != 1 || got[0].Device != good {
				t.Fatalf("Find: got %v, %v, want %s", got, err, good)
			}
			t.Logf("found after %v", time.Since(begin))
			if !v.said(bad) {
				t.Errorf("nothing was said about %s: %q", bad, v.notices)
			}
			_, err = newTokens(t, v, o, bad).Find(t.Context(), []keyring.FIDO2{f})
			if !errors.Is(err, test.want) || errors.Is(err, ErrNoToken) || !strings.Contains(err.Error(), bad) {
				t.Errorf("alone: got %v, want %v and the device's name", err, test.want)
			}
		})
	}
}

func TestPermission(t *testing.T) {
	t.Parallel()
	_, f, _ := enrolled(t, softtoken.Options{}, nil)
	device := serve(t, newToken(t, softtoken.Options{}))
	if err := os.Chmod(device, 0); err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(t, &voice{}, Options{Exec: []string{os.Args[0], nobodyCommand}}, device)
	if _, err := tokens.Find(t.Context(), []keyring.FIDO2{f}); !errors.Is(err, ErrPermission) {
		t.Errorf("got %v, want ErrPermission", err)
	}
}

func TestBadHelper(t *testing.T) {
	t.Parallel()
	_, f, _ := enrolled(t, softtoken.Options{}, nil)
	for _, test := range []struct {
		exec []string
		want error
	}{
		{[]string{os.Args[0], garbageCommand}, ErrHelper},
		{[]string{os.Args[0], crashCommand}, ErrHelper},
		{[]string{os.Args[0], muteCommand}, ErrTimeout},
		{[]string{"/bin/false"}, ErrHelper},
		{[]string{"/nonexistent"}, ErrHelper},
	} {
		tokens := newTokens(t, &voice{}, Options{Exec: test.exec, ProbeTimeout: 300 * time.Millisecond}, "/dev/null")
		_, err := tokens.Find(t.Context(), []keyring.FIDO2{f})
		if !errors.Is(err, test.want) {
			t.Errorf("%v: got %v, want %v", test.exec, err, test.want)
		}
		t.Log(err)
	}
}

// TestUnclear has a token that refuses silent questions: it is offered when no other is certain.
func TestUnclear(t *testing.T) {
	t.Parallel()
	quiet := softtoken.Options{Behaviour: softtoken.Behaviour{Quirks: softtoken.Quirks{RefuseSilent: true}}}
	path, f, want := enrolled(t, quiet, nil)
	other := newToken(t, quiet)
	right, g, _ := enrolled(t, softtoken.Options{}, nil)
	tokens := newTokens(t, &voice{}, Options{}, "soft:"+other, "soft:"+path, "soft:"+right)
	if got, err := tokens.Find(t.Context(), []keyring.FIDO2{g}); err != nil || len(got) != 1 || got[0].Device != "soft:"+right {
		t.Errorf("beside a certain one: got %v, %v", got, err)
	}
	got, err := tokens.Find(t.Context(), []keyring.FIDO2{f})
	if err != nil || len(got) != 2 {
		t.Fatalf("alone: got %v, %v, want both quiet tokens", got, err)
	}
	if _, err := take(t.Context(), tokens, got[0], f); !errors.Is(err, ErrNoToken) {
		t.Errorf("the wrong one: got %v, want ErrNoToken", err)
	}
	key, err := take(t.Context(), tokens, got[1], f)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if !key.Equal(want) {
		t.Error("another secret")
	}
}

func TestInterruptedProbe(t *testing.T) {
	t.Parallel()
	_, f, _ := enrolled(t, softtoken.Options{}, nil)
	path := newToken(t, softtoken.Options{Behaviour: softtoken.Behaviour{Quirks: softtoken.Quirks{Mute: true}}})
	ctx, cancel := context.WithCancel(t.Context())
	tokens := newTokens(t, &voice{}, Options{}, "soft:"+path)
	time.AfterFunc(100*time.Millisecond, cancel)
	if _, err := tokens.Find(ctx, []keyring.FIDO2{f}); !errors.Is(err, ErrInterrupted) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrInterrupted", err)
	}
}

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

// two makes two tokens with a credential each, both of which Find names.
func two(t *testing.T, o softtoken.Options, change func(*keyring.EnrollRequest)) (paths []string, credentials []keyring.FIDO2) {
	t.Helper()
	for range 2 {
		path, f, key := enrolled(t, o, change)
		key.Destroy()
		paths, credentials = append(paths, path), append(credentials, f)
	}
	return paths, credentials
}

// TestFirstTouched asks two tokens side by side: the touched one gives the secret, the other one stops blinking.
func TestFirstTouched(t *testing.T) {
	t.Parallel()
	paths, credentials := two(t, softtoken.Options{Behaviour: softtoken.Behaviour{Timeout: time.Hour}}, nil)
	button(t, paths[0])
	button(t, paths[1])
	v := &voice{}
	tokens := newTokens(t, v, Options{TouchTimeout: time.Hour}, "soft:"+paths[0], "soft:"+paths[1])
	matches, err := tokens.Find(t.Context(), credentials)
	if err != nil || len(matches) != 2 {
		t.Fatalf("Find: got %v, %v, want both", matches, err)
	}
	go func() {
		if err := softtoken.AwaitBlink(t.Context(), paths[0]); err != nil { // both do
			t.Error(err)
		}
		_ = softtoken.Press(t.Context(), paths[1])
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	m, key, err := tokens.Secret(ctx, matches, credentials)
	if err != nil {
		t.Fatal(err)
	}
	key.Destroy()
	if ctx.Err() != nil {
		t.Error("the other one was waited for")
	}
	if m != matches[1] {
		t.Errorf("got %v, want the touched one, %v", m, matches[1])
	}
	if status(t, paths[0]).Blinking {
		t.Error("the other one still blinks")
	}
	if len(v.touches) != 1 || !strings.Contains(v.touches[0], paths[0]) || !strings.Contains(v.touches[0], paths[1]) {
		t.Errorf("said %q, want both in one notice", v.touches)
	}
}

// TestOthersGoOn unplugs one of two tokens that wait for a touch.
func TestOthersGoOn(t *testing.T) {
	t.Parallel()
	paths, credentials := two(t, softtoken.Options{}, nil)
	button(t, paths[0])
	button(t, paths[1])
	s, err := softtoken.Start(paths[0])
	if err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(t, &voice{}, Options{}, s.Device(), "soft:"+paths[1])
	matches, err := tokens.Find(t.Context(), credentials)
	if err != nil || len(matches) != 2 {
		t.Fatalf("Find: got %v, %v, want both", matches, err)
	}
	go func() {
		if err := softtoken.AwaitBlink(t.Context(), paths[0]); err != nil {
			t.Error(err)
		}
		s.Close()
		_ = softtoken.Press(t.Context(), paths[1])
	}()
	m, key, err := tokens.Secret(t.Context(), matches, credentials)
	if err != nil {
		t.Fatal(err)
	}
	key.Destroy()
	if m != matches[1] {
		t.Errorf("got %v, want %v", m, matches[1])
	}
}

// TestRetype has a person who mistypes a PIN: asked again with what is left, until the token takes no more.
func TestRetype(t *testing.T) {
	t.Parallel()
	path, f, want := enrolled(t, softtoken.Options{PIN: pin}, needPIN)
	m := keyring.Match{Device: "soft:" + path}
	retyping := func(v *voice) *Tokens {
		spec, err := ParseSpec(m.Device)
		if err != nil {
			t.Fatal(err)
		}
		ui := v.ui()
		ui.Retype = true
		tokens := New(spec, Options{UI: ui})
		t.Cleanup(func() { tokens.Close() })
		return tokens
	}
	v := &voice{pins: []string{"0000", pin}}
	key, err := take(t.Context(), retyping(v), m, f)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if !key.Equal(want) || !v.said("7 tries left") || len(v.retries) != 2 || v.retries[1] != 7 {
		t.Errorf("asked with %v tries left, said %q", v.retries, v.notices)
	}
	v = &voice{pins: []string{"0000", "0000", "0000", pin}}
	if _, err := take(t.Context(), retyping(v), m, f); !errors.Is(err, ErrPINAuthBlocked) || len(v.pins) != 1 {
		t.Errorf("three wrong ones: got %v, %d PINs unused, want ErrPINAuthBlocked and 1", err, len(v.pins))
	}
}

// TestChosenPIN has two tokens that need a PIN: the user chooses, or else the first one is asked; never both.
func TestChosenPIN(t *testing.T) {
	t.Parallel()
	paths, credentials := two(t, softtoken.Options{PIN: pin}, needPIN)
	for want, choose := range []func(context.Context, []Choice) (int, error){
		nil,
		func(_ context.Context, c []Choice) (int, error) { return len(c) - 1, nil },
	} {
		v := &voice{pins: []string{pin}}
		spec, err := ParseSpec("soft:"+paths[0], "soft:"+paths[1])
		if err != nil {
			t.Fatal(err)
		}
		ui := v.ui()
		ui.Choose = choose
		tokens := New(spec, Options{UI: ui})
		before := []uint64{status(t, paths[0]).Seen.PIN, status(t, paths[1]).Seen.PIN}
		matches, err := tokens.Find(t.Context(), credentials)
		if err != nil || len(matches) != 2 {
			t.Fatalf("Find: got %v, %v, want both", matches, err)
		}
		m, key, err := tokens.Secret(t.Context(), matches, credentials)
		if err != nil {
			t.Fatal(err)
		}
		key.Destroy()
		tokens.Close()
		if m != matches[want] || status(t, paths[1-want]).Seen.PIN != before[1-want] {
			t.Errorf("got %v, want %v, and no PIN for the other", m, matches[want])
		}
	}
}

// TestVerifyByPIN has a token whose own verification is blocked: its PIN gives the same secret.
func TestVerifyByPIN(t *testing.T) {
	t.Parallel()
	o := softtoken.Options{PIN: pin, Behaviour: softtoken.Behaviour{UV: true}}
	path, f, want := enrolled(t, o, func(r *keyring.EnrollRequest) { r.RequireUV = true })
	m := keyring.Match{Device: "soft:" + path}
	unsure := Options{Exec: []string{os.Args[0], unsureCommand}}
	key, err := take(t.Context(), newTokens(t, &voice{pins: []string{pin}}, unsure, m.Device), m, f)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if !key.Equal(want) {
		t.Error("another secret")
	}
	spec, _ := ParseSpec(m.Device)
	mute := New(spec, unsure)
	defer mute.Close()
	if _, err := take(t.Context(), mute, m, f); !errors.Is(err, ErrUVFailed) {
		t.Errorf("nobody to ask: got %v, want ErrUVFailed", err)
	}
}

// TestFailedFinger has a token whose verification fails once after enrolment: it says so in the words of CTAP 2.1,
// which are those of a token that wants its PIN.
func TestFailedFinger(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options softtoken.Options
		want    error
	}{
		{"with a PIN", softtoken.Options{PIN: pin, Behaviour: softtoken.Behaviour{UV: true}}, nil},
		{"asked once more", softtoken.Options{Behaviour: softtoken.Behaviour{UV: true}}, nil},
		{"2.0", softtoken.Options{Behaviour: softtoken.Behaviour{UV: true, CTAP20: true}}, ErrUVFailed},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path, f, want := enrolled(t, test.options, func(r *keyring.EnrollRequest) { r.RequireUV = true })
			if err := softtoken.Behave(path, func(b *softtoken.Behaviour) { b.Quirks.UVFails = 1 }); err != nil {
				t.Fatal(err)
			}
			m := keyring.Match{Device: "soft:" + path}
			key, err := take(t.Context(), newTokens(t, &voice{pins: []string{pin}}, Options{}, m.Device), m, f)
			if !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Fatalf("got %v, want %v", err, test.want)
			}
			defer key.Destroy()
			if err == nil && !key.Equal(want) {
				t.Error("another secret")
			}
		})
	}
}

// TestVerifiedAgain is for tokens that allow another try.
func TestVerifiedAgain(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		answers []error
		want    error
	}{
		{[]error{ErrUVFailed, nil}, nil},
		{[]error{ErrUVFailed, ErrUVFailed, nil}, ErrUVFailed},
		{[]error{ErrUVBlocked, nil}, ErrUVBlocked},
		{[]error{ErrTimeout, nil}, ErrTimeout},
	} {
		tries := 0
		_, err := newTokens(t, &voice{}, Options{}, "none").verified(device{}, func() (*seal.Key, error) {
			tries++
			return nil, test.answers[tries-1]
		})
		if !errors.Is(err, test.want) || test.want == nil && err != nil {
			t.Errorf("%v: got %v after %d tries, want %v", test.answers, err, tries, test.want)
		}
	}
}

// TestPINThatDoesNot has tokens whose PIN doesn't replace their own verification (CTAP 2.1, clause 6.4).
func TestPINThatDoesNot(t *testing.T) {
	t.Parallel()
	p := &properties{Extensions: []string{extensionSecret}, Options: map[string]bool{optionPIN: true, optionUV: true, optionUVOnly: true}}
	if r := (&keyring.EnrollRequest{}); asksPIN(p, r) || !verifiesToMake(p, r) {
		t.Error("the PIN is used to make a credential")
	}
	if err := suits(&answer{Properties: p}, &keyring.EnrollRequest{RequirePIN: true}); !errors.Is(err, ErrPolicy) {
		t.Errorf("a slot with the PIN: got %v, want ErrPolicy", err)
	}
}

// TestCertainIsEnough has a device that never answers, with an endless deadline, beside one that matches.
func TestCertainIsEnough(t *testing.T) {
	t.Parallel()
	right, f, key := enrolled(t, softtoken.Options{}, nil)
	key.Destroy()
	dead := newToken(t, softtoken.Options{Behaviour: softtoken.Behaviour{Quirks: softtoken.Quirks{Mute: true}}})
	v := &voice{}
	tokens := newTokens(t, v, Options{ProbeTimeout: time.Hour}, "soft:"+dead, "soft:"+right)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := tokens.Find(ctx, []keyring.FIDO2{f})
	if err != nil || len(got) != 1 || got[0].Device != "soft:"+right || !v.said(dead) {
		t.Errorf("got %v, %v, said %q", got, err, v.notices)
	}
}

// TestSlowToken answers each question in less than the deadline, and all of them in more.
func TestSlowToken(t *testing.T) {
	t.Parallel()
	path, f, key := enrolled(t, softtoken.Options{}, nil)
	key.Destroy()
	err := softtoken.Behave(path, func(b *softtoken.Behaviour) { b.Quirks.Delay = 400 * time.Millisecond })
	if err != nil {
		t.Fatal(err)
	}
	credentials := []keyring.FIDO2{f, f, f} // 8 questions: 3.2 s, never more than 0.8 s between two answers
	got, err := newTokens(t, &voice{}, Options{ProbeTimeout: 2 * time.Second}, "soft:"+path).Find(t.Context(), credentials)
	if err != nil || len(got) != 3 {
		t.Errorf("got %v, %v, want three matches", got, err)
	}
}

// TestAwait waits for a token to be plugged in, beside one that is none of ours and is asked once only.
func TestAwait(t *testing.T) {
	t.Parallel()
	right, f, key := enrolled(t, softtoken.Options{}, nil)
	key.Destroy()
	wrong := newToken(t, softtoken.Options{})
	away := right + ".away"
	if err := os.Rename(right, away); err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(t, &voice{}, Options{}, "soft:"+wrong, "soft:"+right)
	if got, err := tokens.Find(t.Context(), []keyring.FIDO2{f}); len(got) != 0 || !errors.Is(err, ErrAbsent) {
		t.Fatalf("Find: got %v, %v, want ErrAbsent", got, err)
	}
	for range 2 { // the second time nobody comes
		ctx, cancel := context.WithTimeout(t.Context(), 2*pollInterval)
		defer cancel()
		if got, err := tokens.Await(ctx, []keyring.FIDO2{f}); len(got) != 0 || !errors.Is(err, ErrAbsent) {
			t.Fatalf("Await: got %v, %v, want ErrAbsent", got, err)
		}
	}
	plugged := time.AfterFunc(pollInterval, func() { _ = os.Rename(away, right) })
	defer plugged.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, err := tokens.Await(ctx, []keyring.FIDO2{f})
	if err != nil || len(got) != 1 || got[0].Device != "soft:"+right {
		t.Fatalf("Await: got %v, %v, want soft:%s", got, err, right)
	}
	if n := status(t, wrong).Seen.Silent; n != 1 {
		t.Errorf("the wrong token was asked %d times, want once", n)
	}
}

// TestAwaitReplug has another token under the path of one that denied: it is asked.
func TestAwaitReplug(t *testing.T) {
	t.Parallel()
	right, f, key := enrolled(t, softtoken.Options{}, nil)
	key.Destroy()
	link := right + ".device"
	if err := os.Symlink(serve(t, newToken(t, softtoken.Options{})), link); err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(t, &voice{}, Options{}, link)
	if got, err := tokens.Find(t.Context(), []keyring.FIDO2{f}); len(got) != 0 || err != nil {
		t.Fatalf("Find: got %v, %v, want neither", got, err)
	}
	device := serve(t, right)
	time.AfterFunc(pollInterval, func() {
		_ = os.Remove(link)
		_ = os.Symlink(device, link)
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if got, err := tokens.Await(ctx, []keyring.FIDO2{f}); err != nil || len(got) != 1 {
		t.Errorf("Await: got %v, %v, want the match", got, err)
	}
}

// TestAwaitFree asks a device again that another program held.
func TestAwaitFree(t *testing.T) {
	t.Parallel()
	right, f, key := enrolled(t, softtoken.Options{}, nil)
	key.Destroy()
	device := serve(t, right)
	other, err := os.OpenFile(device, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if err := unix.Flock(int(other.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(t, &voice{}, Options{}, device)
	if _, err := tokens.Find(t.Context(), []keyring.FIDO2{f}); !errors.Is(err, ErrBusy) {
		t.Fatalf("Find: got %v, want ErrBusy", err)
	}
	if err := unix.Flock(int(other.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if got, err := tokens.Await(ctx, []keyring.FIDO2{f}); err != nil || len(got) != 1 {
		t.Errorf("Await: got %v, %v, want the match", got, err)
	}
}

// TestTouchSilent has a token that blinks when it is asked silently: it is offered, and stops blinking.
func TestTouchSilent(t *testing.T) {
	t.Parallel()
	path, f, want := enrolled(t, softtoken.Options{}, nil)
	err := softtoken.Behave(path, func(b *softtoken.Behaviour) { b.Button, b.Quirks.TouchSilent = true, true })
	if err != nil {
		t.Fatal(err)
	}
	tokens := newTokens(t, &voice{}, Options{ProbeTimeout: time.Second}, "soft:"+path)
	matches, err := tokens.Find(t.Context(), []keyring.FIDO2{f, f})
	if err != nil || len(matches) != 2 || status(t, path).Blinking {
		t.Fatalf("Find: got %v, %v, want both and no blinking", matches, err)
	}
	go func() { _ = softtoken.Press(t.Context(), path) }()
	_, key, err := tokens.Secret(t.Context(), matches, []keyring.FIDO2{f, f})
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if !key.Equal(want) {
		t.Error("another secret")
	}
}

// TestHidden has a token that denies silently what it made: the slot records that, and only its model is asked.
func TestHidden(t *testing.T) {
	t.Parallel()
	path := newToken(t, softtoken.Options{})
	v := &voice{}
	tokens := newTokens(t, v, Options{Exec: []string{os.Args[0], denyCommand}}, "soft:"+path)
	f, want, err := tokens.Enroll(t.Context(), enrollRequest())
	if err != nil {
		t.Fatal(err)
	}
	defer want.Destroy()
	if !f.Hidden || !v.said("doesn't tell silently") {
		t.Fatalf("hidden is %v, said %q", f.Hidden, v.notices)
	}
	matches, err := tokens.Find(t.Context(), []keyring.FIDO2{f})
	if err != nil || len(matches) != 1 {
		t.Fatalf("Find: got %v, %v, want the token", matches, err)
	}
	key, err := take(t.Context(), tokens, matches[0], f)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if !key.Equal(want) {
		t.Error("another secret")
	}
	for _, other := range []func(*keyring.FIDO2){
		func(f *keyring.FIDO2) { f.AAGUID[0] ^= 1 },
		func(f *keyring.FIDO2) { f.Hidden = false },
	} {
		g := f
		other(&g)
		if matches, err := tokens.Find(t.Context(), []keyring.FIDO2{g}); err != nil || len(matches) != 0 {
			t.Errorf("Find of another model, or one that tells: got %v, %v", matches, err)
		}
	}
}

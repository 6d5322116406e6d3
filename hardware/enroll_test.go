//go:build cgo

package hardware

import (
	"context"
	"errors"
	"os"
	"testing"

	"bkfs/hardware/softtoken"
	"bkfs/keyring"

	"github.com/google/go-cmp/cmp"
)

func TestEnrollRefuses(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		options softtoken.Options
		request func(*keyring.EnrollRequest)
		want    error
	}{
		{"no hmac-secret", softtoken.Options{Behaviour: softtoken.Behaviour{NoSecret: true}}, nil, ErrNoHMACSecret},
		{"no PIN set", softtoken.Options{}, needPIN, ErrPINNotSet},
		{"no verification", softtoken.Options{}, func(r *keyring.EnrollRequest) { r.RequireUV = true }, ErrPolicy},
		{"wrong PIN", softtoken.Options{PIN: "9999"}, needPIN, ErrPINInvalid},
		{"always verifies without a PIN", softtoken.Options{Behaviour: softtoken.Behaviour{AlwaysUV: true}}, nil, ErrPINNotSet},
		{"zero secret", softtoken.Options{Behaviour: softtoken.Behaviour{Quirks: softtoken.Quirks{ZeroSecret: true}}}, nil, ErrSecret},
		{"changing secret", softtoken.Options{Behaviour: softtoken.Behaviour{Quirks: softtoken.Quirks{ChangingSecret: true}}}, nil, ErrSecret},
		{"UP bit missing", softtoken.Options{Behaviour: softtoken.Behaviour{Quirks: softtoken.Quirks{OmitUP: true}}}, nil, ErrPolicy},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := enrollRequest()
			if test.request != nil {
				test.request(&r)
			}
			tokens := newTokens(t, &voice{pins: []string{pin}}, Options{}, "soft:"+newToken(t, test.options))
			_, key, err := tokens.Enroll(t.Context(), r)
			if !errors.Is(err, test.want) {
				key.Destroy()
				t.Errorf("got %v, want %v", err, test.want)
			}
			t.Log(err)
		})
	}
}

func TestEnrollExcludes(t *testing.T) {
	t.Parallel()
	path, f, _ := enrolled(t, softtoken.Options{}, nil)
	r := enrollRequest()
	r.Exclude = []keyring.FIDO2{f}
	before := status(t, path).Seen
	_, _, err := newTokens(t, &voice{}, Options{}, "soft:"+path).Enroll(t.Context(), r)
	after := status(t, path).Seen
	if !errors.Is(err, ErrEnrolled) || after.MakeCredential != before.MakeCredential || after.Blinks != before.Blinks {
		t.Errorf("got %v, %+v, want ErrEnrolled and no blink", err, after)
	}
	// Beside it, the other token is the one.
	other := newToken(t, softtoken.Options{})
	v := &voice{}
	_, key, err := newTokens(t, v, Options{}, "soft:"+path, "soft:"+other).Enroll(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	key.Destroy()
	if status(t, other).Seen.MakeCredential != 1 || !v.said(ErrEnrolled.Error()) || !v.said("soft:"+path+", soft:"+other+": "+softtoken.Warning) || !v.said("three times") || len(v.touches) != 3 {
		t.Errorf("notices %q, touches %q", v.notices, v.touches)
	}
}

func TestEnrollChoice(t *testing.T) {
	t.Parallel()
	a, b := newToken(t, softtoken.Options{}), newToken(t, softtoken.Options{})
	spec, err := ParseSpec("soft:"+a, "soft:"+b)
	if err != nil {
		t.Fatal(err)
	}
	dumb := New(spec, Options{})
	defer dumb.Close()
	if _, _, err := dumb.Enroll(t.Context(), enrollRequest()); !errors.Is(err, ErrSeveral) {
		t.Errorf("nobody to ask: got %v, want ErrSeveral", err)
	}
	var offered []string
	asking := New(spec, Options{UI: UI{Choose: func(_ context.Context, infos []Choice) (int, error) {
		for _, i := range infos {
			offered = append(offered, i.Device)
		}
		return 1, nil
	}}})
	defer asking.Close()
	_, key, err := asking.Enroll(t.Context(), enrollRequest())
	if err != nil {
		t.Fatal(err)
	}
	key.Destroy()
	if d := cmp.Diff([]string{"soft:" + a, "soft:" + b}, offered); d != "" || status(t, a).Seen.MakeCredential != 0 || status(t, b).Seen.MakeCredential != 1 {
		t.Errorf("the wrong token was enrolled; offered %v", offered)
	}
}

// TestAdapted enrols tokens that can't follow the policy as asked for, but another one: the slot records that.
func TestAdapted(t *testing.T) {
	t.Parallel()
	needUV := func(r *keyring.EnrollRequest) { r.RequireUV = true }
	for _, test := range []struct {
		name    string
		options softtoken.Options
		request func(*keyring.EnrollRequest)
		pin, uv bool
	}{
		{"always by PIN", softtoken.Options{PIN: pin, Behaviour: softtoken.Behaviour{AlwaysUV: true}}, nil, true, false},
		{"always by itself", softtoken.Options{Behaviour: softtoken.Behaviour{UV: true, AlwaysUV: true}}, nil, false, true},
		{"verification by PIN", softtoken.Options{PIN: pin}, needUV, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path, f, want := enrolled(t, test.options, test.request)
			if f.PIN != test.pin || f.UserVerification != test.uv {
				t.Fatalf("the slot says PIN %v, verification %v, want %v, %v", f.PIN, f.UserVerification, test.pin, test.uv)
			}
			if s := status(t, path).Seen; s.MakeCredential != 1 || s.Assertion != 2 {
				t.Errorf("enrolment took %+v, want one credential and two assertions", s)
			}
			m := keyring.Match{Device: "soft:" + path}
			key, err := take(t.Context(), newTokens(t, &voice{pins: []string{pin}}, Options{}, m.Device), m, f)
			if err != nil {
				t.Fatal(err)
			}
			defer key.Destroy()
			if !key.Equal(want) {
				t.Error("another secret")
			}
		})
	}
}

// TestUnaskedVerification enrols a token that always verifies: the slot records it, so that unlocking asks for it.
func TestUnaskedVerification(t *testing.T) {
	t.Parallel()
	path, f, want := enrolled(t, softtoken.Options{Behaviour: softtoken.Behaviour{UV: true, AlwaysUV: true, Quirks: softtoken.Quirks{OptionalPIN: true}}}, nil)
	if !f.UserVerification {
		t.Fatal("user verification is not recorded")
	}
	m := keyring.Match{Device: "soft:" + path}
	key, err := take(t.Context(), newTokens(t, &voice{}, Options{}, m.Device), m, f)
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	if !key.Equal(want) {
		t.Error("another secret")
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	path := newToken(t, softtoken.Options{PIN: pin, Behaviour: softtoken.Behaviour{UV: true}})
	tokens := newTokens(t, &voice{}, Options{}, "soft:"+path, "/dev/hidraw-that-is-not")
	got, err := tokens.List(t.Context())
	if err != nil || len(got) != 2 {
		t.Fatalf("got %+v, %v", got, err)
	}
	want := Info{
		Device: "soft:" + path, Product: softtoken.Product, AAGUID: keyring.AAGUID([]byte("bkfs\x9d\x1c\x4e\x0b\xa3\x57\x51\xf0\x0d\x7e\x8c\x11")),
		Firmware: "1.0.0", Versions: []string{"FIDO_2_0", "FIDO_2_1"}, HMACSecret: true, PIN: true, PINRetries: 8, UV: true,
	}
	if d := cmp.Diff(want, got[0]); d != "" {
		t.Error(d)
	}
	if !errors.Is(got[1].Err, ErrAbsent) || got[1].Error == "" {
		t.Errorf("got %+v, want ErrAbsent", got[1])
	}
	if s := status(t, path); s.Seen.Blinks+s.Seen.Assertion+s.Seen.Silent != 0 {
		t.Errorf("listing disturbed the token: %+v", s.Seen)
	}
}

// TestMissingStateFile wants the file named: soft tokens are never looked for.
func TestMissingStateFile(t *testing.T) {
	t.Parallel()
	_, _, err := newTokens(t, &voice{}, Options{}, "soft:/nonexistent/token").Enroll(t.Context(), enrollRequest())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want not exist", err)
	}
}

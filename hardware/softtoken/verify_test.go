package softtoken

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func (p *platform) uvRetries() int {
	p.t.Helper()
	var r pinResponse
	if s := p.call(commandClientPIN, params{2: subGetUVRetries}, &r); s != statusOK || r.UVRetries == nil {
		p.t.Fatalf("UV retries: %v", s)
	}
	return *r.UVRetries
}

// tokenUV gets a token by the built-in method.
func (p *platform) tokenUV(permissions uint) ([]byte, status) {
	key, k := p.agree(2)
	var answer pinResponse
	s := p.call(commandClientPIN, params{1: 2, 2: subGetTokenUV, 3: key, 9: permissions, 10: "bkfs"}, &answer)
	if s != statusOK {
		return nil, s
	}
	token, err := k.decrypt(answer.Token)
	if err != nil {
		p.t.Fatal(err)
	}
	return token, s
}

func (p *platform) blinks() uint64 {
	p.t.Helper()
	st, err := Read(p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	return st.Seen.Blinks
}

// TestUVRetries fails the built-in method until it is blocked; the PIN frees it.
func TestUVRetries(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234", Behaviour: Behaviour{UV: true, Quirks: Quirks{UVFails: maxUVRetries}}})
	uv := func(r params) { r[7] = params{"uv": true} }
	if _, s := p.make(uv); s != errPINRequired || p.uvRetries() != maxUVRetries-1 {
		t.Errorf("failed: got %v, %d left, want %v, %d", s, p.uvRetries(), errPINRequired, maxUVRetries-1)
	}
	for left := maxUVRetries - 2; left >= 0; left-- {
		want := errUVInvalid
		if left == 0 {
			want = errUVBlocked
		}
		if _, s := p.tokenUV(permissionAssert); s != want || p.uvRetries() != left {
			t.Errorf("failed: got %v, %d left, want %v, %d", s, p.uvRetries(), want, left)
		}
	}
	before := p.blinks()
	if _, s := p.tokenUV(permissionAssert); s != errUVBlocked || p.blinks() != before {
		t.Errorf("blocked: got %v, and it blinked", s)
	}
	if _, s := p.token(2, "1234", 0, ""); s != statusOK || p.uvRetries() != maxUVRetries {
		t.Errorf("after the PIN: got %v, %d left", s, p.uvRetries())
	}
	if _, s := p.make(uv); s != statusOK {
		t.Errorf("it works again: got %v", s)
	}
	only := newPlatform(t, Options{Behaviour: Behaviour{UV: true, Quirks: Quirks{UVFails: 1}}})
	if _, s := only.make(uv); s != errOperationDenied {
		t.Errorf("failed, without a PIN: got %v, want %v", s, errOperationDenied)
	}
}

// TestOneTouch has the built-in method's touch stand for presence, in one command and over a token.
func TestOneTouch(t *testing.T) {
	p := newPlatform(t, Options{Behaviour: Behaviour{UV: true}})
	m, s := p.make(func(r params) { r[7] = params{"uv": true} })
	if s != statusOK || m.flags&(flagUP|flagUV) != flagUP|flagUV || p.blinks() != 1 {
		t.Errorf("uv option: got %v, flags %#x, %d touches, want both flags and 1", s, m.flags, p.blinks())
	}
	token, s := p.tokenUV(permissionAssert)
	if s != statusOK {
		t.Fatal(s)
	}
	with := func(r params) { r[6], r[7] = mac(2, token, clientData), 2 }
	if a, s := p.get(m.id, with); s != statusOK || a.AuthData[32] != flagUP|flagUV || p.blinks() != 2 {
		t.Errorf("token: got %v, %d touches, want 2", s, p.blinks())
	}
	if _, s := p.get(m.id, with); s != errPINAuthInvalid {
		t.Errorf("a spent token: got %v, want %v", s, errPINAuthInvalid)
	}
	if _, s := p.make(nil); s != errOperationDenied {
		t.Errorf("unverified, without a PIN: got %v, want %v", s, errOperationDenied)
	}
}

// TestTokenExpires has tokens that are used late, and for longer than they live; 2.0 knows neither.
func TestTokenExpires(t *testing.T) {
	for _, test := range []struct {
		name   string
		ctap20 bool
		age    time.Duration
		used   bool
		want   status
	}{
		{"fresh", false, 0, false, statusOK},
		{"unused", false, firstUse + time.Second, false, errPINAuthInvalid},
		{"used", false, firstUse + time.Second, true, statusOK},
		{"old", false, wholePeriod + time.Second, true, errPINAuthInvalid},
		{"old, 2.0", true, wholePeriod + time.Second, false, statusOK},
	} {
		p := newPlatform(t, Options{PIN: "1234", Behaviour: Behaviour{CTAP20: test.ctap20}})
		token, s := p.token(1, "1234", 0, "")
		if s != statusOK {
			t.Fatal(s)
		}
		own := p.auth.pins[1]
		own.given, own.used = own.given.Add(-test.age), test.used
		if _, s := p.make(func(r params) { r[8], r[9] = mac(1, token, clientData), 1 }); s != test.want {
			t.Errorf("%s: got %v, want %v", test.name, s, test.want)
		}
	}
}

// TestExcludeProtected does not tell the unverified of a credential of level 3.
func TestExcludeProtected(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234", Behaviour: Behaviour{Quirks: Quirks{OptionalPIN: true}}})
	m, s := p.make(func(r params) { r[6] = params{"credProtect": protectRequired} })
	if s != statusOK {
		t.Fatal(s)
	}
	exclude := func(r params) { r[5] = []params{{"id": m.id, "type": publicKeyType}} }
	if _, s := p.make(exclude); s != statusOK {
		t.Errorf("unverified: got %v", s)
	}
	token, _ := p.token(2, "1234", permissionMake, "bkfs")
	before := p.blinks()
	_, s = p.make(func(r params) { exclude(r); r[8], r[9] = mac(2, token, clientData), 2 })
	if s != errCredentialExcluded || p.blinks() != before+1 {
		t.Errorf("verified: got %v, want %v and a touch", s, errCredentialExcluded)
	}
}

// TestCTAP20 is the older standard: one secret, no permissions, no credProtect, nothing of 2.1 in getInfo.
func TestCTAP20(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234", Behaviour: Behaviour{CTAP20: true}})
	var i info
	if s := p.call(commandGetInfo, nil, &i); s != statusOK {
		t.Fatal(s)
	}
	want := info{
		Versions: []string{"FIDO_2_0"}, Extensions: []string{"hmac-secret"}, AAGUID: aaguid(), MaxMessage: maxMessage,
		Options: map[string]bool{"rk": true, "up": true, "plat": false, "clientPin": true}, Protocols: []uint{1},
	}
	if d := cmp.Diff(want, i); d != "" {
		t.Errorf("getInfo: %s", d)
	}
	if _, s := p.token(1, "1234", permissionMake, "bkfs"); s != errInvalidParameter {
		t.Errorf("permissions: got %v, want %v", s, errInvalidParameter)
	}
	if s := p.call(commandSelection, nil, nil); s != errInvalidCommand {
		t.Errorf("selection: got %v, want %v", s, errInvalidCommand)
	}
	token, _ := p.token(1, "1234", 0, "")
	m, s := p.make(func(r params) {
		r[6], r[8], r[9] = params{"hmac-secret": true, "credProtect": 3}, mac(1, token, clientData), 1
	})
	if s != statusOK {
		t.Fatal(s)
	}
	salt := bytes.Repeat([]byte{1}, 32)
	one, s := p.secret(1, m.id, salt, nil)
	if s != statusOK {
		t.Errorf("unverified: got %v", s)
	}
	if two, s := p.secret(1, m.id, salt, token); s != statusOK || !bytes.Equal(one, two) {
		t.Errorf("verified: got %v, and another secret", s)
	}
}

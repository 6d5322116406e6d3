package softtoken

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// residentOf asks for a resident credential for user.
func residentOf(user byte, level uint) func(params) {
	return func(r params) {
		r[3] = params{"id": []byte{user}, "name": strings.Repeat("é", 40), "displayName": "D"}
		r[6], r[7] = params{"hmac-secret": true, "credProtect": level}, params{"rk": true}
	}
}

// next is getNextAssertion.
func (p *platform) next() (assertResponse, status) {
	var a assertResponse
	s := p.call(commandGetNextAssertion, nil, &a)
	return a, s
}

func discover(r params) { delete(r, 3) }

// TestResident finds credentials without an allow list, the newest first, and one for each user.
func TestResident(t *testing.T) {
	p := newPlatform(t, Options{})
	if _, s := p.get(nil, discover); s != errNoCredentials {
		t.Fatalf("none yet: got %v, want %v", s, errNoCredentials)
	}
	var ids [][]byte
	for _, user := range []byte{1, 2, 1, 3} {
		m, s := p.make(residentOf(user, protectOptional))
		if s != statusOK {
			t.Fatal(s)
		}
		ids = append(ids, m.id)
	}
	if _, s := p.get(ids[0], nil); s != errNoCredentials {
		t.Errorf("a replaced credential: got %v, want %v", s, errNoCredentials)
	}
	first, s := p.get(nil, discover)
	if s != statusOK || first.Count != 3 || !bytes.Equal(first.Credential.ID, ids[3]) {
		t.Fatalf("got %v, %d credentials, want the newest of 3", s, first.Count)
	}
	if d := cmp.Diff(&userEntity{ID: []byte{3}}, first.User); d != "" {
		t.Errorf("unverified, the user is told more or less than the id: %s", d)
	}
	for _, want := range [][]byte{ids[2], ids[1]} {
		if a, s := p.next(); s != statusOK || a.Count != 0 || !bytes.Equal(a.Credential.ID, want) || a.AuthData[32] != first.AuthData[32] {
			t.Errorf("next: got %v, %+v", s, a)
		}
	}
	if _, s := p.next(); s != errNotAllowed {
		t.Errorf("after the last: got %v, want %v", s, errNotAllowed)
	}
	one, s := p.get(ids[3], nil)
	if s != statusOK || one.Count != 0 || one.User != nil {
		t.Errorf("by its id: got %v, %+v", s, one)
	}
	if s := p.call(commandReset, nil, nil); s != statusOK {
		t.Fatal(s)
	}
	if _, s := p.get(nil, discover); s != errNoCredentials {
		t.Errorf("after a reset: got %v, want %v", s, errNoCredentials)
	}
}

// TestNextEnds has what ends a round of answers: 30 s, and any other command.
func TestNextEnds(t *testing.T) {
	p := newPlatform(t, Options{})
	for user := range byte(3) {
		if _, s := p.make(residentOf(user, protectOptional)); s != statusOK {
			t.Fatal(s)
		}
	}
	for name, between := range map[string]func(){
		"late":            func() { p.auth.round.last = time.Now().Add(-nextWindow - time.Second) },
		"another command": func() { p.call(commandGetInfo, nil, nil) },
	} {
		if _, s := p.get(nil, discover); s != statusOK {
			t.Fatal(s)
		}
		if _, s := p.next(); s != statusOK {
			t.Errorf("%s: at once: got %v", name, s)
		}
		between()
		if _, s := p.next(); s != errNotAllowed {
			t.Errorf("%s: got %v, want %v", name, s, errNotAllowed)
		}
	}
}

func TestResidentFull(t *testing.T) {
	p := newPlatform(t, Options{})
	for user := range byte(maxResident) {
		if _, s := p.make(residentOf(user, protectOptional)); s != statusOK {
			t.Fatal(s)
		}
	}
	if _, s := p.make(residentOf(maxResident, protectOptional)); s != errKeyStoreFull {
		t.Errorf("one more: got %v, want %v", s, errKeyStoreFull)
	}
	if _, s := p.make(residentOf(0, protectOptional)); s != statusOK {
		t.Errorf("in place of another: got %v", s)
	}
	var i info
	if s := p.call(commandGetInfo, nil, &i); s != statusOK || i.Space == nil || *i.Space != 0 {
		t.Errorf("space left: got %v, %v, want 0", i.Space, s)
	}
}

// TestDiscoverProtected has levels 2 and 3 found by nobody who was not verified.
func TestDiscoverProtected(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234"})
	for level := uint(protectOptional); level <= protectRequired; level++ {
		token, _ := p.token(2, "1234", permissionMake, "bkfs")
		_, s := p.make(func(r params) {
			residentOf(byte(level), level)(r)
			r[8], r[9] = mac(2, token, clientData), 2
		})
		if s != statusOK {
			t.Fatal(s)
		}
	}
	if a, s := p.get(nil, discover); s != statusOK || a.Count != 0 || a.User.ID[0] != protectOptional {
		t.Errorf("unverified: got %v, %+v, want the one of level 1", s, a.User)
	}
	token, _ := p.token(2, "1234", permissionAssert, "bkfs")
	a, s := p.get(nil, func(r params) { discover(r); r[6], r[7] = mac(2, token, clientData), 2 })
	if s != statusOK || a.Count != 3 || a.User.DisplayName != "D" || a.User.Name != strings.Repeat("é", 32) {
		t.Errorf("verified: got %v, %d, %+v, want 3 and the names", s, a.Count, a.User)
	}
}

// TestResidentNeedsUser has makeCredUvNotRqd, which is for the others only.
func TestResidentNeedsUser(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234", Behaviour: Behaviour{Quirks: Quirks{OptionalPIN: true}}})
	if _, s := p.make(residentOf(1, protectOptional)); s != errPINRequired {
		t.Errorf("resident: got %v, want %v", s, errPINRequired)
	}
	if _, s := p.make(nil); s != statusOK {
		t.Errorf("not resident: got %v", s)
	}
}

package softtoken

import (
	"bytes"
	"crypto/sha256"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// manage sends a subcommand, authorized by a fresh token unless token is given.
func (p *platform) manage(sub byte, args params, token []byte) (manageResponse, status) {
	p.t.Helper()
	if token == nil {
		var s status
		if token, s = p.token(2, "1234", permissionManage, ""); s != statusOK {
			p.t.Fatal(s)
		}
	}
	r, message := params{1: sub, 3: 2}, []byte{sub}
	if args != nil {
		b, err := p.auth.enc.Marshal(args)
		if err != nil {
			p.t.Fatal(err)
		}
		r[2], message = args, append(message, b...)
	}
	r[4] = mac(2, token, message)
	var answer manageResponse
	s := p.call(commandManage, r, &answer)
	return answer, s
}

// TestManage counts, lists, renames and deletes resident credentials.
func TestManage(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234"})
	if _, s := p.manage(subFirstRP, nil, nil); s != errNoCredentials {
		t.Errorf("none yet: got %v, want %v", s, errNoCredentials)
	}
	for _, c := range []struct {
		rp   string
		user byte
	}{{"a", 1}, {"a", 2}, {"b", 3}} {
		token, _ := p.token(2, "1234", permissionMake, c.rp)
		_, s := p.make(func(r params) {
			residentOf(c.user, protectRequired)(r)
			r[2], r[8], r[9] = params{"id": c.rp}, mac(2, token, clientData), 2
		})
		if s != statusOK {
			t.Fatal(s)
		}
	}
	m, s := p.manage(subMetadata, nil, nil)
	if s != statusOK || m.Existing == nil || *m.Existing != 3 || *m.Space != maxResident-3 {
		t.Errorf("metadata: got %v, %+v", s, m)
	}
	first, s := p.manage(subFirstRP, nil, nil)
	hash := sha256.Sum256([]byte("a"))
	if s != statusOK || first.RPs != 2 || first.RP.ID != "a" || !bytes.Equal(first.RPIDHash, hash[:]) {
		t.Errorf("relying parties: got %v, %+v", s, first)
	}
	var next manageResponse
	if s := p.call(commandManage, params{1: subNextRP}, &next); s != statusOK || next.RP.ID != "b" {
		t.Errorf("next: got %v, %+v", s, next)
	}
	for _, sub := range []byte{subNextRP, subNextCred} {
		if s := p.call(commandManage, params{1: sub}, nil); s != errNotAllowed {
			t.Errorf("after the last: got %v, want %v", s, errNotAllowed)
		}
	}
	cred, s := p.manage(subFirstCred, params{1: hash[:]}, nil)
	if s != statusOK || cred.Total != 2 || cred.User.ID[0] != 1 || cred.Key == nil || cred.Protect != protectRequired {
		t.Errorf("credentials: got %v, %+v", s, cred)
	}
	if s := p.call(commandManage, params{1: subNextCred}, &next); s != statusOK || next.User.ID[0] != 2 {
		t.Errorf("next: got %v, %+v", s, next)
	}
	id := params{"id": cred.Credential.ID, "type": publicKeyType}
	renamed := params{"id": []byte{1}, "name": "new", "displayName": "New"}
	if _, s := p.manage(subUpdateUser, params{2: id, 3: params{"id": []byte{9}}}, nil); s != errInvalidParameter {
		t.Errorf("another user: got %v, want %v", s, errInvalidParameter)
	}
	if _, s := p.manage(subUpdateUser, params{2: id, 3: renamed}, nil); s != statusOK {
		t.Errorf("rename: got %v", s)
	}
	cred, _ = p.manage(subFirstCred, params{1: hash[:]}, nil)
	if d := cmp.Diff(&userEntity{[]byte{1}, "new", "New"}, cred.User); d != "" {
		t.Errorf("renamed: %s", d)
	}
	if _, s := p.manage(subDeleteCred, params{2: id}, nil); s != statusOK {
		t.Errorf("delete: got %v", s)
	}
	if _, s := p.manage(subDeleteCred, params{2: id}, nil); s != errNoCredentials {
		t.Errorf("delete again: got %v, want %v", s, errNoCredentials)
	}
}

// TestMayManage has tokens that are not for managing, or for another relying party.
func TestMayManage(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234"})
	if s := p.call(commandManage, params{1: subMetadata}, nil); s != errPINRequired {
		t.Errorf("no token: got %v, want %v", s, errPINRequired)
	}
	token, _ := p.token(2, "1234", permissionAssert, "bkfs")
	if _, s := p.manage(subMetadata, nil, token); s != errPINAuthInvalid {
		t.Errorf("a token for assertions: got %v, want %v", s, errPINAuthInvalid)
	}
	token, _ = p.token(2, "1234", permissionManage, "bkfs")
	for _, sub := range []byte{subMetadata, subFirstRP} {
		if _, s := p.manage(sub, nil, token); s != errPINAuthInvalid {
			t.Errorf("a token for one party: got %v, want %v", s, errPINAuthInvalid)
		}
	}
	if _, s := p.manage(0x77, nil, nil); s != errInvalidSubcommand {
		t.Errorf("no such subcommand: got %v, want %v", s, errInvalidSubcommand)
	}
}

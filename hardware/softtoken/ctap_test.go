package softtoken

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/sha256"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

var versions = []uint{1, 2}

func TestPINLife(t *testing.T) {
	for _, v := range versions {
		p := newPlatform(t, Options{})
		if _, s := p.token(v, "1234", 0, ""); s != errPINNotSet {
			t.Errorf("protocol %d, token without a PIN: got %v, want %v", v, s, errPINNotSet)
		}
		if s := p.setPIN(v, "123"); s != errPINPolicy {
			t.Errorf("protocol %d, short PIN: got %v, want %v", v, s, errPINPolicy)
		}
		if s := p.setPIN(v, "1234"); s != statusOK {
			t.Fatalf("protocol %d, set PIN: %v", v, s)
		}
		if s := p.setPIN(v, "5678"); s != errPINAuthInvalid {
			t.Errorf("protocol %d, set PIN again: got %v, want %v", v, s, errPINAuthInvalid)
		}
		if s := p.changePIN(v, "0000", "5678"); s != errPINInvalid || p.retries() != 7 {
			t.Errorf("protocol %d, change with a wrong PIN: got %v, %d tries, want %v, 7", v, s, p.retries(), errPINInvalid)
		}
		if s := p.changePIN(v, "1234", "5678"); s != statusOK || p.retries() != 8 {
			t.Errorf("protocol %d, change PIN: got %v, %d tries", v, s, p.retries())
		}
		if _, s := p.token(v, "5678", 0, ""); s != statusOK {
			t.Errorf("protocol %d, new PIN: %v", v, s)
		}
	}
}

func TestPINBlocks(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234"})
	for i, want := range []status{errPINInvalid, errPINInvalid, errPINAuthBlocked, errPINAuthBlocked} {
		if _, s := p.token(2, "0000", 0, ""); s != want {
			t.Errorf("wrong PIN %d: got %v, want %v", i, s, want)
		}
	}
	if _, s := p.token(2, "1234", 0, ""); s != errPINAuthBlocked || p.retries() != 5 {
		t.Errorf("right PIN: got %v, %d tries, want %v, 5", s, p.retries(), errPINAuthBlocked)
	}
	for _, want := range []status{errPINInvalid, errPINInvalid, errPINInvalid, errPINInvalid, errPINBlocked} {
		p.replug()
		if _, s := p.token(1, "0000", 0, ""); s != want {
			t.Errorf("got %v, want %v", s, want)
		}
	}
	p.replug()
	if _, s := p.token(1, "1234", 0, ""); s != errPINBlocked {
		t.Errorf("right PIN when blocked: got %v, want %v", s, errPINBlocked)
	}
	if s := p.call(commandReset, nil, nil); s != statusOK || p.retries() != maxRetries {
		t.Errorf("reset: %v", s)
	}
}

func TestSecrets(t *testing.T) {
	for _, v := range versions {
		p := newPlatform(t, Options{PIN: "1234", Behaviour: Behaviour{Quirks: Quirks{OptionalPIN: true}}})
		m, s := p.make(nil)
		if s != statusOK {
			t.Fatal(s)
		}
		a, b := bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32)
		one, s := p.secret(v, m.id, a, nil)
		if s != statusOK || len(one) != 32 {
			t.Fatalf("protocol %d: %d bytes, %v", v, len(one), s)
		}
		two, s := p.secret(v, m.id, append(bytes.Clone(b), a...), nil)
		if s != statusOK || len(two) != 64 || !bytes.Equal(two[32:], one) || bytes.Equal(two[:32], one) {
			t.Errorf("protocol %d: two salts gave %x, the second one alone %x", v, two, one)
		}
		token, s := p.token(v, "1234", 0, "")
		if s != statusOK {
			t.Fatal(s)
		}
		verified, s := p.secret(v, m.id, a, token)
		if s != statusOK || bytes.Equal(verified, one) {
			t.Errorf("protocol %d: %v, with and without user verification the same secret", v, s)
		}
		p.replug()
		if again, _ := p.secret(v, m.id, a, nil); !bytes.Equal(again, one) {
			t.Errorf("protocol %d: another secret after power-up", v)
		}
		if _, s := p.secret(v, m.id, bytes.Repeat([]byte{1}, 48), nil); s != errInvalidLength {
			t.Errorf("protocol %d, 48 bytes of salt: got %v, want %v", v, s, errInvalidLength)
		}
	}
}

func TestPermissions(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234"})
	authorized := func(token []byte, rpID string) func(params) {
		return func(r params) {
			r[2], r[8], r[9] = params{"id": rpID}, mac(2, token, clientData), 2
		}
	}
	if _, s := p.make(nil); s != errPINRequired {
		t.Errorf("without the PIN: got %v, want %v", s, errPINRequired)
	}
	token, _ := p.token(2, "1234", permissionAssert, "bkfs")
	if _, s := p.make(authorized(token, "bkfs")); s != errPINAuthInvalid {
		t.Errorf("a token for assertions: got %v, want %v", s, errPINAuthInvalid)
	}
	token, _ = p.token(2, "1234", permissionMake, "example.org")
	if _, s := p.make(authorized(token, "bkfs")); s != errPINAuthInvalid {
		t.Errorf("a token for another party: got %v, want %v", s, errPINAuthInvalid)
	}
	token, _ = p.token(2, "1234", permissionMake|permissionAssert, "bkfs")
	m, s := p.make(authorized(token, "bkfs"))
	if s != statusOK || m.flags != flagUP|flagUV|flagAT|flagED {
		t.Errorf("the right token: got %v, flags %#x", s, m.flags)
	}
	token[0] ^= 1
	if _, s := p.make(authorized(token, "bkfs")); s != errPINAuthInvalid {
		t.Errorf("a forged token: got %v, want %v", s, errPINAuthInvalid)
	}
}

func TestCredProtect(t *testing.T) {
	p := newPlatform(t, Options{PIN: "1234", Behaviour: Behaviour{Quirks: Quirks{OptionalPIN: true}}})
	for level, want := range map[uint]status{protectOptional: statusOK, protectWithID: statusOK, protectRequired: errNoCredentials} {
		m, s := p.make(func(r params) { r[6] = params{"credProtect": level} })
		if s != statusOK {
			t.Fatal(s)
		}
		if _, s := p.get(m.id, func(r params) { r[5] = params{"up": false} }); s != want {
			t.Errorf("level %d, silently: got %v, want %v", level, s, want)
		}
		token, _ := p.token(2, "1234", permissionAssert, "bkfs")
		if _, s := p.get(m.id, func(r params) { r[6], r[7] = mac(2, token, clientData), 2 }); s != statusOK {
			t.Errorf("level %d, verified: got %v", level, s)
		}
	}
	if _, s := p.make(func(r params) { r[6] = params{"credProtect": 4} }); s != errInvalidOption {
		t.Errorf("level 4: got %v, want %v", s, errInvalidOption)
	}
}

// TestSignatures checks what a relying party would.
func TestSignatures(t *testing.T) {
	for _, alg := range []int{algES256, algEdDSA} {
		p := newPlatform(t, Options{})
		m, s := p.make(func(r params) {
			r[4] = []params{{"alg": -257, "type": publicKeyType}, {"alg": alg, "type": publicKeyType}}
		})
		if s != statusOK {
			t.Fatal(s)
		}
		var key coseKey
		if _, err := cbor.UnmarshalFirst(m.authData[55+len(m.id):], &key); err != nil {
			t.Fatal(err)
		}
		a, s := p.get(m.id, nil)
		if s != statusOK {
			t.Fatal(s)
		}
		message := append(bytes.Clone(a.AuthData), clientData...)
		var good bool
		if alg == algEdDSA {
			good = ed25519.Verify(key.X, message, a.Signature)
		} else {
			public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, key.X...), key.Y...))
			if err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(message)
			good = ecdsa.VerifyASN1(public, sum[:], a.Signature)
		}
		if !good || key.Alg != alg || a.AuthData[32] != flagUP {
			t.Errorf("algorithm %d: signature %v, flags %#x, key %+v", alg, good, a.AuthData[32], key)
		}
		if count := a.AuthData[36]; count != 2 {
			t.Errorf("signature counter: got %d, want 2", count)
		}
	}
}

func TestRefusals(t *testing.T) {
	p := newPlatform(t, Options{})
	m, _ := p.make(nil)
	other := newPlatform(t, Options{})
	for name, test := range map[string]struct {
		got  func() status
		want status
	}{
		"unknown command":  {func() status { return p.call(0x55, nil, nil) }, errInvalidCommand},
		"next assertion":   {func() status { return p.call(commandGetNextAssertion, nil, nil) }, errNotAllowed},
		"make silently":    {func() status { _, s := p.make(func(r params) { r[7] = params{"up": false} }); return s }, errInvalidOption},
		"verify by nobody": {func() status { _, s := p.make(func(r params) { r[7] = params{"uv": true} }); return s }, errInvalidOption},
		"RS256 only": {func() status {
			_, s := p.make(func(r params) { r[4] = []params{{"alg": -257, "type": publicKeyType}} })
			return s
		}, errUnsupportedAlgorithm},
		"no user": {func() status { _, s := p.make(func(r params) { delete(r, 3) }); return s }, errMissingParameter},
		"excluded": {func() status {
			_, s := p.make(func(r params) { r[5] = []params{{"id": m.id, "type": publicKeyType}} })
			return s
		}, errCredentialExcluded},
		"other token":      {func() status { _, s := other.get(m.id, nil); return s }, errNoCredentials},
		"other party":      {func() status { _, s := p.get(m.id, func(r params) { r[1] = "example.org" }); return s }, errNoCredentials},
		"no allow list":    {func() status { _, s := p.get(nil, func(r params) { delete(r, 3) }); return s }, errNoCredentials},
		"short hash":       {func() status { _, s := p.get(m.id, func(r params) { r[2] = []byte{1} }); return s }, errMissingParameter},
		"text for bytes":   {func() status { _, s := p.get(m.id, func(r params) { r[2] = "x" }); return s }, errUnexpectedType},
		"unknown protocol": {func() status { return p.call(commandClientPIN, params{1: 3, 2: subKeyAgreement}, nil) }, errInvalidParameter},
		"no subcommand":    {func() status { return p.call(commandClientPIN, params{1: 1}, nil) }, errMissingParameter},
		"silent secret": {func() status {
			key, k := p.agree(2)
			salt := p.encrypt(k, make([]byte, 32))
			_, s := p.get(m.id, func(r params) {
				r[4], r[5] = params{"hmac-secret": params{1: key, 2: salt, 3: mac(2, k.auth, salt), 4: 2}}, params{"up": false}
			})
			return s
		}, errUnsupportedOption},
		"forged salt": {func() status {
			key, k := p.agree(2)
			salt := p.encrypt(k, make([]byte, 32))
			_, s := p.get(m.id, func(r params) { r[4] = params{"hmac-secret": params{1: key, 2: salt, 3: make([]byte, 32), 4: 2}} })
			return s
		}, errPINAuthInvalid},
	} {
		if got := test.got(); got != test.want {
			t.Errorf("%s: got %v, want %v", name, got, test.want)
		}
	}
	p.auth.powered = time.Now().Add(-time.Minute)
	if s := p.call(commandReset, nil, nil); s != errNotAllowed {
		t.Errorf("late reset: got %v, want %v", s, errNotAllowed)
	}
}

func TestTouches(t *testing.T) {
	p := newPlatform(t, Options{Behaviour: Behaviour{Button: true, Timeout: 50 * time.Millisecond}})
	if s := p.call(commandSelection, nil, nil); s != errUserActionTimeout {
		t.Errorf("untouched: got %v, want %v", s, errUserActionTimeout)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got := p.auth.handle(ctx, []byte{commandSelection}, func(s uint32) {
		if s == statusTouch {
			cancel()
		}
	})
	if status(got[0]) != errKeepaliveCancel {
		t.Errorf("cancelled: got %v, want %v", status(got[0]), errKeepaliveCancel)
	}
	if err := Behave(p.path, func(b *Behaviour) { b.Timeout = 0 }); err != nil {
		t.Fatal(err)
	}
	pressed := make(chan error, 1)
	go func() { pressed <- Press(soon(t), p.path) }()
	if s := p.call(commandSelection, nil, nil); s != statusOK {
		t.Errorf("touched: got %v", s)
	}
	if err := <-pressed; err != nil {
		t.Error(err)
	}
	st, err := Read(p.path)
	if err != nil || st.Blinking || st.Seen.Blinks != 3 {
		t.Errorf("got %+v, %v", st, err)
	}
}

func FuzzCommand(f *testing.F) {
	f.Add([]byte{commandGetInfo})
	f.Add([]byte{commandClientPIN, 0xa2, 1, 1, 2, 2})
	f.Add([]byte{commandMakeCredential, 0xa1, 1, 0x41, 0})
	f.Add([]byte{commandGetAssertion, 0xa1, 1, 0x64, 'b', 'k', 'f', 's'})
	dir := f.TempDir()
	path := dir + "/token"
	if err := Create(path, Options{PIN: "1234"}); err != nil {
		f.Fatal(err)
	}
	auth, err := newAuthenticator(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		got := auth.handle(t.Context(), b, func(uint32) {})
		if len(got) == 0 || len(got) > maxMessage {
			t.Fatalf("an answer of %d bytes", len(got))
		}
		if got[0] != 0 && len(got) != 1 {
			t.Fatalf("an error with a body: %x", got)
		}
	})
}

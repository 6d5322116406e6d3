package softtoken

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"path/filepath"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// platform is a client's side of CTAP2, written for the tests: it speaks to the authenticator without a transport.
type platform struct {
	t    *testing.T
	path string
	auth *authenticator
}

func newPlatform(t *testing.T, o Options) *platform {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token.json")
	if err := Create(path, o); err != nil {
		t.Fatal(err)
	}
	p := &platform{t: t, path: path}
	p.replug()
	return p
}

// replug cuts the power.
func (p *platform) replug() {
	p.t.Helper()
	auth, err := newAuthenticator(p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.auth = auth
}

type params map[any]any

// call sends one command; answer, when not nil, takes the response.
func (p *platform) call(command byte, request any, answer any) status {
	p.t.Helper()
	body := []byte{command}
	if request != nil {
		b, err := p.auth.enc.Marshal(request)
		if err != nil {
			p.t.Fatal(err)
		}
		body = append(body, b...)
	}
	got := p.auth.handle(context.Background(), body, func(uint32) {})
	if len(got) == 0 {
		p.t.Fatal("an answer without a status")
	}
	if len(got) > 1 && answer != nil {
		if err := cbor.Unmarshal(got[1:], answer); err != nil {
			p.t.Fatalf("answer to %#x: %v", command, err)
		}
	}
	return status(got[0])
}

// agree runs the key agreement and gives the platform's public key and the shared keys.
func (p *platform) agree(version uint) (coseKey, *sharedKeys) {
	p.t.Helper()
	var r pinResponse
	if s := p.call(commandClientPIN, params{1: version, 2: subKeyAgreement}, &r); s != statusOK || r.Key == nil {
		p.t.Fatalf("key agreement: %v", s)
	}
	peer, err := ecdh.P256().NewPublicKey(bytes.Join([][]byte{{4}, r.Key.X, r.Key.Y}, nil))
	if err != nil {
		p.t.Fatal(err)
	}
	own, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		p.t.Fatal(err)
	}
	z, err := own.ECDH(peer)
	if err != nil {
		p.t.Fatal(err)
	}
	keys, err := kdf(version, z)
	if err != nil {
		p.t.Fatal(err)
	}
	b := own.PublicKey().Bytes()
	return coseKey{Type: ktyEC2, Alg: algECDH, Curve: crvP256, X: b[1:33], Y: b[33:]}, keys
}

func mac(version uint, key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	if version == 1 {
		return h.Sum(nil)[:16]
	}
	return h.Sum(nil)
}

func (p *platform) encrypt(k *sharedKeys, b []byte) []byte {
	p.t.Helper()
	out, err := k.encrypt(b)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

func padded(pin string) []byte { return append([]byte(pin), make([]byte, 64-len(pin))...) }

func hashed(pin string) []byte {
	sum := sha256.Sum256([]byte(pin))
	return sum[:16]
}

func (p *platform) setPIN(version uint, pin string) status {
	key, k := p.agree(version)
	sealed := p.encrypt(k, padded(pin))
	return p.call(commandClientPIN, params{1: version, 2: subSetPIN, 3: key, 4: mac(version, k.auth, sealed), 5: sealed}, nil)
}

func (p *platform) changePIN(version uint, old, pin string) status {
	key, k := p.agree(version)
	sealed, hash := p.encrypt(k, padded(pin)), p.encrypt(k, hashed(old))
	return p.call(commandClientPIN,
		params{1: version, 2: subChangePIN, 3: key, 4: mac(version, k.auth, sealed, hash), 5: sealed, 6: hash}, nil)
}

// token gets a PIN token; permissions 0 is getPinToken of CTAP 2.0.
func (p *platform) token(version uint, pin string, permissions uint, rpID string) ([]byte, status) {
	key, k := p.agree(version)
	r := params{1: version, 2: subGetToken, 3: key, 6: p.encrypt(k, hashed(pin))}
	if permissions != 0 {
		r[2], r[9], r[10] = subGetTokenPIN, permissions, rpID
	}
	var answer pinResponse
	s := p.call(commandClientPIN, r, &answer)
	if s != statusOK {
		return nil, s
	}
	token, err := k.decrypt(answer.Token)
	if err != nil || len(token) != 32 {
		p.t.Fatalf("PIN token: %d bytes, %v", len(token), err)
	}
	return token, s
}

func (p *platform) retries() int {
	p.t.Helper()
	var r pinResponse
	if s := p.call(commandClientPIN, params{2: subGetRetries}, &r); s != statusOK || r.Retries == nil {
		p.t.Fatalf("retries: %v", s)
	}
	return *r.Retries
}

var clientData = bytes.Repeat([]byte{0xcd}, 32)

// made is a decoded makeCredential answer.
type made struct {
	authData []byte
	id       []byte
	flags    byte
}

func (p *platform) make(change func(params)) (made, status) {
	p.t.Helper()
	r := params{
		1: clientData, 2: params{"id": "bkfs"}, 3: params{"id": []byte{1}, "name": "u"},
		4: []params{{"alg": algES256, "type": publicKeyType}}, 6: params{"hmac-secret": true},
	}
	if change != nil {
		change(r)
	}
	var answer makeResponse
	if s := p.call(commandMakeCredential, r, &answer); s != statusOK {
		return made{}, s
	}
	d := answer.AuthData
	n := int(d[53])<<8 | int(d[54])
	return made{d, d[55 : 55+n], d[32]}, statusOK
}

func (p *platform) get(id []byte, change func(params)) (assertResponse, status) {
	p.t.Helper()
	r := params{1: "bkfs", 2: clientData, 3: []params{{"id": id, "type": publicKeyType}}}
	if change != nil {
		change(r)
	}
	var answer assertResponse
	s := p.call(commandGetAssertion, r, &answer)
	return answer, s
}

// secret asks for hmac-secret; token, when not nil, verifies the user.
func (p *platform) secret(version uint, id, salts, token []byte) ([]byte, status) {
	p.t.Helper()
	key, k := p.agree(version)
	sealed := p.encrypt(k, salts)
	answer, s := p.get(id, func(r params) {
		r[4] = params{"hmac-secret": params{1: key, 2: sealed, 3: mac(version, k.auth, sealed), 4: version}}
		if token != nil {
			r[6], r[7] = mac(version, token, clientData), version
		}
	})
	if s != statusOK {
		return nil, s
	}
	if answer.AuthData[32]&flagED == 0 {
		p.t.Fatal("no extension data")
	}
	var ext assertExtensions
	if err := cbor.Unmarshal(answer.AuthData[37:], &ext); err != nil {
		p.t.Fatal(err)
	}
	out, err := k.decrypt(ext.HMACSecret)
	if err != nil {
		p.t.Fatal(err)
	}
	return out, statusOK
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

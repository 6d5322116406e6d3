package tokentest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"slices"
	"testing"

	"bkfs/archive/seal"
	"bkfs/keyring"
)

// Subject is what is tested: tokens of which exactly one can be enrolled.
type Subject struct {
	// New gives the token. What it needs to be closed is the test's cleanup. It is called once per test, and each
	// time the same authenticators are behind it.
	New func(t *testing.T) keyring.Token
	// Request is changed into what the authenticator can do, e.g. RequirePIN. Nil: a touch and no more.
	Request func(*keyring.EnrollRequest)
	// Lacks tells whether an error of Enroll means that the authenticator doesn't have the algorithm, which not all
	// do: that skips the test of all algorithms. Nil: it has to have both.
	Lacks func(error) bool
}

// Run runs the suite.
func Run(t *testing.T, s Subject) {
	for _, test := range []struct {
		name string
		run  func(*testing.T, Subject)
	}{
		{"EnrolledSecretComesAgain", testSecret},
		{"SecretSurvivesReopening", testReopening},
		{"SaltsAndCredentialsSeparateSecrets", testSeparation},
		{"StrangeCredentialIsNotFound", testStrange},
		{"EnrolledTokenIsRefused", testExclude},
		{"BothAlgorithms", testAlgorithms},
		{"EndedContext", testContext},
		{"BadInput", testBadInput},
	} {
		t.Run(test.name, func(t *testing.T) { test.run(t, s) })
	}
}

func (s Subject) request(t *testing.T) keyring.EnrollRequest {
	t.Helper()
	r := keyring.EnrollRequest{
		RPID: keyring.RPID, Label: "tokentest", Algorithm: keyring.ES256, RequireUP: true, Salt: random(t, 32),
	}
	copy(r.RepositoryID[:], random(t, len(r.RepositoryID)))
	if s.Request != nil {
		s.Request(&r)
	}
	return r
}

func random(t *testing.T, n int) []byte {
	t.Helper()
	b := make([]byte, n)
	if _, err := rand.Read(b); err != nil {
		t.Fatal(err)
	}
	return b
}

func enroll(t *testing.T, token keyring.Token, r keyring.EnrollRequest) (keyring.FIDO2, *seal.Key) {
	t.Helper()
	f, key, err := token.Enroll(t.Context(), r)
	checkEnrolled(t, r, f, key, err)
	return f, key
}

// checkEnrolled looks at what Enroll gave for r.
func checkEnrolled(t *testing.T, r keyring.EnrollRequest, f keyring.FIDO2, key *seal.Key, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("Enroll: %v", err)
	}
	t.Cleanup(key.Destroy)
	if len(key.Bytes()) != 32 || bytes.Equal(key.Bytes(), make([]byte, 32)) {
		t.Fatalf("Enroll gave a secret of %d bytes, or zeros", len(key.Bytes()))
	}
	if f.RPID != r.RPID || f.Algorithm != r.Algorithm || !bytes.Equal(f.Salt, r.Salt) || len(f.CredentialID) == 0 {
		t.Fatalf("Enroll gave %+v for %+v", f, r)
	}
	if f.PIN != r.RequirePIN || f.UserPresence != r.RequireUP || r.RequireUV && !f.UserVerification {
		t.Fatalf("Enroll recorded PIN %v, presence %v, verification %v for %+v", f.PIN, f.UserPresence, f.UserVerification, r)
	}
}

// unlock finds the one match and gets its secret.
func unlock(t *testing.T, token keyring.Token, credentials []keyring.FIDO2) (int, *seal.Key) {
	t.Helper()
	matches, err := token.Find(t.Context(), credentials)
	if err != nil || len(matches) != 1 {
		t.Fatalf("Find: got %v, %v, want one match", matches, err)
	}
	m := matches[0]
	got, key, err := token.Secret(t.Context(), matches, credentials)
	if err != nil {
		t.Fatalf("Secret: %v", err)
	}
	t.Cleanup(key.Destroy)
	if got != m {
		t.Fatalf("Secret of %v is said to be of %v", m, got)
	}
	return m.Credential, key
}

func testSecret(t *testing.T, s Subject) {
	token := s.New(t)
	f, want := enroll(t, token, s.request(t))
	for range 2 {
		if _, got := unlock(t, token, []keyring.FIDO2{f}); !got.Equal(want) {
			t.Fatal("Secret gave another secret than Enroll")
		}
	}
}

func testReopening(t *testing.T, s Subject) {
	f, want := enroll(t, s.New(t), s.request(t))
	if _, got := unlock(t, s.New(t), []keyring.FIDO2{f}); !got.Equal(want) {
		t.Fatal("Secret gave another secret after reopening")
	}
}

func testSeparation(t *testing.T, s Subject) {
	token := s.New(t)
	a, secretA := enroll(t, token, s.request(t))
	r := s.request(t)
	r.Salt = a.Salt
	_, secretB := enroll(t, token, r)
	if secretA.Equal(secretB) {
		t.Error("two credentials with one salt gave one secret")
	}
	a.Salt = random(t, 32)
	if _, other := unlock(t, token, []keyring.FIDO2{a}); other.Equal(secretA) {
		t.Error("two salts gave one secret")
	}
}

func testStrange(t *testing.T, s Subject) {
	token := s.New(t)
	f, want := enroll(t, token, s.request(t))
	strange := f
	strange.CredentialID = random(t, len(f.CredentialID))
	elsewhere := f
	elsewhere.RPID = "example.org"
	got, err := token.Find(t.Context(), []keyring.FIDO2{strange, elsewhere})
	if err != nil || len(got) != 0 {
		t.Errorf("Find of strange credentials: got %v, %v, want none", got, err)
	}
	if i, key := unlock(t, token, []keyring.FIDO2{strange, elsewhere, f}); i != 2 || !key.Equal(want) {
		t.Errorf("among strange credentials: got %d, want 2", i)
	}
	if got, err := token.Find(t.Context(), nil); err != nil || len(got) != 0 {
		t.Errorf("Find of nothing: got %v, %v", got, err)
	}
}

func testExclude(t *testing.T, s Subject) {
	token := s.New(t)
	f, _ := enroll(t, token, s.request(t))
	r := s.request(t)
	r.Exclude = []keyring.FIDO2{f}
	if _, key, err := token.Enroll(t.Context(), r); err == nil {
		key.Destroy()
		t.Error("Enroll took a token that is enrolled already")
	}
}

func testAlgorithms(t *testing.T, s Subject) {
	token := s.New(t)
	var all []keyring.FIDO2
	for _, a := range []keyring.Algorithm{keyring.ES256, keyring.EdDSA} {
		r := s.request(t)
		r.Algorithm = a
		f, want, err := token.Enroll(t.Context(), r)
		if err != nil && a != keyring.ES256 && s.Lacks != nil && s.Lacks(err) {
			t.Skipf("this token doesn't do %s: %v", a, err)
		}
		checkEnrolled(t, r, f, want, err)
		if _, got := unlock(t, token, []keyring.FIDO2{f}); !got.Equal(want) {
			t.Errorf("%s: another secret", a)
		}
		all = append(all, f)
	}
	matches, err := token.Find(t.Context(), all)
	got := make([]int, 0, len(matches))
	for _, m := range matches {
		got = append(got, m.Credential)
	}
	if err != nil || !slices.Equal(got, []int{0, 1}) {
		t.Errorf("Find of two credentials of one token: got %v, %v", got, err)
	}
}

func testContext(t *testing.T, s Subject) {
	token := s.New(t)
	f, _ := enroll(t, token, s.request(t))
	matches, err := token.Find(t.Context(), []keyring.FIDO2{f})
	if err != nil || len(matches) != 1 {
		t.Fatalf("Find: %v, %v", matches, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := token.Find(ctx, []keyring.FIDO2{f}); !errors.Is(err, context.Canceled) {
		t.Errorf("Find with an ended context: got %v", err)
	}
	if _, _, err := token.Secret(ctx, matches, []keyring.FIDO2{f}); !errors.Is(err, context.Canceled) {
		t.Errorf("Secret with an ended context: got %v", err)
	}
	if _, _, err := token.Enroll(ctx, s.request(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("Enroll with an ended context: got %v", err)
	}
}

func testBadInput(t *testing.T, s Subject) {
	token := s.New(t)
	f, _ := enroll(t, token, s.request(t))
	m := keyring.Match{Device: "/dev/null/nothing"}
	if _, key, err := token.Secret(t.Context(), []keyring.Match{m}, []keyring.FIDO2{f}); err == nil {
		key.Destroy()
		t.Error("Secret from a device that is not there succeeded")
	}
	if got, err := token.Find(t.Context(), []keyring.FIDO2{{RPID: keyring.RPID}}); err == nil || len(got) != 0 {
		t.Errorf("Find of an empty credential id: got %v, %v", got, err)
	}
	r := s.request(t)
	r.Salt = r.Salt[:31]
	if _, key, err := token.Enroll(t.Context(), r); err == nil {
		key.Destroy()
		t.Error("Enroll took a short salt")
	}
}

package keyring

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bkfs/archive/seal"
)

// vectors.json is made by archive/seal/testdata/reference.py, which knows only
// FORMAT.md.
type vectors struct {
	Repository    seal.RepositoryID
	RepositoryKey hexBytes `json:"repository_key"`
	Token         hexBytes
	Passphrase    string
	Argon2        hexBytes
	Recovery      hexBytes
	Slots         []json.RawMessage
	Texts         []struct {
		Key  hexBytes
		Text string
	}
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func key(t testing.TB, b []byte) *seal.Key {
	t.Helper()
	k, err := seal.KeyFrom(bytes.Clone(b))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Destroy)
	return k
}

func (v vectors) secret(t testing.TB) Secret {
	return Secret{Token: key(t, v.Token), Passphrase: key(t, v.Argon2), Recovery: key(t, v.Recovery)}
}

func (v vectors) slot(t testing.TB, typ Type) Slot {
	t.Helper()
	for _, raw := range v.Slots {
		s, err := ParseSlot(raw)
		if err != nil {
			t.Fatal(err)
		}
		if s.Type == typ {
			return s
		}
	}
	t.Fatalf("no vector for a %s slot", typ)
	return Slot{}
}

var types = []Type{TypeFIDO2, TypePassphrase, TypeRecovery, TypeFIDO2Passphrase}

func TestGoldenSlots(t *testing.T) {
	v := readVectors(t)
	want := key(t, v.RepositoryKey)
	if len(v.Slots) != len(types) {
		t.Fatalf("got %d slots, want one for each type", len(v.Slots))
	}
	for _, typ := range types {
		s := v.slot(t, typ)
		got, err := s.Open(v.Repository, v.secret(t))
		if err != nil {
			t.Errorf("%s: %v", typ, err)
			continue
		}
		if !got.Equal(want) {
			t.Errorf("%s: another repository key", typ)
		}
		got.Destroy()
		// Wrapping is the same bytes: nothing random but the salt and the id.
		again := s
		again.Commitment, again.Wrapped = nil, nil
		if err := again.wrap(v.Repository, want, v.secret(t)); err != nil {
			t.Errorf("%s: %v", typ, err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Errorf("%s: wrapped again (-want +got):\n%s", typ, diff)
		}
	}
}

func TestGoldenArgon2(t *testing.T) {
	v := readVectors(t)
	got, err := RunArgon2(t.Context(), []byte(v.Passphrase), *v.slot(t, TypePassphrase).Argon2)
	if err != nil {
		t.Fatal(err)
	}
	defer got.Destroy()
	if !got.Equal(key(t, v.Argon2)) {
		t.Error("argon2id gives another key")
	}
}

// Each edit is one changed field, and the error it must lead to.
func TestEditedSlot(t *testing.T) {
	edits := []struct {
		name  string
		types string // of which slots; all when empty
		edit  func(*Slot)
		want  error
	}{
		{"id", "", func(s *Slot) { s.ID[7]++ }, ErrWrongSecret},
		{"salt", "", func(s *Slot) { s.Salt[0]++ }, ErrWrongSecret},
		{"flipped commitment", "", func(s *Slot) { s.Commitment[31] ^= 1 }, ErrWrongSecret},
		{"label", "", func(s *Slot) { s.Label += "x" }, ErrDamagedSlot},
		{"created", "", func(s *Slot) { s.Created = s.Created.Add(time.Second) }, ErrDamagedSlot},
		{"wrapped key", "", func(s *Slot) { s.Wrapped[0] ^= 1 }, ErrDamagedSlot},
		{"wrapped key's tag", "", func(s *Slot) { s.Wrapped[47] ^= 1 }, ErrDamagedSlot},
		{"credential", "fido2", func(s *Slot) { s.FIDO2.CredentialID[0]++ }, ErrWrongSecret},
		{"credential cut", "fido2", func(s *Slot) { s.FIDO2.CredentialID = s.FIDO2.CredentialID[1:] }, ErrWrongSecret},
		{"hmac-secret salt", "fido2", func(s *Slot) { s.FIDO2.Salt[0]++ }, ErrWrongSecret},
		{"relying party", "fido2", func(s *Slot) { s.FIDO2.RPID += "x" }, ErrWrongSecret},
		{"algorithm", "fido2", func(s *Slot) { s.FIDO2.Algorithm = EdDSA }, ErrWrongSecret},
		{"pin", "fido2", func(s *Slot) { s.FIDO2.PIN = !s.FIDO2.PIN }, ErrWrongSecret},
		{"presence", "fido2", func(s *Slot) { s.FIDO2.UserPresence = !s.FIDO2.UserPresence }, ErrWrongSecret},
		{"verification", "fido2", func(s *Slot) { s.FIDO2.UserVerification = !s.FIDO2.UserVerification }, ErrWrongSecret},
		{"aaguid", "fido2", func(s *Slot) { s.FIDO2.AAGUID = AAGUID{} }, ErrWrongSecret},
		{"argon2 time", "passphrase", func(s *Slot) { s.Argon2.Time++ }, ErrWrongSecret},
		{"argon2 memory", "passphrase", func(s *Slot) { s.Argon2.MemoryKiB++ }, ErrWrongSecret},
		{"argon2 threads", "passphrase", func(s *Slot) { s.Argon2.Threads++ }, ErrWrongSecret},
		{"argon2 salt", "passphrase", func(s *Slot) { s.Argon2.Salt[0]++ }, ErrWrongSecret},
		{"argon2 memory over its cap", "passphrase", func(s *Slot) { s.Argon2.MemoryKiB = MaxArgon2MemoryKiB + 1 }, ErrParams},
		{"fido2 removed", "fido2", func(s *Slot) { s.FIDO2 = nil }, ErrDamagedSlot},
		{"argon2 removed", "passphrase", func(s *Slot) { s.Argon2 = nil }, ErrDamagedSlot},
		{"other type", "", func(s *Slot) {
			if s.Type, s.FIDO2, s.Argon2 = TypeRecovery, nil, nil; len(s.Label) == 0 {
				s.Type, s.Argon2 = TypePassphrase, &Argon2{1, 8, 1, make([]byte, 16)}
			}
		}, ErrWrongSecret},
		{"unknown type", "", func(s *Slot) { s.Type = "tpm2" }, ErrUnknownType},
	}
	v := readVectors(t)
	for _, typ := range types {
		for _, e := range edits {
			if !strings.Contains(string(typ), e.types) {
				continue
			}
			s := v.slot(t, typ)
			e.edit(&s)
			if k, err := s.Open(v.Repository, v.secret(t)); !errors.Is(err, e.want) || k != nil {
				t.Errorf("%s slot, %s: got %v, want %v", typ, e.name, err, e.want)
			}
		}
	}
}

func TestWrongSecret(t *testing.T) {
	v := readVectors(t)
	other := v.Repository
	other[0]++
	for _, typ := range types {
		s := v.slot(t, typ)
		if _, err := s.Open(other, v.secret(t)); !errors.Is(err, ErrWrongSecret) {
			t.Errorf("%s slot in another repository: got %v, want %v", typ, err, ErrWrongSecret)
		}
		for name, wrong := range map[string]Secret{
			"token":      {key(t, v.Recovery), key(t, v.Argon2), key(t, v.Recovery)},
			"passphrase": {key(t, v.Token), key(t, v.Recovery), key(t, v.Recovery)},
			"recovery":   {key(t, v.Token), key(t, v.Argon2), key(t, v.Token)},
			"swapped":    {key(t, v.Argon2), key(t, v.Token), key(t, v.Argon2)},
		} {
			needed := map[string]bool{"token": typ.Token(), "passphrase": typ.Passphrase(), "recovery": typ == TypeRecovery, "swapped": true}[name]
			k, err := s.Open(v.Repository, wrong)
			if needed && !errors.Is(err, ErrWrongSecret) {
				t.Errorf("%s slot, wrong %s: got %v, want %v", typ, name, err, ErrWrongSecret)
			}
			if !needed && err != nil {
				t.Errorf("%s slot minds a %s it doesn't need: %v", typ, name, err)
			}
			k.Destroy()
		}
		if _, err := s.Open(v.Repository, Secret{}); err == nil || errors.Is(err, ErrWrongSecret) {
			t.Errorf("%s slot without a secret: got %v, want an error of its own", typ, err)
		}
	}
}

func TestNewSlot(t *testing.T) {
	v := readVectors(t)
	for _, typ := range types {
		like := v.slot(t, typ)
		m := Meta{Label: "mine", FIDO2: like.FIDO2, Argon2: like.Argon2}
		a, err := NewSlot(v.Repository, key(t, v.RepositoryKey), typ, v.secret(t), m)
		if err != nil {
			t.Fatal(err)
		}
		b, err := NewSlot(v.Repository, key(t, v.RepositoryKey), typ, v.secret(t), m)
		if err != nil {
			t.Fatal(err)
		}
		if a.ID == b.ID || bytes.Equal(a.Salt, b.Salt) || bytes.Equal(a.Wrapped, b.Wrapped) {
			t.Errorf("two new %s slots share their id, salt or wrapped key", typ)
		}
		raw, err := json.Marshal(a)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseSlot(raw)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, back); diff != "" {
			t.Errorf("%s slot through JSON (-want +got):\n%s", typ, diff)
		}
		got, err := back.Open(v.Repository, v.secret(t))
		if err != nil || !got.Equal(key(t, v.RepositoryKey)) {
			t.Errorf("%s slot: %v", typ, err)
		}
		got.Destroy()
		if _, err := NewSlot(v.Repository, key(t, v.RepositoryKey), typ, Secret{}, m); err == nil {
			t.Errorf("made a %s slot without a secret", typ)
		}
		if _, err := NewSlot(v.Repository, nil, typ, v.secret(t), m); err == nil {
			t.Errorf("made a %s slot without a repository key", typ)
		}
	}
	if _, err := NewSlot(v.Repository, key(t, v.RepositoryKey), TypeFIDO2, v.secret(t), Meta{}); err == nil {
		t.Error("made a fido2 slot without a credential")
	}
}

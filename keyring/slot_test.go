package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"
)

// Each case is a vector with one field set to something it must not be.
func TestParseSlotRefuses(t *testing.T) {
	v := readVectors(t)
	b64 := func(n int) string { return strings.Repeat("AAAA", n/3) + []string{"", "AA==", "AAA="}[n%3] }
	for _, c := range []struct {
		name, path string
		value      any // nil removes the field
		want       error
	}{
		{"no id", "id", nil, ErrDamagedSlot},
		{"short id", "id", "0101", ErrDamagedSlot},
		{"upper-case id", "id", "ABABABABABABABAB", ErrDamagedSlot},
		{"id not hex", "id", "g101010101010101", ErrDamagedSlot},
		{"id a number", "id", 1, ErrDamagedSlot},
		{"no type", "type", nil, ErrUnknownType},
		{"unknown type", "type", "tpm2", ErrUnknownType},
		{"type a list", "type", []string{"fido2"}, ErrDamagedSlot},
		{"long label", "label", strings.Repeat("x", MaxLabel+1), ErrDamagedSlot},
		{"terminal escape in label", "label", "\x1b[2J", ErrDamagedSlot},
		{"line break in label", "label", "a\nb", ErrDamagedSlot},
		{"right-to-left override in label", "label", "a\u202eb", ErrDamagedSlot},
		{"created in no form", "created", "yesterday", ErrDamagedSlot},
		{"created before 1970", "created", "1969-12-31T23:59:59Z", ErrDamagedSlot},
		{"created with a fraction", "created", "2026-11-23T14:05:09.5Z", ErrDamagedSlot},
		{"short salt", "salt", b64(31), ErrDamagedSlot},
		{"long salt", "salt", b64(33), ErrDamagedSlot},
		{"no salt", "salt", nil, ErrDamagedSlot},
		{"salt not base64", "salt", "!", ErrDamagedSlot},
		{"short commitment", "commitment", b64(31), ErrDamagedSlot},
		{"no commitment", "commitment", nil, ErrDamagedSlot},
		{"long wrapped key", "wrapped", b64(49), ErrDamagedSlot},
		{"no wrapped key", "wrapped", nil, ErrDamagedSlot},
		{"no credential part", "fido2", nil, ErrDamagedSlot},
		{"no argon2 part", "argon2", nil, ErrDamagedSlot},
		{"empty credential id", "fido2.credential", "", ErrDamagedSlot},
		{"long credential id", "fido2.credential", b64(MaxCredential + 1), ErrDamagedSlot},
		{"short hmac-secret salt", "fido2.salt", b64(16), ErrDamagedSlot},
		{"no relying party", "fido2.rp", nil, ErrDamagedSlot},
		{"long relying party", "fido2.rp", strings.Repeat("x", MaxRPID+1), ErrDamagedSlot},
		{"relying party with a space", "fido2.rp", "b k", ErrDamagedSlot},
		{"unknown algorithm", "fido2.algorithm", "rs1", ErrDamagedSlot},
		{"policy not a boolean", "fido2.pin", "yes", ErrDamagedSlot},
		{"aaguid without hyphens", "fido2.aaguid", strings.Repeat("0", 36), ErrDamagedSlot},
		{"upper-case aaguid", "fido2.aaguid", "2FC0579F-8113-47EA-B116-BB5A8DB9202A", ErrDamagedSlot},
		{"no passes", "argon2.time", 0, ErrParams},
		{"too many passes", "argon2.time", MaxArgon2Time + 1, ErrParams},
		{"negative passes", "argon2.time", -1, ErrDamagedSlot},
		{"too little memory", "argon2.memory_kib", 7, ErrParams},
		{"too much memory", "argon2.memory_kib", MaxArgon2MemoryKiB + 1, ErrParams},
		{"memory over 32 bits", "argon2.memory_kib", 1 << 40, ErrDamagedSlot},
		{"no threads", "argon2.threads", 0, ErrParams},
		{"too many threads", "argon2.threads", MaxArgon2Threads + 1, ErrParams},
		{"short argon2 salt", "argon2.salt", b64(15), ErrParams},
		{"long argon2 salt", "argon2.salt", b64(65), ErrParams},
		{"over the size of a slot", "future", strings.Repeat("x", MaxSlotSize), ErrDamagedSlot},
	} {
		raw := set(t, v.Slots[3], c.path, c.value) // fido2+passphrase: has every field
		if _, err := ParseSlot(raw); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
	for _, raw := range []string{"", "null", "[]", "1", `"x"`, "{", "{}{}", `{"type":"recovery"`} {
		if _, err := ParseSlot([]byte(raw)); !errors.Is(err, ErrDamagedSlot) && !errors.Is(err, ErrUnknownType) {
			t.Errorf("%q: got %v, want %v or %v", raw, err, ErrDamagedSlot, ErrUnknownType)
		}
	}
	// Parts that don't belong to the type.
	for _, c := range []struct {
		slot  int
		field string
	}{{0, "argon2"}, {1, "fido2"}, {2, "fido2"}, {2, "argon2"}} {
		var full map[string]any
		if err := json.Unmarshal(v.Slots[3], &full); err != nil {
			t.Fatal(err)
		}
		if _, err := ParseSlot(set(t, v.Slots[c.slot], c.field, full[c.field])); !errors.Is(err, ErrDamagedSlot) {
			t.Errorf("%s in slot %d: got %v, want %v", c.field, c.slot, err, ErrDamagedSlot)
		}
	}
}

// set changes one field, named by its path, of a JSON object.
func set(t testing.TB, raw []byte, path string, value any) json.RawMessage {
	t.Helper()
	var object map[string]any
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	at := object
	head, field, nested := strings.Cut(path, ".")
	if nested {
		at = object[head].(map[string]any)
	} else {
		field = head
	}
	if at[field] = value; value == nil {
		delete(at, field)
	}
	out, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Another spelling of the same moment isn't an edit.
func TestCreatedInAnotherZone(t *testing.T) {
	v := readVectors(t)
	s, err := ParseSlot(set(t, v.Slots[2], "created", "2026-11-23T15:05:09+01:00"))
	if err != nil {
		t.Fatal(err)
	}
	k, err := s.Open(v.Repository, v.secret(t))
	if err != nil {
		t.Error(err)
	}
	k.Destroy()
}

func TestSecretRedacted(t *testing.T) {
	v := readVectors(t)
	s := v.secret(t)
	leak := []string{fmt.Sprintf("%x", []byte(v.Token)), strings.Trim(fmt.Sprint([]byte(v.Token)), "[]"), string(v.Token)}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("m", "secret", s)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("m", "secret", s)
	asJSON, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	outs := []string{logged.String(), string(asJSON)}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		outs = append(outs, fmt.Sprintf(verb, s), fmt.Sprintf(verb, &s))
	}
	for _, out := range outs {
		if !strings.Contains(out, "[redacted]") {
			t.Errorf("got %s, want [redacted] in it", out)
		}
		for _, l := range leak {
			if strings.Contains(out, l) {
				t.Errorf("shows a secret: %s", out)
			}
		}
	}
	s.Destroy()
	s.Destroy()
	Secret{}.Destroy()
}

func TestCalibrate(t *testing.T) {
	for _, c := range []struct {
		budget     float64 // KiB × passes
		max        uint32
		wantTime   uint32
		wantMemory uint32
	}{
		{0, 1 << 20, 3, 64 << 10},                    // slow machine: the floor
		{3 << 20, 2 << 20, 3, 1 << 20},               // memory first
		{30 << 20, 1 << 20, 30, 1 << 20},             // then time
		{1 << 50, 1 << 20, MaxArgon2Time, 1 << 20},   // caps
		{1 << 50, 1<<32 - 1, MaxArgon2Time, 4 << 20}, //
		{1 << 20, 32 << 10, 32, 32 << 10},            // less memory than the floor
		{3 * 64 << 10, 1 << 20, 3, 64 << 10},         // exactly the floor
	} {
		if a := choose(c.budget, c.max); a.Time != c.wantTime || a.MemoryKiB != c.wantMemory {
			t.Errorf("budget %v, at most %d KiB: got %d × %d KiB, want %d × %d", c.budget, c.max, a.Time, a.MemoryKiB, c.wantTime, c.wantMemory)
		}
	}
	a, b := Calibrate(time.Millisecond, 1024), Calibrate(time.Millisecond, 0)
	for _, x := range []Argon2{a, b} {
		if err := x.check(); err != nil {
			t.Errorf("calibrated parameters: %v", err)
		}
	}
	if string(a.Salt) == string(b.Salt) {
		t.Error("two calibrations share a salt")
	}
}

func TestRunArgon2Refuses(t *testing.T) {
	good := Argon2{1, 8, 1, make([]byte, 16)}
	huge := good
	huge.MemoryKiB = MaxArgon2MemoryKiB + 1
	if _, err := RunArgon2(t.Context(), []byte("x"), huge); !errors.Is(err, ErrParams) {
		t.Errorf("over the cap: got %v, want %v", err, ErrParams)
	}
	if _, err := RunArgon2(t.Context(), nil, good); err == nil {
		t.Error("took an empty passphrase")
	}
}

func FuzzParseSlot(f *testing.F) {
	v := readVectors(f)
	for _, raw := range v.Slots {
		f.Add([]byte(raw))
	}
	f.Add([]byte(`{"type":"tpm2","id":1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, err := ParseSlot(raw)
		if err != nil {
			return
		}
		if s.Argon2 != nil && s.Argon2.check() != nil || s.FIDO2 != nil && len(s.FIDO2.CredentialID) > MaxCredential {
			t.Error("parsed out of bounds")
		}
		out, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := ParseSlot(out); err != nil || back.ID != s.ID || string(back.header(v.Repository)) != string(s.header(v.Repository)) {
			t.Errorf("through JSON: got %+v, %v, want %+v", back, err, s)
		}
	})
}

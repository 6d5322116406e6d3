package keyring

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// later is a slot of a version to come, with odd spacing that must stay.
const later = `{ "id":"ffffffffffffffff",  "type":"tpm2","label":"laptop", "pcrs":[ 7, 14 ] }`

func testRing(t testing.TB, raw ...json.RawMessage) Ring {
	t.Helper()
	r, err := Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRingKeepsWhatItDoesNotKnow(t *testing.T) {
	v := readVectors(t)
	known := set(t, v.Slots[2], "future", map[string]any{"deep": []int{1, 2}}) // unknown field
	r := testRing(t, json.RawMessage(later), v.Slots[0], known)
	if diff := cmp.Diff([]json.RawMessage{json.RawMessage(later), v.Slots[0], known}, r.Marshal()); diff != "" {
		t.Errorf("untouched ring (-want +got):\n%s", diff)
	}
	added, err := r.Add(v.slot(t, TypePassphrase))
	if err != nil {
		t.Fatal(err)
	}
	replaced, err := added.Replace("0101010101010101", v.slot(t, TypeFIDO2Passphrase))
	if err != nil {
		t.Fatal(err)
	}
	removed, err := replaced.Remove("0202020202020202")
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range map[int]string{0: later, 2: string(known)} {
		if got := string(removed.Marshal()[i]); got != want {
			t.Errorf("slot %d became %s, want %s", i, got, want)
		}
	}
	if got := removed.Entries()[1].Type; got != TypeFIDO2Passphrase {
		t.Errorf("replaced in place: got %s, want %s", got, TypeFIDO2Passphrase)
	}
	if len(r.Entries()) != 3 || len(removed.Entries()) != 3 || len(added.Entries()) != 4 {
		t.Error("a change touched the ring it came from")
	}

	e, err := r.Find("ffffffffffffffff")
	if err != nil || e.Type != "tpm2" || e.Label != "laptop" || e.Slot != nil || !errors.Is(e.Err, ErrUnknownType) {
		t.Errorf("unknown slot is listed as %+v, %v", e, err)
	}
	without, err := r.Remove("ffffffffffffffff")
	if err != nil || len(without.Marshal()) != 2 {
		t.Errorf("remove an unknown slot: %v", err)
	}
}

func TestRingRefuses(t *testing.T) {
	v := readVectors(t)
	damaged := set(t, v.Slots[1], "salt", "AAAA")
	r := testRing(t, v.Slots[0], json.RawMessage(later), damaged)
	if _, err := r.Remove("0101010101010101"); !errors.Is(err, ErrLastSlot) {
		t.Errorf("remove the last usable slot: got %v, want %v", err, ErrLastSlot)
	}
	if _, err := r.Remove("0202020202020202"); err != nil {
		t.Errorf("remove a damaged slot: %v", err)
	}
	for _, id := range []string{"", "0101", "0909090909090909", "0101010101010101 "} {
		if _, err := r.Remove(id); !errors.Is(err, ErrNoSuchSlot) {
			t.Errorf("remove %q: got %v, want %v", id, err, ErrNoSuchSlot)
		}
		if _, err := r.Find(id); !errors.Is(err, ErrNoSuchSlot) {
			t.Errorf("find %q: got %v, want %v", id, err, ErrNoSuchSlot)
		}
		if _, err := r.Replace(id, v.slot(t, TypeRecovery)); !errors.Is(err, ErrNoSuchSlot) {
			t.Errorf("replace %q: got %v, want %v", id, err, ErrNoSuchSlot)
		}
	}
	if _, err := r.Add(v.slot(t, TypeFIDO2)); err == nil {
		t.Error("added a slot twice")
	}
	if _, err := r.Add(Slot{Type: TypeRecovery}); !errors.Is(err, ErrDamagedSlot) {
		t.Errorf("add an empty slot: got %v, want %v", err, ErrDamagedSlot)
	}
	if _, err := r.Replace("0101010101010101", v.slot(t, TypeFIDO2)); err != nil {
		t.Errorf("replace a slot by itself: %v", err)
	}
	if _, err := Parse(make([]json.RawMessage, MaxSlots+1)); err == nil {
		t.Error("took too many slots")
	}
}

// One bad slot doesn't lock the others out.
func TestRingWithBadSlots(t *testing.T) {
	v := readVectors(t)
	r := testRing(t, json.RawMessage(`7`), json.RawMessage(`{"id":7,"type":"x","label":"\u001b"}`), json.RawMessage(``),
		v.Slots[2], v.Slots[2], bytes.Repeat([]byte{' '}, MaxSlotSize+1))
	if got := len(r.Slots()); got != 1 {
		t.Fatalf("got %d usable slots, want 1", got)
	}
	for i, e := range r.Entries() {
		if (e.Err == nil) != (i == 3) || (e.Slot != nil) != (i == 3) {
			t.Errorf("slot %d: %+v", i, e)
		}
	}
	if e := r.Entries()[1]; e.Type != "x" || e.ID != "" || e.Label != "" {
		t.Errorf("got %+v, want only the type", e)
	}
	if !errors.Is(r.Entries()[4].Err, ErrDamagedSlot) {
		t.Errorf("repeated id: got %v, want %v", r.Entries()[4].Err, ErrDamagedSlot)
	}
}

func FuzzRing(f *testing.F) {
	v := readVectors(f)
	whole, err := json.Marshal(v.Slots)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("[" + later + ",7,null]"))
	f.Fuzz(func(t *testing.T, config []byte) {
		var raw []json.RawMessage
		if json.Unmarshal(config, &raw) != nil {
			return
		}
		r, err := Parse(raw)
		if err != nil {
			return
		}
		if got := r.Marshal(); !slices.EqualFunc(got, raw, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
			t.Errorf("ring changed: got %s, want %s", got, raw)
		}
		for _, e := range r.Entries() {
			if !isLabel(e.ID) || !isLabel(e.Label) || (e.Slot == nil) == (e.Err == nil) {
				t.Errorf("entry %+v", e)
			}
			if rest, err := r.Remove(e.ID); err == nil && (len(rest.Entries()) != len(raw)-1 || len(rest.Slots()) == 0) {
				t.Errorf("removing %q left %d of %d slots", e.ID, len(rest.Entries()), len(raw))
			}
		}
	})
}

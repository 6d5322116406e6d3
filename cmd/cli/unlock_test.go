package cli

import (
	"encoding/json"
	"testing"

	"bkfs/archive"
	"bkfs/archive/seal"
	"bkfs/archive/store/local"
	"bkfs/keyring"
)

// A slot that the authentic config doesn't have any more opens nothing.
func TestVerifyWith(t *testing.T) {
	ctx := t.Context()
	st, err := local.Create(t.TempDir() + "/repo")
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	id := seal.NewRepositoryID()
	var raw []json.RawMessage
	var ids []string
	for range 2 {
		recovery, err := keyring.NewRecovery()
		if err != nil {
			t.Fatal(err)
		}
		slot, err := keyring.NewSlot(id, key, keyring.TypeRecovery, keyring.Secret{Recovery: recovery}, keyring.Meta{})
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(slot)
		if err != nil {
			t.Fatal(err)
		}
		raw, ids = append(raw, b), append(ids, slot.ID.String())
	}
	if _, err := archive.Create(ctx, st, key, id, raw); err != nil {
		t.Fatal(err)
	}
	if _, err := archive.UpdateSlots(ctx, t.TempDir(), st, key, func([]json.RawMessage) ([]json.RawMessage, error) { return raw[1:], nil }); err != nil {
		t.Fatal(err)
	}
	config, err := archive.ReadConfig(ctx, st)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := verifyWith(config, key, ids[1]); err != nil {
		t.Errorf("the slot that stayed: %v", err)
	}
	if _, err := verifyWith(config, key, ids[0]); err == nil || describe(err).Code != exitDamaged {
		t.Errorf("the slot that was removed: got %v, want exit code %d", err, exitDamaged)
	}
}

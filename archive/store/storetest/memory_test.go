package storetest

import (
	"errors"
	"testing"

	"bkfs/archive/store"
)

func TestMemory(t *testing.T) {
	Run(t, func(*testing.T) store.Store { return new(Memory) })
}

func TestMemoryFault(t *testing.T) {
	m := &Memory{Fault: func(operation, name string) error {
		if operation == "put" && name == "b" {
			return store.ErrQuota
		}
		return nil
	}}
	put(t, m, "a", nil)
	if err := m.Put(t.Context(), "b", nil); !errors.Is(err, store.ErrQuota) {
		t.Errorf("Put = %v, want ErrQuota", err)
	}
	if got := list(t, m, "", ""); len(got) != 1 {
		t.Errorf("List = %q, want a alone", got)
	}
}

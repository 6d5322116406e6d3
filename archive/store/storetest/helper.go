package storetest

import (
	"errors"
	"testing"

	"bkfs/archive/store"
)

func put(t *testing.T, s store.Store, name string, data []byte) {
	t.Helper()
	if err := s.Put(t.Context(), name, data); err != nil {
		t.Fatalf("Put(%s): %v", name, err)
	}
}

func get(t *testing.T, s store.Store, name string, off, n int) []byte {
	t.Helper()
	p := make([]byte, n)
	if err := s.Get(t.Context(), name, int64(off), p); err != nil {
		t.Fatalf("Get(%s, %d, %d bytes): %v", name, off, n, err)
	}
	return p
}

func list(t *testing.T, s store.Store, prefix, after string) []string {
	t.Helper()
	var names []string
	err := s.List(t.Context(), prefix, after, func(i store.Info) error {
		names = append(names, i.Name)
		return nil
	})
	if err != nil {
		t.Fatalf("List(%q, after %q): %v", prefix, after, err)
	}
	return names
}

func wantKind(t *testing.T, err, kind error) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Errorf("got error %v, want %v", err, kind)
	}
}

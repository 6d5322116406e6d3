//go:build !cgo

package hardware

import (
	"errors"
	"testing"

	"bkfs/keyring"
)

// TestUnsupported has no helper that could run: the program says what it lacks without trying.
func TestUnsupported(t *testing.T) {
	f := keyring.FIDO2{CredentialID: []byte{1}, RPID: keyring.RPID}
	tokens := newTokens(t, &voice{}, Options{Exec: []string{"/nonexistent"}}, "auto")
	if _, err := tokens.Find(t.Context(), []keyring.FIDO2{f}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Find: got %v, want ErrUnsupported", err)
	}
	if _, err := take(t.Context(), tokens, keyring.Match{Device: "/dev/hidraw0"}, f); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Secret: got %v, want ErrUnsupported", err)
	}
	if _, _, err := tokens.Enroll(t.Context(), enrollRequest()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("Enroll: got %v, want ErrUnsupported", err)
	}
	if _, err := tokens.List(t.Context()); !errors.Is(err, ErrUnsupported) {
		t.Errorf("List: got %v, want ErrUnsupported", err)
	}
}

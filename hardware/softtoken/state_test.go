package softtoken

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

func TestStateFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.json")
	if err := Create(path, Options{PIN: "1234"}); err != nil {
		t.Fatal(err)
	}
	if err := Create(path, Options{}); !errors.Is(err, os.ErrExist) {
		t.Errorf("create again: got %v, want exist", err)
	}
	if err := Create(path+"2", Options{PIN: "1"}); !errors.Is(err, errPINPolicy) {
		t.Errorf("a short PIN: got %v", err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v, want 0600", info.Mode(), err)
	}
	b, err := os.ReadFile(path)
	if err != nil || !strings.Contains(string(b), "protects nothing") || strings.Contains(string(b), "1234\"") {
		t.Errorf("the file does not say what it is worth, or holds the PIN: %s", b)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := Press(ctx, path); !errors.Is(err, ErrIdle) {
		t.Errorf("press an idle token: got %v, want ErrIdle", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(path); !errors.Is(err, ErrPublic) {
		t.Errorf("a public file: got %v, want ErrPublic", err)
	}
}

func TestStateRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"empty":        "",
		"not JSON":     "x",
		"newer format": `{"format":2}`,
		"short master": `{"format":1,"aaguid":"00000000000000000000000000000000","master_key":"00"}`,
		"odd hex":      `{"format":1,"master_key":"0"}`,
		"too large":    strings.Repeat(" ", maxStateSize+1),
	} {
		path := filepath.Join(t.TempDir(), "token.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Start(path); !errors.Is(err, ErrState) {
			t.Errorf("%s: got %v, want ErrState", name, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != text {
			t.Errorf("%s: the file was changed", name)
		}
	}
}

// TestUpdatesAtOnce loses no update, though each replaces the file.
func TestUpdatesAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.json")
	if err := Create(path, Options{}); err != nil {
		t.Fatal(err)
	}
	const workers, each = 4, 25
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				if err := update(path, func(s *state) error { s.Presses++; return nil }); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if s, err := load(path); err != nil || s.Presses != workers*each {
		t.Errorf("got %+v, %v, want %d presses", s, err, workers*each)
	}
	f, err := lockState(path, unix.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
}

func FuzzState(f *testing.F) {
	f.Add([]byte(`{"format":1,"aaguid":"00000000000000000000000000000000","master_key":"` + strings.Repeat("00", 32) + `"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		if _, err := decodeState(s.encode()); err != nil {
			t.Fatalf("%s: %v", b, err)
		}
	})
}

package softtoken

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// Warning is shown to whoever uses a software token, and stands in its file.
const Warning = "a software token protects nothing: whoever can read its file has its secrets; it is for trying out and for tests"

// Product is the name under which a software token is listed.
const Product = "bkfs software token"

const (
	format       = 1
	maxStateSize = 64 << 10
	maxRetries   = 8
	maxResident  = 16
	maxUVRetries = 5
)

// Errors a caller may branch on.
var (
	ErrState  = errors.New("not a software token's state file")
	ErrPublic = errors.New("the software token's file can be read by others: chmod 600 it")
	ErrIdle   = errors.New("the software token is not waiting for a touch")
)

// Behaviour is how a token answers; the zero value is a CTAP 2.1 token that is touched at once.
type Behaviour struct {
	Button    bool          `json:"button,omitempty"`        // wait for Press instead of touching itself
	Touch     time.Duration `json:"touch_after,omitempty"`   // how long the automatic touch takes (nanoseconds)
	Timeout   time.Duration `json:"touch_timeout,omitempty"` // how long it waits for a touch; 0 is 30 s
	Protocols []uint        `json:"pin_protocols,omitempty"` // PIN/UV auth protocols in order of preference; empty is 2, 1
	CTAP20    bool          `json:"ctap20,omitempty"`        // only what CTAP 2.0 has
	UV        bool          `json:"uv,omitempty"`            // has a built-in user verification, which the touch satisfies
	AlwaysUV  bool          `json:"always_uv,omitempty"`
	NoSecret  bool          `json:"no_hmac_secret,omitempty"` // lacks the hmac-secret extension
	Quirks    Quirks        `json:"quirks,omitzero"`
}

// Seen counts what a token was asked, over its whole life.
type Seen struct {
	Frames         uint64 `json:"frames"`
	GetInfo        uint64 `json:"get_info"`
	MakeCredential uint64 `json:"make_credential"`
	Assertion      uint64 `json:"assertion"`        // with user presence
	Silent         uint64 `json:"silent_assertion"` // without
	PIN            uint64 `json:"pin_attempts"`
	Blinks         uint64 `json:"blinks"` // times it asked for a touch
}

type pinState struct {
	Hash    bytesHex `json:"hash,omitempty"` // left 16 bytes of SHA-256 of the PIN; empty when none is set
	Retries int      `json:"retries"`
}

// resident is a credential that the token finds without being given its id (discoverable, clause 6.8).
type resident struct {
	ID          bytesHex `json:"id"`
	RPID        string   `json:"rp_id"`
	UserID      bytesHex `json:"user_id"`
	Name        string   `json:"name,omitempty"`
	DisplayName string   `json:"display_name,omitempty"`
}

type state struct {
	Warning string   `json:"warning"`
	Format  int      `json:"format"`
	AAGUID  bytesHex `json:"aaguid"`
	Master  bytesHex `json:"master_key"`
	PIN     pinState `json:"pin"`
	// UVFailures are built-in user verifications that failed in a row.
	UVFailures int        `json:"uv_failures,omitempty"`
	SignCount  uint32     `json:"sign_count"`
	Resident   []resident `json:"resident,omitempty"` // oldest first
	Blinking   bool       `json:"blinking"`
	Presses    uint64     `json:"presses"`
	Seen       Seen       `json:"seen"`
	Behaviour  Behaviour  `json:"behaviour"`
}

type bytesHex []byte

func (b bytesHex) MarshalText() ([]byte, error) { return []byte(hex.EncodeToString(b)), nil }

func (b *bytesHex) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

// Options of Create.
type Options struct {
	PIN       string // set from the start when not empty
	Behaviour Behaviour
}

// aaguid identifies this model; it was drawn at random once.
func aaguid() bytesHex {
	return bytesHex{0x62, 0x6b, 0x66, 0x73, 0x9d, 0x1c, 0x4e, 0x0b, 0xa3, 0x57, 0x51, 0xf0, 0x0d, 0x7e, 0x8c, 0x11}
}

// Create makes a new token in the file path, which must not exist.
func Create(path string, o Options) error {
	s := &state{
		Warning: Warning, Format: format, AAGUID: aaguid(), Master: make([]byte, 32),
		PIN: pinState{Retries: maxRetries}, Behaviour: o.Behaviour,
	}
	if _, err := rand.Read(s.Master); err != nil {
		return fmt.Errorf("create software token: %w", err)
	}
	if o.PIN != "" {
		hash, err := hashPIN([]byte(o.PIN))
		if err != nil {
			return fmt.Errorf("create software token: %w", err)
		}
		s.PIN.Hash = hash
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("create software token: %w", err)
	}
	_, err = f.Write(s.encode())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("create software token %s: %w", path, err)
	}
	return nil
}

func (s *state) encode() []byte {
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // only plain fields: cannot fail
	}
	return append(b, '\n')
}

func decodeState(b []byte) (*state, error) {
	var s state
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	switch {
	case s.Format != format:
		return nil, fmt.Errorf("%w: format %d, want %d", ErrState, s.Format, format)
	case len(s.Master) != 32 || len(s.AAGUID) != 16:
		return nil, fmt.Errorf("%w: a key of the wrong length", ErrState)
	case len(s.PIN.Hash) != 0 && len(s.PIN.Hash) != 16, s.PIN.Retries < 0, s.PIN.Retries > maxRetries:
		return nil, fmt.Errorf("%w: a PIN that cannot be", ErrState)
	case s.UVFailures < 0, len(s.Resident) > maxResident, !s.Behaviour.Quirks.valid():
		return nil, fmt.Errorf("%w: a counter, a list or a quirk that cannot be", ErrState)
	}
	for _, p := range s.Behaviour.Protocols {
		if p != 1 && p != 2 {
			return nil, fmt.Errorf("%w: PIN protocol %d", ErrState, p)
		}
	}
	return &s, nil
}

// lockState opens path and takes its lock. The file is replaced by rename, so a lock on a file that is no longer
// the one at path is given up and taken again.
func lockState(path string, how int) (*os.File, error) {
	for {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Flock(int(f.Fd()), how)
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		held, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, err
		}
		if now, err := os.Stat(path); err == nil && os.SameFile(held, now) {
			if held.Mode().Perm()&0o077 != 0 {
				f.Close()
				return nil, ErrPublic
			}
			return f, nil
		} else if err != nil && !errors.Is(err, iofs.ErrNotExist) {
			f.Close()
			return nil, err
		}
		f.Close()
	}
}

func readState(f *os.File) (*state, error) {
	b, err := io.ReadAll(io.LimitReader(f, maxStateSize+1))
	if err != nil {
		return nil, err
	}
	if len(b) > maxStateSize {
		return nil, fmt.Errorf("%w: larger than %d bytes", ErrState, maxStateSize)
	}
	return decodeState(b)
}

func load(path string) (*state, error) {
	f, err := lockState(path, unix.LOCK_SH)
	if err != nil {
		return nil, fmt.Errorf("software token %s: %w", path, err)
	}
	defer f.Close()
	s, err := readState(f)
	if err != nil {
		return nil, fmt.Errorf("software token %s: %w", path, err)
	}
	return s, nil
}

// update runs fn on the newest state and stores the outcome, also when fn fails: a wrong PIN must be counted.
func update(path string, fn func(*state) error) error {
	f, err := lockState(path, unix.LOCK_EX)
	if err != nil {
		return fmt.Errorf("software token %s: %w", path, err)
	}
	defer f.Close()
	s, err := readState(f)
	if err != nil {
		return fmt.Errorf("software token %s: %w", path, err)
	}
	result := fn(s)
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+".new")
	err = os.WriteFile(temp, s.encode(), 0o600)
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return fmt.Errorf("software token %s: %w", path, err)
	}
	return result
}

package seal

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
)

// KeySize is the length of every secret here, in bytes.
const KeySize = 32

const redacted = "[redacted]"

var (
	errKeySize   = errors.New("a key has 32 bytes")
	errDestroyed = errors.New("the key was destroyed")
)

// Key is a 32-byte secret outside the Go heap: locked against swapping where
// the system allows it, left out of core dumps, printed as "[redacted]" in
// every way. The zero value holds nothing. Destroy is the only way to free it;
// there is no finalizer, so a view from Bytes never dangles unexpectedly.
type Key struct {
	mem *memory
}

// NewKey returns a random key.
func NewKey() (*Key, error) {
	mem, err := allocate(KeySize)
	if err != nil {
		return nil, fmt.Errorf("new key: %w", err)
	}
	rand.Read(mem.bytes()) // crashes the program rather than return an error
	return &Key{mem}, nil
}

// KeyFrom copies the 32 bytes of b into a key and wipes b, also when it fails.
func KeyFrom(b []byte) (*Key, error) {
	defer Wipe(b)
	if len(b) != KeySize {
		return nil, fmt.Errorf("key from %d bytes: %w", len(b), errKeySize)
	}
	mem, err := allocate(KeySize)
	if err != nil {
		return nil, fmt.Errorf("key from bytes: %w", err)
	}
	copy(mem.bytes(), b)
	return &Key{mem}, nil
}

// Bytes is a view of the secret, valid until Destroy and nil afterwards.
// Callers never retain it.
func (k *Key) Bytes() []byte {
	if k == nil {
		return nil
	}
	return k.mem.bytes()
}

// Derive returns HKDF-SHA256 (RFC 5869) of the key.
func (k *Key) Derive(salt []byte, info string) (*Key, error) {
	secret := k.Bytes()
	if len(secret) != KeySize {
		return nil, fmt.Errorf("derive key: %w", errDestroyed)
	}
	out, err := hkdf.Key(sha256.New, secret, salt, info, KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive key: %w", err)
	}
	return KeyFrom(out)
}

// Equal compares in constant time. Destroyed and nil keys equal nothing.
func (k *Key) Equal(other *Key) bool {
	a, b := k.Bytes(), other.Bytes()
	return len(a) == KeySize && subtle.ConstantTimeCompare(a, b) == 1
}

// Destroy wipes the secret and gives its memory back. It may be called again,
// and on nil; it must not run beside a use of the key.
func (k *Key) Destroy() {
	if k == nil {
		return
	}
	k.mem.free()
	k.mem = nil
}

// Value receivers, so that a dereferenced key is redacted too.

func (Key) String() string               { return redacted }
func (Key) GoString() string             { return redacted }
func (Key) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (Key) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// Wipe overwrites b with zeros.
func Wipe(b []byte) {
	clear(b)
	runtime.KeepAlive(b)
}

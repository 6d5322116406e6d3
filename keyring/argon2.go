package keyring

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"

	"golang.org/x/crypto/argon2"

	"bkfs/archive/seal"
)

// Caps of what a slot may ask for. They are checked before argon2 runs, so that
// an edited config can't exhaust the machine.
const (
	MaxArgon2Time      = 64
	MaxArgon2MemoryKiB = 4 << 20
	MaxArgon2Threads   = 64

	minArgon2Salt = 16 // RFC 9106, 3.1
	maxArgon2Salt = 64
)

// Argon2 are the parameters of argon2id (RFC 9106), version 0x13.
type Argon2 struct {
	Time      uint32 `json:"time"`
	MemoryKiB uint32 `json:"memory_kib"`
	Threads   uint8  `json:"threads"`
	Salt      []byte `json:"salt"`
}

// KDF turns a passphrase into a slot's secret. RunArgon2 is one; the program
// runs it in a helper process, so that its memory goes back.
type KDF func(ctx context.Context, passphrase []byte, a Argon2) (*seal.Key, error)

func (a Argon2) check() error {
	switch {
	case a.Time < 1 || a.Time > MaxArgon2Time:
		return fmt.Errorf("%w: time %d, want 1 to %d", ErrParams, a.Time, MaxArgon2Time)
	case a.Threads < 1 || a.Threads > MaxArgon2Threads:
		return fmt.Errorf("%w: %d threads, want 1 to %d", ErrParams, a.Threads, MaxArgon2Threads)
	case a.MemoryKiB < 8*uint32(a.Threads) || a.MemoryKiB > MaxArgon2MemoryKiB:
		return fmt.Errorf("%w: %d KiB, want %d to %d", ErrParams, a.MemoryKiB, 8*uint32(a.Threads), MaxArgon2MemoryKiB)
	case len(a.Salt) < minArgon2Salt || len(a.Salt) > maxArgon2Salt:
		return fmt.Errorf("%w: a salt of %d bytes, want %d to %d", ErrParams, len(a.Salt), minArgon2Salt, maxArgon2Salt)
	}
	return nil
}

// RunArgon2 is the KDF in this process. Argon2 itself can't be interrupted, so
// ctx counts only before. The passphrase's bytes are taken as they are.
func RunArgon2(ctx context.Context, passphrase []byte, a Argon2) (*seal.Key, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	if len(passphrase) == 0 {
		return nil, errors.New("the passphrase is empty")
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return seal.KeyFrom(argon2.IDKey(passphrase, a.Salt, a.Time, a.MemoryKiB, a.Threads, seal.KeySize))
}

const (
	// The floor for slow machines is RFC 9106's second recommended option.
	floorTime      = 3
	floorMemoryKiB = 64 << 10
	usualThreads   = 4
)

// Calibrate measures this machine, for about twice target, and returns
// parameters, with a fresh salt, that take about target and at most
// maxMemoryKiB. Memory grows before time, because it is what costs an attacker.
func Calibrate(target time.Duration, maxMemoryKiB uint32) Argon2 {
	threads := uint8(min(usualThreads, runtime.GOMAXPROCS(0)))
	maxMemoryKiB = max(maxMemoryKiB, 8*uint32(threads))
	salt := make([]byte, SaltSize)
	rand.Read(salt)

	a := Argon2{Time: 1, MemoryKiB: min(floorMemoryKiB, maxMemoryKiB)}
	var rate float64 // KiB × passes a second: the best seen, as other programs only slow it
	for round := range 3 {
		start := time.Now()
		argon2.IDKey([]byte("calibrate"), salt, a.Time, a.MemoryKiB, threads, seal.KeySize)
		took := max(time.Since(start), time.Microsecond)
		now := float64(a.Time) * float64(a.MemoryKiB) / took.Seconds()
		if round < 2 || now > rate { // the first round's memory is too little to tell
			rate = now
		}
		a = choose(rate*target.Seconds(), maxMemoryKiB)
	}
	a.Threads, a.Salt = threads, salt
	return a
}

// choose splits a budget of KiB × passes.
func choose(budget float64, maxMemoryKiB uint32) Argon2 {
	limit := min(maxMemoryKiB, MaxArgon2MemoryKiB)
	memory := uint32(min(float64(limit), max(budget/floorTime, float64(min(floorMemoryKiB, limit)))))
	passes := budget / float64(max(memory, 1))
	return Argon2{Time: uint32(min(max(passes, floorTime), MaxArgon2Time)), MemoryKiB: memory}
}

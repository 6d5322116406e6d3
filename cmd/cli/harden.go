package cli

import (
	"fmt"
	"math"

	"golang.org/x/sys/unix"
)

// harden keeps what this process knows inside it: no core dump, no debugger or
// /proc reader of the same user, and no inherited descriptor for its children.
// Every bkfs process does this before anything else.
func harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("turn core dumps off: %w", err)
	}
	// Best effort: Linux before 5.11 can't, and then children inherit what a
	// shell left open. Secrets from a descriptor are marked on reading too.
	_ = unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC)
	return nil
}

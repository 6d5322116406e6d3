package cli

import (
	"os"

	"golang.org/x/sys/unix"
)

// dup returns a descriptor of its own, so that closing f doesn't close it.
func dup(f *os.File) (int, error) {
	defer f.Close()
	return unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 3)
}

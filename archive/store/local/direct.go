package local

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// directFrom is the length from which an object is written past the page
	// cache: nobody reads it soon, and filling the cache took a third of the
	// time of storing incompressible data.
	directFrom = 1 << 20
	// directAlign is what the kernel wants of memory, offsets and lengths; the
	// block size of every disk divides it.
	directAlign = 4 << 10
)

// writeAll writes data to a new file, for the most part with O_DIRECT where
// the file system can.
func writeAll(f *os.File, data []byte) error {
	n, err := writeDirect(f, data)
	if err == nil && n < len(data) {
		_, err = f.WriteAt(data[n:], int64(n))
	}
	return err
}

// writeDirect writes as many whole blocks as it can and tells how many bytes
// these were; what the file system doesn't do this way is left.
func writeDirect(f *os.File, data []byte) (n int, err error) {
	bulk := len(data) &^ (directAlign - 1)
	if len(data) < directFrom || uintptr(unsafe.Pointer(unsafe.SliceData(data)))%directAlign != 0 {
		return 0, nil
	}
	fd := f.Fd()
	flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0)
	if err != nil {
		return 0, os.NewSyscallError("fcntl", err)
	}
	// A file system without direct writes says EINVAL to this, or to the write.
	_, err = unix.FcntlInt(fd, unix.F_SETFL, flags|unix.O_DIRECT)
	if err == nil {
		n, err = f.WriteAt(data[:bulk], 0)
		_, reset := unix.FcntlInt(fd, unix.F_SETFL, flags)
		err = errors.Join(err, os.NewSyscallError("fcntl", reset))
	}
	if errors.Is(err, unix.EINVAL) {
		return 0, nil
	}
	return n, err
}

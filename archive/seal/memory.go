package seal

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is an anonymous mapping of its own for secrets. A page each: the few
// dozen secrets of a process fit in the smallest common RLIMIT_MEMLOCK.
//
// It is held by an unsafe.Pointer because package fmt and its like follow any
// other pointer in some case (%s of a struct with an unexported *T prints *T).
type memory struct {
	start unsafe.Pointer // nil once it was freed
	size  uintptr
}

func allocate(n int) (*memory, error) {
	start, err := unix.MmapPtr(-1, 0, nil, uintptr(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("map %d bytes for a secret: %w", n, err)
	}
	m := &memory{start, uintptr(n)}
	// Best effort: a process without the right to lock memory still works.
	_ = unix.Mlock(m.bytes())
	_ = unix.Madvise(m.bytes(), unix.MADV_DONTDUMP)
	return m, nil
}

// bytes is nil once the memory was freed.
func (m *memory) bytes() []byte {
	if m == nil || m.start == nil {
		return nil
	}
	return unsafe.Slice((*byte)(m.start), m.size)
}

func (m *memory) free() {
	if m == nil || m.start == nil {
		return
	}
	Wipe(m.bytes())
	_ = unix.MunmapPtr(m.start, m.size) // unlocks; it can't fail for a whole mapping
	m.start = nil
}

//go:build !cgo || !linux

package hardware

// library has nothing to open: libfido2 isn't there at all, or the program was
// linked with it.
func library() *fault { return nil }

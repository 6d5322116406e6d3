//go:build cgo && linux

package hardware

/*
#cgo CFLAGS: -I/usr/include/fido
#cgo LDFLAGS: -Wl,--as-needed -ldl
const char *bkfs_fido2_open(void);
*/
import "C"

// library opens libfido2, which the program is built for and may still lack.
func library() *fault {
	if why := C.bkfs_fido2_open(); why != nil {
		return &fault{Kind: faultNoLibrary, Text: C.GoString(why)}
	}
	return nil
}

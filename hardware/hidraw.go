package hardware

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

const (
	hidrawClass   = "/sys/class/hidraw"
	usagePageFIDO = 0xf1d0 // clause 11.2.8.1
)

// denied names the FIDO devices below class whose node in dev may not be opened. libfido2 opens a node to learn
// whether it is a token, so enumeration leaves these out without a word; what sysfs tells of them is for everybody.
func denied(class, dev string) error {
	nodes, err := os.ReadDir(class)
	if err != nil {
		return nil //nolint:nilerr // no hidraw devices here, or a container that hides them
	}
	var errs []error
	for _, n := range nodes {
		descriptor, err := os.ReadFile(filepath.Join(class, n.Name(), "device/report_descriptor"))
		if err != nil || usagePage(descriptor) != usagePageFIDO {
			continue
		}
		path := filepath.Join(dev, n.Name())
		if err := unix.Access(path, unix.R_OK|unix.W_OK); errors.Is(err, os.ErrPermission) {
			d := device{path, location{Path: path, Product: hidName(path)}}
			errs = append(errs, fmt.Errorf("token %s: %w", d.label(), ErrPermission))
		}
	}
	return errors.Join(errs...)
}

// usagePage is the first one that a report descriptor names, 0 when there is none (HID 1.11, clause 6.2.2).
func usagePage(descriptor []byte) uint32 {
	const page, long = 0x04, 0xfe // an item's tag and type; the two bits below are its size
	for len(descriptor) > 0 {
		head := descriptor[0]
		if head == long {
			if len(descriptor) < 3 || len(descriptor) < 3+int(descriptor[1]) {
				return 0
			}
			descriptor = descriptor[3+int(descriptor[1]):]
			continue
		}
		size := []int{0, 1, 2, 4}[head&3]
		if len(descriptor) < 1+size {
			return 0
		}
		if head&^3 == page {
			var value [4]byte
			copy(value[:], descriptor[1:1+size])
			return binary.LittleEndian.Uint32(value[:])
		}
		descriptor = descriptor[1+size:]
	}
	return 0
}

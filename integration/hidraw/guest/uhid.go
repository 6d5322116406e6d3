package guest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Events and layouts of linux/uhid.h.
const (
	uhidDestroy        = 1
	uhidOutput         = 6
	uhidGetReport      = 9
	uhidGetReportReply = 10
	uhidCreate2        = 11
	uhidInput2         = 12
	uhidSetReport      = 13
	uhidSetReportReply = 14

	maxReport = 4096     // UHID_DATA_MAX
	maxEvent  = 4 + 4376 // sizeof(struct uhid_event)

	busUSB   = 3 // linux/input.h; libfido2 looks at no other
	vendorID = 0x1209
)

// createRequest is struct uhid_create2_req with the event's type before it.
type createRequest struct {
	Type                              uint32
	Name                              [128]byte
	Phys, Uniq                        [64]byte
	Size, Bus                         uint16
	Vendor, Product, Version, Country uint32
	Descriptor                        [maxReport]byte
}

// reply answers UHID_GET_REPORT and UHID_SET_REPORT.
type reply struct {
	Type, ID  uint32
	Err, Size uint16
}

// Device is a HID device that this process plays through /dev/uhid.
type Device struct {
	Path string // its hidraw node
	uhid *os.File
	done chan error
}

// appearance bounds the wait for a node that the kernel was told to make.
const appearance = 30 * time.Second

// Plug plugs a device in, and returns when its node is there. output is called with every report that the host sends,
// of which the first byte is the report's number.
func Plug(name, unique string, descriptor []byte, output func([]byte) error) (*Device, error) {
	f, err := os.OpenFile("/dev/uhid", os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	c := createRequest{
		Type: uhidCreate2, Size: uint16(len(descriptor)), Bus: busUSB, Vendor: vendorID, Product: 1,
	}
	copy(c.Name[:], name)
	copy(c.Uniq[:], unique)
	copy(c.Descriptor[:], descriptor)
	d := &Device{uhid: f, done: make(chan error, 1)}
	if err := d.send(c); err != nil {
		f.Close()
		return nil, err
	}
	go func() { d.done <- d.serve(output) }()
	if d.Path, err = await(unique); err != nil {
		return nil, errors.Join(err, d.Unplug())
	}
	return d, nil
}

// await finds the node of the device that has this serial number.
func await(unique string) (string, error) {
	for end := time.Now().Add(appearance); ; time.Sleep(5 * time.Millisecond) {
		uevents, err := filepath.Glob("/sys/class/hidraw/*/device/uevent")
		if err != nil {
			return "", err
		}
		for _, u := range uevents {
			text, err := os.ReadFile(u)
			if err != nil || !strings.Contains(string(text), "HID_UNIQ="+unique+"\n") {
				continue // unplugged meanwhile, or another device
			}
			node := "/dev/" + filepath.Base(filepath.Dir(filepath.Dir(u)))
			if _, err := os.Stat(node); err == nil {
				return node, nil
			}
		}
		if time.Now().After(end) {
			return "", fmt.Errorf("plug in %s: no hidraw node after %v", unique, appearance)
		}
	}
}

// serve answers the kernel until the device is unplugged.
func (d *Device) serve(output func([]byte) error) error {
	event := make([]byte, maxEvent)
	for {
		n, err := d.uhid.Read(event)
		if errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read /dev/uhid: %w", err)
		}
		if n < 4 {
			return fmt.Errorf("read /dev/uhid: an event of %d bytes", n)
		}
		switch order := binary.NativeEndian; order.Uint32(event) {
		case uhidOutput:
			size := order.Uint16(event[4+maxReport:])
			err = output(event[4 : 4+min(size, maxReport)])
		case uhidGetReport:
			err = d.send(reply{uhidGetReportReply, order.Uint32(event[4:]), uint16(unix.EIO), 0})
		case uhidSetReport:
			err = d.send(reply{uhidSetReportReply, order.Uint32(event[4:]), uint16(unix.EIO), 0})
		}
		if err != nil && !errors.Is(err, os.ErrClosed) {
			return err
		}
	}
}

// Input sends a report to the host.
func (d *Device) Input(report []byte) error {
	return d.send(struct {
		Type uint32
		Size uint16
		Data [maxReport]byte
	}{uhidInput2, uint16(len(report)), [maxReport]byte(append(report, make([]byte, maxReport-len(report))...))})
}

// Unplug takes the device away: its node is gone when it returns.
func (d *Device) Unplug() error {
	err := d.send(uint32(uhidDestroy))
	d.uhid.Close()
	return errors.Join(err, <-d.done)
}

func (d *Device) send(event any) error {
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, event); err != nil {
		return err
	}
	if _, err := d.uhid.Write(b.Bytes()); err != nil {
		return fmt.Errorf("write to /dev/uhid: %w", err)
	}
	return nil
}

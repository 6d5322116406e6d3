package hardware

import (
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fidoDescriptor begins the report descriptor of a token, keyboardDescriptor that of a keyboard.
const (
	fidoDescriptor     = "06d0f10901a1010920150026ff00750895408102"
	keyboardDescriptor = "05010906a101050719e029e7150025017501950881"
)

func TestUsagePage(t *testing.T) {
	tests := []struct {
		name, descriptor string
		want             uint32
	}{
		{"token", fidoDescriptor, usagePageFIDO},
		{"keyboard", keyboardDescriptor, 1},
		{"usage page in four bytes", "07d0f10000", usagePageFIDO},
		{"usage page after others", "15000901" + fidoDescriptor, usagePageFIDO},
		{"only the first counts", "0501" + fidoDescriptor, 1},
		{"after a long item", "fe02100102" + fidoDescriptor, usagePageFIDO},
		{"empty", "", 0},
		{"empty item", "04", 0},
		{"cut off", "06d0", 0},
		{"long item cut off", "fe0510", 0},
		{"long item without its head", "fe", 0},
		{"bytes of a token inside another item", "0706d0f1090901", 0x09f1d006},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b, err := hex.DecodeString(tt.descriptor)
			if err != nil {
				t.Fatal(err)
			}
			if got := usagePage(b); got != tt.want {
				t.Errorf("got %#x, want %#x", got, tt.want)
			}
		})
	}
}

func FuzzUsagePage(f *testing.F) {
	for _, s := range []string{fidoDescriptor, keyboardDescriptor, "fe02100102"} {
		b, _ := hex.DecodeString(s)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if got := usagePage(b); got != 0 && len(b) < 2 {
			t.Errorf("a usage page %#x from %x", got, b)
		}
	})
}

// What root may open nobody is kept from, so the refusal itself is tested as another user in integration/hidraw.
func TestDenied(t *testing.T) {
	class, dev := t.TempDir(), t.TempDir()
	for name, descriptor := range map[string]string{"hidraw0": keyboardDescriptor, "hidraw1": fidoDescriptor, "hidraw2": fidoDescriptor} {
		b, err := hex.DecodeString(descriptor)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(class, name, "device"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(class, name, "device/report_descriptor"), b, 0o444); err != nil {
			t.Fatal(err)
		}
	}
	if err := denied(class, dev); err != nil {
		t.Errorf("nodes that are not there: %v", err)
	}
	if err := denied(filepath.Join(class, "nothing"), dev); err != nil {
		t.Errorf("no hidraw devices: %v", err)
	}
	if os.Geteuid() == 0 {
		t.Skip("root may open everything")
	}
	for name, mode := range map[string]os.FileMode{"hidraw0": 0, "hidraw1": 0, "hidraw2": 0o600} {
		if err := os.WriteFile(filepath.Join(dev, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	err := denied(class, dev)
	if !errors.Is(err, ErrPermission) || !strings.Contains(err.Error(), "hidraw1") || strings.Contains(err.Error(), "hidraw0") || strings.Contains(err.Error(), "hidraw2") {
		t.Errorf("got %v, want a refusal of hidraw1 alone", err)
	}
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"bkfs/archive"
	"bkfs/archive/store"
	"bkfs/cmd/daemon"
	"bkfs/fs"
	"bkfs/hardware"
	"bkfs/keyring"
)

func TestDescribe(t *testing.T) {
	tests := []struct {
		name string
		err  error
		code int
		hint string // part of it; "-" is none
	}{
		{"anything", errors.New("x"), 1, "-"},
		{"partial", fmt.Errorf("2 of 3: %w", errPartial), 3, "-"},
		{"no repository", fmt.Errorf("/x: %w", archive.ErrNoRepository), 10, "bkfs init"},
		{"locked", fmt.Errorf("open: %w", &archive.LockedError{PID: 7}), 11, "umount"},
		{"wrong secret", fmt.Errorf("open: %w", keyring.ErrWrongSecret), 12, "-"},
		{"no secret", hint(errNoSecret, "set it"), 12, "set it"},
		{"mistyped recovery key", &keyring.RecoveryError{Group: 2, Reason: "is mistyped"}, 12, "-"},
		{"wrong PIN", &hardware.PINError{Retries: 2}, 12, "-"},
		{"no token", say(hardware.ErrNoToken, "none"), 13, "plug in"},
		{"device absent", hardware.ErrAbsent, 13, "plug in"},
		{"built without", hardware.ErrUnsupported, 13, ""},
		{"busy", hardware.ErrBusy, 14, "-"},
		{"timeout", hardware.ErrTimeout, 14, "-"},
		{"one doesn't fit, another is mute", fmt.Errorf("look: %w", &hardware.ProbeError{Devices: []error{hardware.ErrTimeout}, Answered: true}), 14, "-"},
		{"one doesn't fit, another is busy", &hardware.ProbeError{Devices: []error{hardware.ErrBusy}, Answered: true}, 14, "-"},
		{"one doesn't fit, another is absent", &hardware.ProbeError{Devices: []error{hardware.ErrAbsent}, Answered: true}, 13, "plug in"},
		{"one lies, another doesn't fit", errors.Join(keyring.ErrWrongSecret, hardware.ErrNoToken), 12, "-"},
		{"no permission", fmt.Errorf("look: %w", hardware.ErrPermission), 14, "/etc/udev/rules.d/"},
		{"no permission, and more to say", hint(&hardware.ProbeError{Devices: []error{hardware.ErrPermission}}, "the key slots are: a"), 14, "plugdev"},
		{"no permission, what more there is to say", hint(hardware.ErrPermission, "the key slots are: a"), 14, "again; the key slots are: a"},
		{"PIN blocked", hardware.ErrPINBlocked, 14, "-"},
		{"no PIN source", hardware.ErrPINRequired, 14, "-"},
		{"damaged", fmt.Errorf("read: %w", archive.ErrDamaged), 15, "-"},
		{"damaged slot", keyring.ErrDamagedSlot, 15, "-"},
		{"unknown format", archive.ErrFormat, 1, "newer"},
		{"busy", &daemon.BusyError{Mountpoint: "/m", Err: fs.ErrBusy}, 1, "--lazy"},
		{"no space", archive.ErrNoSpace, 16, "room"},
		{"quota", store.ErrQuota, 16, "room"},
		{"interrupted", fmt.Errorf("unlock: %w", context.Canceled), 130, "-"},
		{"interrupted hardware", fmt.Errorf("%w: %w", hardware.ErrInterrupted, context.Canceled), 130, "-"},
		{"from a daemon", fmt.Errorf("x: %w", &daemon.Failure{Code: 16, Message: "full", Hint: "h"}), 16, "h"},
		{"innermost hint", hint(fmt.Errorf("x: %w", hint(errors.New("y"), "inner")), "outer"), 1, "inner"},
		{"joined", errors.Join(errors.New("a"), archive.ErrDamaged), 15, "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := describe(tt.err)
			if f.Code != tt.code {
				t.Errorf("got code %d, want %d", f.Code, tt.code)
			}
			if tt.hint == "-" && f.Hint != "" || tt.hint != "-" && !strings.Contains(f.Hint, tt.hint) {
				t.Errorf("got hint %q, want %q", f.Hint, tt.hint)
			}
			if f.Message == "" || strings.Contains(f.Message, "\n") {
				t.Errorf("got message %q, want one line", f.Message)
			}
		})
	}
}

func TestExitCodesAreDocumented(t *testing.T) {
	help := exitCodeHelp()
	seen := map[int]string{}
	for _, o := range outcomes() {
		if before, ok := seen[o.code]; ok && before != o.meaning {
			t.Errorf("code %d means %q and %q", o.code, before, o.meaning)
		}
		seen[o.code] = o.meaning
		if !strings.Contains(help, fmt.Sprintf("%3d  %s", o.code, o.meaning)) {
			t.Errorf("code %d isn't in the help", o.code)
		}
	}
}

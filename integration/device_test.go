package integration

import (
	"bufio"
	"os"
	"regexp"
	"testing"

	"bkfs/hardware/softtoken"
)

// device matches system calls that look for a token: hidraw nodes, pseudo-terminals (software tokens), sysfs, udev, USB.
var device = regexp.MustCompile(`"(/dev/hidraw|/dev/pts/|/dev/ptmx|/dev/bus/usb|/sys/(class|bus|devices)|/run/udev)[^"]*"`)

// No device is opened for a repository without a fido2 slot, with BKFS_FIDO2_DEVICE=none, or when a passphrase was given.
func TestNoDevice(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("mine", softtoken.Options{})
	plain := u.with("BKFS_REPOSITORY="+u.path("plain"), "BKFS_FIDO2_DEVICE=soft:"+token).withPassphrase()
	both := u.with("BKFS_NEW_PASSPHRASE="+passphrase, "BKFS_FIDO2_DEVICE=soft:"+token)
	both.bkfs("init", "--fido2-device", "soft:"+token)
	both = both.with("BKFS_NEW_PASSPHRASE")

	for _, row := range []struct {
		name  string
		user  *user
		looks bool
		code  int
	}{
		{"passphrase only", plain, false, exitOK},
		{"passphrase only, auto", plain.with("BKFS_FIDO2_DEVICE=auto"), false, exitOK},
		{"device none", both.with("BKFS_FIDO2_DEVICE=none"), false, exitWrongSecret},
		{"device none, passphrase given", both.with("BKFS_FIDO2_DEVICE=none", "BKFS_PASSPHRASE="+passphrase), false, exitOK},
		{"passphrase given", both.with("BKFS_PASSPHRASE=" + passphrase), false, exitOK},
		{"passphrase given, auto", both.with("BKFS_FIDO2_DEVICE=auto", "BKFS_PASSPHRASE="+passphrase), false, exitOK},
		// The trace sees devices when there is a reason to look for them.
		{"software token", both, true, exitOK},
		{"auto", both.with("BKFS_FIDO2_DEVICE=auto"), true, exitNoToken},
	} {
		t.Run(row.name, func(t *testing.T) {
			trace := row.user.path("trace")
			r := row.user.run("strace", "-f", "-qq", "--seccomp-bpf", "-e", "trace=open,openat,openat2,readlink,readlinkat,stat,newfstatat,access,faccessat",
				"-o", trace, program, "check")
			if r.code != row.code {
				t.Errorf("exit code %d, want %d\n%s%s", r.code, row.code, r.stdout, r.stderr)
			}
			f, err := os.Open(trace)
			must(t, err)
			defer f.Close()
			looked := ""
			for lines := bufio.NewScanner(f); lines.Scan(); {
				// The Go runtime sizes huge pages and CPUs from sysfs.
				if line := lines.Text(); device.MatchString(line) && !runtimeFile.MatchString(line) {
					looked = line
					break
				}
			}
			if (looked != "") != row.looks {
				t.Errorf("looked for devices: %q, want %v", looked, row.looks)
			}
		})
	}
}

var runtimeFile = regexp.MustCompile(`/sys/(kernel|devices/system)|/sys/devices/virtual/bdi|/sys/class/bdi`)

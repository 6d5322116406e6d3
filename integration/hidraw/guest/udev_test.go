package guest

import (
	"os"
	"os/exec"
	"regexp"
	"syscall"
	"testing"
	"time"

	"bkfs/hardware/softtoken"
)

// groupPlugdev is plugdev's number in the guest.
const groupPlugdev = 46

// The rule that the hint tells to write does what it says: udevd gives the token to the group.
func TestRuleOfHint(t *testing.T) {
	p := newPerson(t, 1000)
	path := p.token("mine", softtoken.Options{})
	mine := p.plug(path)
	p.bkfs("init", "--fido2-device", "auto")
	must(t, os.Chown(mine.Path, 0, 0))
	r := p.start("bkfs", "check")()
	p.failed(r, exitTokenTrouble, "no permission")
	told := regexp.MustCompile("write `([^`]+)` to (/etc/udev/rules\\.d/[^ ,]+\\.rules),").FindStringSubmatch(r.stderr)
	if told == nil {
		t.Fatal("the hint names no rule, or no file for it")
	}
	p.unplug(mine)

	must(t, os.WriteFile(told[2], []byte(told[1]+"\n"), 0o644))
	defer os.Remove(told[2])
	udevd := exec.Command("systemd-udevd")
	udevd.Stderr = os.Stderr
	must(t, udevd.Start())
	defer udevd.Wait()
	defer udevd.Process.Kill()
	awaitFile(t, "/run/udev/control", func(os.FileInfo) bool { return true })

	keyboard := p.keyboard()
	mine = p.insert(path)
	awaitFile(t, mine.Path, func(i os.FileInfo) bool { return i.Sys().(*syscall.Stat_t).Gid == groupPlugdev })
	if i, err := os.Stat(keyboard.Path); err != nil || i.Sys().(*syscall.Stat_t).Gid != 0 {
		t.Errorf("the keyboard has got another owner too: %v", err)
	}
	p.refused(exitTokenTrouble, "no permission", "check")
	p.groups = []uint32{groupPlugdev}
	p.bkfs("check")
}

// awaitFile waits until there is a file that is as it should be.
func awaitFile(t *testing.T, path string, good func(os.FileInfo) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if i, err := os.Stat(path); err == nil && good(i) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s isn't there, or not as it should be, after %v", path, patience)
		}
	}
}

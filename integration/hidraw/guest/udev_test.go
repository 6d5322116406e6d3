package guest

import (
	"os"
	"os/exec"
	"regexp"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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
	awaitFile(t, "/run/udev/control")
	udevadm(t, "control", "--ping")

	keyboard := p.keyboard()
	mine = p.insert(path)
	udevadm(t, "settle")
	if g := group(t, mine.Path); g != groupPlugdev {
		t.Errorf("the token belongs to group %d, want %d", g, groupPlugdev)
	}
	if g := group(t, keyboard.Path); g != 0 {
		t.Errorf("the keyboard belongs to group %d, want 0", g)
	}
	p.refused(exitTokenTrouble, "no permission", "check")
	p.groups = []uint32{groupPlugdev}
	p.bkfs("check")
}

func udevadm(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("udevadm", args...).CombinedOutput(); err != nil {
		t.Fatalf("udevadm %q: %v\n%s", args, err, out)
	}
}

func group(t *testing.T, path string) uint32 {
	t.Helper()
	var s unix.Stat_t
	must(t, unix.Stat(path, &s))
	return s.Gid
}

func awaitFile(t *testing.T, path string) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s isn't there after %v", path, patience)
		}
	}
}

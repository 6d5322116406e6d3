package integration

import (
	"encoding/json"
	"fmt"
	"image"
	"image/png"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bkfs/hardware/softtoken"
)

// Commands that change the slots at once: each waits for the others at the config's lock, and none loses what they did.
func TestKeyChangesAtOnce(t *testing.T) {
	t.Parallel()
	needRoot(t) // the program isn't dumpable, so only root sees its open files
	u := newUser(t).withRepository()
	lock, err := os.OpenFile(u.path("repo", "lock-config"), os.O_RDWR|os.O_CREATE, 0o600)
	must(t, err)
	defer lock.Close()
	must(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))

	const n = 3
	var commands []*exec.Cmd
	for i := range n {
		c := u.command(program, "key", "add", "--recovery-key", "--label", fmt.Sprint("key ", i), "--recovery-key-file", u.path(fmt.Sprint("recovery-", i)))
		must(t, c.Start())
		commands = append(commands, c)
	}
	deadline := time.Now().Add(patience)
	for waiting := 0; waiting < n; {
		waiting = 0
		for _, c := range commands {
			if u.opened(c.Process.Pid, lock.Name()) {
				waiting++
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d commands are at the lock; have the others gone past it?", waiting, n)
		}
		runtime.Gosched()
	}
	must(t, lock.Close())
	for _, c := range commands {
		if err := c.Wait(); err != nil {
			t.Errorf("key add: %v", err)
		}
	}
	list := u.bkfs("key", "list")
	for i := range n {
		if !strings.Contains(list, fmt.Sprint("key ", i)) {
			t.Errorf("key %d is lost:\n%s", i, list)
		}
		u.with("BKFS_FIDO2_DEVICE=none", "BKFS_RECOVERY_KEY_COMMAND=cat "+u.path(fmt.Sprint("recovery-", i))).bkfs("key", "list")
	}
}

// opened tells whether a process has a file open.
func (u *user) opened(pid int, path string) bool {
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, _ := os.ReadDir(dir) // of a process that ended: none
	return slices.ContainsFunc(entries, func(e os.DirEntry) bool {
		target, err := os.Readlink(dir + "/" + e.Name())
		return err == nil && target == path
	})
}

// sheetLines are the lines of a sheet, by the program's own account.
func (u *user) sheetLines(args ...string) []string {
	u.Helper()
	var answer struct{ Lines []string }
	if err := json.Unmarshal([]byte(u.bkfs(append([]string{"key", "export", "--paper", "--json"}, args...)...)), &answer); err != nil || len(answer.Lines) < 5 {
		u.Fatalf("a sheet of %d lines: %v", len(answer.Lines), err)
	}
	return answer.Lines
}

// On a terminal the lines are asked for, and a wrong one again.
func TestTypedSheet(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("mine", softtoken.Options{})
	u.with("BKFS_NEW_PASSPHRASE=" + passphrase).enroll(token)
	lines := u.with("BKFS_FIDO2_DEVICE=" + soft(token)).sheetLines()
	config, err := os.ReadFile(u.path("repo", "config"))
	must(t, err)
	for _, path := range u.configs() {
		must(t, os.Remove(path))
	}

	var answers strings.Builder
	for i, line := range lines {
		name, text, _ := strings.Cut(line, ": ")
		asked := name
		if name == "END" {
			asked = fmt.Sprintf("%02d", i+1)
		}
		switch i {
		case 1: // another line, then a typing error
			fmt.Fprintf(&answers, "%s: => %s\n", asked, lines[3])
			wrong := "0"
			if text[:1] == "0" {
				wrong = "1"
			}
			fmt.Fprintf(&answers, "(?s)line 04 is not .*%s: => %s\n", asked, wrong+text[1:])
			fmt.Fprintf(&answers, "(?s)line 02 is mistyped: probably %s, .*%s: => %s\n", text[:5], asked, text)
		case 2: // by hand
			fmt.Fprintf(&answers, "%s: => %s\n", asked, strings.ToLower(strings.ReplaceAll(text, " ", "")))
		case len(lines) - 1:
			fmt.Fprintf(&answers, "%s: => %s\n", asked, line)
		default:
			fmt.Fprintf(&answers, "%s: => %s\n", asked, text)
		}
	}
	fmt.Fprintf(&answers, "(?i)passphrase.*: => %s\n", passphrase)
	transcript, err := dialog(u.command(program, "key", "import", "--paper"), answers.String())
	if err != nil {
		t.Fatalf("%v\n%s", err, transcript)
	}
	if got, err := os.ReadFile(u.path("repo", "config")); string(got) != string(config) {
		t.Errorf("the config is another: %v", err)
	}
	u.refused(exitError, "hint: .*file", "key", "import", "--paper")
}

// The pictures are the codes of the sheet's lines: PNG and SVG show the same, in a frame that scanners need.
func TestSheetPictures(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	for i := range 3 { // enough for two codes
		u.bkfs("key", "add", "--recovery-key", "--recovery-key-file", u.path(fmt.Sprint("recovery-", i)))
	}
	u.sheetLines("--qr", u.path("sheet.png"), "--qr", u.path("sheet.svg"))
	for i := 1; i <= 2; i++ {
		f, err := os.Open(u.path(fmt.Sprintf("sheet-%d.png", i)))
		must(t, err)
		picture, err := png.Decode(f)
		must(t, f.Close())
		must(t, err)
		svg, err := os.ReadFile(u.path(fmt.Sprintf("sheet-%d.svg", i)))
		must(t, err)
		if !strings.Contains(string(svg), fmt.Sprintf(" %d/2</text>", i)) {
			t.Errorf("code %d isn't numbered", i)
		}
		const scale, margin = 8, 4
		var drawn []string
		size := picture.Bounds().Dx() / scale
		for y := range size {
			for x := 0; x < size; x++ {
				from := x
				for x < size && isDark(picture, x*scale+scale/2, y*scale+scale/2) {
					x++
				}
				if x > from {
					drawn = append(drawn, fmt.Sprintf("M%d %dh%dv1h-%dz", from, y, x-from, x-from))
				}
			}
		}
		if len(drawn) < 500 || !strings.Contains(string(svg), `d="`+strings.Join(drawn, "")+`"`) {
			t.Errorf("PNG and SVG %d differ", i)
		}
		if !strings.HasPrefix(drawn[0], fmt.Sprintf("M%d %dh7v", margin, margin)) {
			t.Errorf("code %d begins with %q, not with a finder in a margin", i, drawn[0])
		}
	}
	u.refused(exitError, "exists", "key", "export", "--qr", u.path("sheet.png"))
	if left, _ := os.ReadDir(u.dir); slices.ContainsFunc(left, func(e os.DirEntry) bool { return e.Name() == "sheet.png" }) {
		t.Error("a picture was written all the same")
	}
}

func isDark(m image.Image, x, y int) bool {
	r, _, _, _ := m.At(x, y).RGBA()
	return r < 1<<15
}

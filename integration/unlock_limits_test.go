package integration

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bkfs/hardware/softtoken"
)

// The library for tokens has no timeouts, takes a signal for a failure of the device, and leaves the PIN in memory.
// None of that reaches the program's main process: each has a test here.

// serve plugs a token in, in a process of its own, and returns its device.
func (u *user) serve(token string) string {
	u.Helper()
	link := token + ".device"
	c := u.command(program, "softtoken", "serve", "--link", link, token)
	out, err := c.StdoutPipe()
	must(u, err)
	must(u, c.Start())
	u.Cleanup(func() {
		c.Process.Signal(unix.SIGTERM)
		c.Wait()
	})
	device, err := bufio.NewReader(out).ReadString('\n')
	must(u, err)
	return strings.TrimSpace(device)
}

// A device that never answers costs its deadline, where the library itself waits for ever.
func TestNoTimeoutOfTheLibrary(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("mine", softtoken.Options{})
	u.enroll(token)
	must(t, softtoken.Behave(token, func(b *softtoken.Behaviour) { b.Quirks.Mute = true }))
	device := u.serve(token)
	if _, err := exec.LookPath("fido2-token"); err != nil {
		t.Logf("what the library does alone isn't shown: %v", err)
	} else if r := u.run("timeout", "8", "fido2-token", "-I", device); r.code != 124 {
		t.Errorf("the library alone gave up by itself (exit code %d): the test proves nothing\n%s%s", r.code, r.stdout, r.stderr)
	}
	for _, args := range [][]string{{"check"}, {"token", "test"}, {"token", "list"}} {
		done := time.AfterFunc(20*time.Second, func() { t.Errorf("bkfs %q doesn't come back", args) })
		r := u.with("BKFS_FIDO2_DEVICE="+device).run(program, args...)
		done.Stop()
		if !strings.Contains(r.stdout+r.stderr, "no answer in time") {
			t.Errorf("bkfs %q: exit code %d\n%s%s", args, r.code, r.stdout, r.stderr)
		}
	}
}

// Signals to the main process and to the helper, all the time while the token waits for its touch, spoil nothing.
func TestSignalStorm(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("mine", softtoken.Options{})
	u.enroll(token)
	device := u.serve(token)
	must(t, softtoken.Behave(token, func(b *softtoken.Behaviour) { b.Button = true }))

	c := u.with("BKFS_FIDO2_DEVICE="+device).command(program, "token", "test")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	must(t, c.Start())
	blinking := make(chan error, 1)
	go func() { blinking <- softtoken.AwaitBlink(t.Context(), token) }()
	sent, helpers := 0, map[int]bool{}
	storm := func(rounds int) {
		for range rounds {
			for _, pid := range append(children(c.Process.Pid), c.Process.Pid) {
				tasks, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
				for _, task := range tasks {
					tid, _ := strconv.Atoi(task.Name())
					for _, s := range []unix.Signal{unix.SIGCHLD, unix.SIGWINCH, unix.SIGURG} {
						if unix.Tgkill(pid, tid, s) == nil {
							sent++
							helpers[pid] = helpers[pid] || pid != c.Process.Pid
						}
					}
				}
			}
		}
	}
	for waiting := true; waiting; {
		select {
		case err := <-blinking:
			must(t, err)
			waiting = false
		default:
			storm(1)
		}
	}
	helpers = map[int]bool{}
	storm(200)
	if delete(helpers, c.Process.Pid); len(helpers) != 1 {
		t.Errorf("%d helpers got signals while the token was blinking, want one", len(helpers))
	}
	must(t, softtoken.Press(t.Context(), token))
	storm(50)
	if err := c.Wait(); err != nil {
		t.Errorf("after %d signals: %v\n%s", sent, err, out.String())
	}
}

// children lists the processes whose parent is pid.
func children(pid int) (out []int) {
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		b, err := os.ReadFile(stat)
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 1 && f[1] == strconv.Itoa(pid) {
			child, _ := strconv.Atoi(filepath.Base(filepath.Dir(stat)))
			out = append(out, child)
		}
	}
	return out
}

// The PIN is not in the memory of the process that serves the mount, whether it was typed, read from a descriptor or
// printed by a command.
func TestPINDoesNotStay(t *testing.T) {
	t.Parallel()
	needRoot(t)
	u := newUser(t)
	pin := fmt.Sprintf("%016x%016x", rand.Uint64(), rand.Uint64())
	token := u.token("pin", softtoken.Options{PIN: pin})
	file := u.path("file")
	must(t, os.WriteFile(file, []byte(pin), 0o600))
	command := u.with("BKFS_FIDO2_PIN_COMMAND=cat " + file)
	command.enroll(token, "--fido2-with-client-pin=yes")
	device := u.serve(token)
	mark := fmt.Sprintf("mark-%016x", rand.Uint64())
	point := u.path(mark)
	must(t, os.Mkdir(point, 0o755))

	look := func(how string, pid int) {
		t.Helper()
		if n := inMemory(t, pid, []byte(mark)); n == 0 {
			t.Errorf("%s: the mountpoint's name isn't in the process's memory: the search finds nothing", how)
		}
		for _, form := range [][]byte{[]byte(pin), []byte(hex.EncodeToString([]byte(pin)))} {
			if n := inMemory(t, pid, form); n != 0 {
				t.Errorf("%s: the PIN is in the process's memory %d times", how, n)
			}
		}
	}
	serve := func(how string, c *exec.Cmd) {
		t.Helper()
		must(t, c.Start())
		waitMounted(t, point)
		look(how, c.Process.Pid)
		u.bkfs("umount", point)
		if err := c.Wait(); err != nil {
			t.Errorf("%s: %v", how, err)
		}
	}
	args := []string{"mount", "-f", "--unlock-fido2-device", device, point}
	serve("command", command.command(program, args...))
	fd, err := os.Open(file)
	must(t, err)
	defer fd.Close()
	c := u.with("BKFS_FIDO2_PIN_FD=3").command(program, args...)
	c.ExtraFiles = []*os.File{fd}
	serve("descriptor", c)

	typed := u.command(program, args...)
	text, err := converse(typed, "PIN of .*: => "+pin+"\nServing at\n", func(*os.File) {
		look("typed", typed.Process.Pid)
		u.bkfs("umount", point)
	})
	if err != nil {
		t.Errorf("typed: %v\n%s", err, text)
	}
}

func waitMounted(t *testing.T, point string) {
	t.Helper()
	for end := time.Now().Add(patience); !mounted(point); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s isn't mounted", point)
		}
	}
}

// inMemory counts where text is in what a process can read and write.
func inMemory(t *testing.T, pid int, text []byte) (n int) {
	t.Helper()
	maps, err := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	must(t, err)
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	must(t, err)
	defer mem.Close()
	for line := range strings.Lines(string(maps)) {
		var from, to int64
		var rights string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &rights); err != nil || !strings.HasPrefix(rights, "rw") {
			continue
		}
		const step = 1 << 20
		for at := from; at < to; at += step {
			b := make([]byte, min(to-at, step+int64(len(text))-1))
			if got, err := mem.ReadAt(b, at); got > 0 {
				n += bytes.Count(b[:got], text)
			} else if err != nil && !errors.Is(err, unix.EIO) && !errors.Is(err, unix.EFAULT) {
				t.Fatalf("read memory at %x: %v", at, err)
			}
		}
	}
	return n
}

// Only helper processes open the device: the library is linked to the main process, and never called there.
func TestOnlyHelpersOpenDevices(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("mine", softtoken.Options{})
	u.enroll(token)
	device := u.serve(token)
	trace := u.path("trace")
	u.with("BKFS_FIDO2_DEVICE="+device).do("strace", "-f", "-qq", "-s", "200", "-e", "trace=execve,openat,open,clone,clone3,vfork,fork", "-o", trace,
		program, "token", "test")
	text, err := os.ReadFile(trace)
	must(t, err)
	helper := map[string]bool{}   // threads of processes that run HelperMain
	leader := map[string]string{} // by thread
	opened := map[string]int{"helper": 0, "main": 0}
	birth := regexp.MustCompile(`\b(?:clone3?|v?fork)\(.*CLONE_THREAD.* = (\d+)`)
	begun := map[string]string{} // by thread: a call whose end comes on another line
	threads := 0
	for line := range strings.Lines(string(text)) {
		pid, _, _ := strings.Cut(line, " ")
		if leader[pid] == "" {
			leader[pid] = pid
		}
		if call, cut := strings.CutSuffix(line, " <unfinished ...>\n"); cut {
			begun[pid] = call
		} else if _, end, resumed := strings.Cut(line, " resumed>"); resumed {
			line = begun[pid] + end
		}
		if m := birth.FindStringSubmatch(line); m != nil {
			leader[m[1]] = leader[pid]
			threads++
		}
		if strings.Contains(line, "execve(") && strings.Contains(line, `"__hardware"`) {
			helper[leader[pid]] = true
		}
		if strings.Contains(line, `"`+device+`"`) {
			if helper[leader[pid]] {
				opened["helper"]++
			} else {
				opened["main"]++
				t.Errorf("opened outside a helper: %s", line)
			}
		}
	}
	if opened["helper"] == 0 || len(helper) < 2 || threads == 0 {
		t.Errorf("%d helpers opened the device %d times, %d threads seen: the trace shows nothing", len(helper), opened["helper"], threads)
	}
}

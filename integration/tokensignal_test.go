package integration

import (
	"context"
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

// strike sends a signal to the helper that has the faulty device open.
func strike(sig unix.Signal) func(context.Context, *faulty) bool {
	return func(ctx context.Context, f *faulty) bool {
		for ctx.Err() == nil {
			s, err := softtoken.Read(f.tokens[0])
			if err == nil && (s.Blinking || !s.Behaviour.Button) {
				for _, helper := range f.helpers() {
					return unix.Kill(helper, sig) == nil
				}
			}
			time.Sleep(5 * time.Millisecond)
		}
		return false
	}
}

// storm sends SIGCHLD to every thread of the program and of its helper while they wait for the touch, then touches.
func storm(ctx context.Context, f *faulty) bool {
	if softtoken.AwaitBlink(ctx, f.tokens[0]) != nil {
		return false
	}
	sent := 0
	for range 30 {
		for _, p := range processes(f.dir) {
			threads, _ := os.ReadDir("/proc/" + strconv.Itoa(p) + "/task")
			for _, thread := range threads {
				if tid, err := strconv.Atoi(thread.Name()); err == nil && unix.Tgkill(p, tid, unix.SIGCHLD) == nil {
					sent++
				}
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	first := strings.Contains(f.vars["BKFS_FIDO2_DEVICE"], ",") // the other one, which needs no finger, was touched first
	if s, err := softtoken.Read(f.tokens[0]); err != nil || !s.Blinking && !first {
		f.Errorf("the storm ended the wait for a touch: %v", err)
	}
	return sent > 0 && softtoken.Press(ctx, f.tokens[0]) == nil
}

// helpers finds the program's helper processes that have the faulty device open.
func (f *faulty) helpers() []int {
	var out []int
	for _, pid := range processes(f.dir) {
		dir := "/proc/" + strconv.Itoa(pid)
		if cmd, _ := os.ReadFile(dir + "/cmdline"); !strings.HasSuffix(string(cmd), "\x00__hardware\x00") {
			continue
		}
		links, _ := filepath.Glob(dir + "/fd/*")
		for _, link := range links {
			if to, err := os.Readlink(link); err == nil && to == f.devices[0] {
				out = append(out, pid)
				break
			}
		}
	}
	return out
}

// TestTokenInterrupt has Ctrl-C pressed while the token waits for a touch, and while its PIN is typed: the program
// ends as interrupted, the token stops blinking and is free for the next one, and the terminal is as it was.
func TestTokenInterrupt(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, pin string
		prompt    string
	}{
		{"touch", "", "Touch your security key"},
		{"PIN", "135790", "(?i)PIN.*: $"},
	} {
		t.Run(row.name, func(t *testing.T) {
			u := newUser(t)
			token := u.token("mine", softtoken.Options{PIN: row.pin})
			u = u.with("TMPDIR="+u.path(), "BKFS_FIDO2_PIN_COMMAND=echo "+row.pin)
			args := []string{}
			if row.pin != "" {
				args = append(args, "--fido2-with-client-pin")
			}
			u.enroll(token, args...)
			s, err := softtoken.Start(token)
			must(t, err)
			t.Cleanup(func() { s.Close() })
			f := &faulty{user: u, tokens: [2]string{token, token}, devices: [2]string{s.Device(), s.Device()}}
			must(t, softtoken.Behave(token, func(b *softtoken.Behaviour) { b.Button = true }))
			device := u.with("BKFS_FIDO2_DEVICE=" + s.Device())
			typing := device.with("BKFS_FIDO2_PIN_COMMAND")

			code, transcript, restored := ctrlC(t, typing.command(program, "key", "list"), row.prompt, func() {
				if row.pin == "" { // said before the token is asked
					must(t, softtoken.AwaitBlink(t.Context(), token))
				}
			})
			if code != exitInterrupted || !restored {
				t.Errorf("exit code %d, terminal as before: %v; want %d and true\n%s", code, restored, exitInterrupted, transcript)
			}
			(&tokenFault{}).nothingLeft(f)
			must(t, softtoken.Behave(token, func(b *softtoken.Behaviour) { b.Button = false }))
			device.bkfs("key", "list")
		})
	}
}

// ctrlC runs c on a terminal of its own, presses Ctrl-C when it has asked prompt and ready returns, and tells whether the terminal
// is in the end as it was in the beginning.
func ctrlC(t *testing.T, c *exec.Cmd, prompt string, ready func()) (code int, transcript string, restored bool) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	must(t, err)
	master := os.NewFile(uintptr(fd), "ptmx")
	defer master.Close()
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	defer slave.Close()
	before, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	must(t, err)
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	must(t, c.Start())
	must(t, master.SetDeadline(time.Now().Add(faultLimit)))
	var text []byte
	for pattern := regexp.MustCompile(prompt); !pattern.Match(text); {
		b := make([]byte, 4096)
		n, err := master.Read(b)
		text = append(text, b[:n]...)
		if err != nil {
			c.Process.Kill()
			c.Wait()
			t.Fatalf("%q was never asked: %v\n%s", prompt, err, text)
		}
	}
	ready()
	_, err = master.Write([]byte{3})
	must(t, err)
	stuck := time.AfterFunc(faultLimit, func() { c.Process.Signal(unix.SIGQUIT) })
	c.Wait()
	if !stuck.Stop() {
		t.Errorf("Ctrl-C didn't end it")
	}
	after, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	must(t, err)
	return c.ProcessState.ExitCode(), string(text), *before == *after
}

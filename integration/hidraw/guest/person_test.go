package guest

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"bkfs/hardware/softtoken"
)

// The documented exit codes that are met here.
const (
	exitOK           = 0
	exitError        = 1
	exitNoToken      = 13
	exitTokenTrouble = 14
)

// patience bounds every wait for a program; nothing asserts a time below it.
const patience = time.Minute

func needGuest(t *testing.T) {
	t.Helper()
	if os.Getenv("BKFS_GUEST") == "" {
		t.Skip("runs in the guest that `make test-hidraw` boots: it plugs devices into the machine")
	}
	if nodes, _ := filepath.Glob("/dev/hidraw*"); len(nodes) != 0 {
		t.Fatalf("hidraw nodes before the test: %q", nodes)
	}
}

// person is somebody with a home and a repository who uses bkfs, with every token that is plugged in.
type person struct {
	*testing.T
	uid    uint32
	groups []uint32
	home   string
}

func newPerson(t *testing.T, uid uint32) *person {
	t.Helper()
	needGuest(t)
	p := &person{T: t, uid: uid, home: t.TempDir()}
	// TempDir makes the directory above, which others may not pass.
	must(t, os.Chmod(filepath.Dir(p.home), 0o755))
	must(t, os.Mkdir(p.path("run"), 0o700))
	must(t, os.Chown(p.path("run"), int(uid), int(uid)))
	must(t, os.Chown(p.home, int(uid), int(uid)))
	return p
}

func (p *person) path(elem ...string) string {
	return filepath.Join(append([]string{p.home}, elem...)...)
}

// productName begins what every token here calls itself.
const productName = "bkfs test token "

type result struct {
	code           int
	stdout, stderr string
}

// start starts a program without a terminal; what it returns waits for the end, which has to come in time.
func (p *person) start(name string, args ...string) (wait func() result) {
	p.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	c := exec.CommandContext(ctx, name, args...)
	c.Dir = p.home
	c.Env = []string{
		"HOME=" + p.home, "PATH=/bin", "TMPDIR=/tmp", "LC_ALL=C.UTF-8",
		"XDG_RUNTIME_DIR=" + p.path("run"), "BKFS_REPOSITORY=" + p.path("repo"),
	}
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if p.uid != 0 {
		c.SysProcAttr.Credential = &syscall.Credential{Uid: p.uid, Gid: p.uid, Groups: p.groups}
	}
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Start(); err != nil {
		cancel()
		p.Fatal(err)
	}
	return func() result {
		p.Helper()
		defer cancel()
		err := c.Wait()
		if ctx.Err() != nil {
			p.Fatalf("%s %q took more than %v:\n%s%s", name, args, patience, &stdout, &stderr)
		}
		if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
			p.Fatalf("%s %q: %v", name, args, err)
		}
		return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
	}
}

// do runs a program that must succeed and returns its output.
func (p *person) do(name string, args ...string) string {
	p.Helper()
	r := p.start(name, args...)()
	if r.code != exitOK {
		p.Fatalf("%s %q: exit code %d\n%s%s", name, args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

func (p *person) bkfs(args ...string) string { p.Helper(); return p.do("bkfs", args...) }

// refused runs bkfs and checks its exit code and its messages, which are one error, and match a regular expression.
func (p *person) refused(code int, message string, args ...string) {
	p.Helper()
	p.failed(p.start("bkfs", args...)(), code, message)
}

func (p *person) failed(r result, code int, message string) {
	p.Helper()
	p.Logf("exit code %d: %s", r.code, r.stderr)
	if r.code != code {
		p.Errorf("exit code %d, want %d", r.code, code)
	}
	if n := strings.Count("\n"+r.stderr, "\nbkfs: "); n != 1 {
		p.Errorf("%d errors, want one", n)
	}
	if !regexp.MustCompile("(?s)" + message).MatchString(r.stderr) {
		p.Errorf("the message doesn't match %q", message)
	}
}

// token makes a software token, which isn't plugged in yet.
func (p *person) token(name string, o softtoken.Options) string {
	p.Helper()
	path := p.path(name + ".token")
	must(p, softtoken.Create(path, o))
	return path
}

// plug plugs a token in and gives the person its node, as udev gives it to who sits at the machine.
func (p *person) plug(path string) *Token {
	p.Helper()
	t := p.insert(path)
	must(p, os.Chown(t.Path, int(p.uid), int(p.uid)))
	return t
}

// insert plugs a token in until the test ends or it is unplugged.
func (p *person) insert(path string) *Token {
	p.Helper()
	t, err := PlugToken(path, productName+strings.TrimSuffix(filepath.Base(path), ".token"))
	must(p, err)
	p.Cleanup(func() { p.unplug(t) })
	return t
}

// keyboard plugs in something that is no token.
func (p *person) keyboard() *Device {
	p.Helper()
	d, err := PlugKeyboard("bkfs test keyboard")
	must(p, err)
	p.Cleanup(func() { must(p, d.Unplug()) })
	return d
}

// unplug may be called again.
func (p *person) unplug(t *Token) {
	p.Helper()
	if t.Device != nil {
		must(p, t.Unplug())
		t.Device = nil
	}
}

func (p *person) seen(path string) softtoken.Seen {
	p.Helper()
	s, err := softtoken.Read(path)
	must(p, err)
	return s.Seen
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

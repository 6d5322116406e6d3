package integration

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bkfs/hardware/softtoken"
)

// The documented exit codes.
const (
	exitOK           = 0
	exitError        = 1
	exitPartial      = 3
	exitNoRepository = 10
	exitLocked       = 11
	exitWrongSecret  = 12
	exitNoToken      = 13
	exitTokenTrouble = 14
	exitDamaged      = 15
	exitNoSpace      = 16
	exitInterrupted  = 130
)

const passphrase = "correct horse battery staple"

// patience bounds every wait for another process; nothing asserts a time below it.
const patience = 2 * time.Minute

// user is one person's home, environment and repository. Its directory's name is short, because
// socket paths may not have more than 107 bytes.
type user struct {
	testing.TB
	dir  string
	vars map[string]string
}

type result struct {
	code           int
	stdout, stderr string
}

func newUser(t testing.TB) *user {
	t.Helper()
	dir, err := os.MkdirTemp("", "bkfs-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { leave(t, dir) })
	return &user{TB: t, dir: dir, vars: home(dir)}
}

// home returns the environment of a user who lives in dir, and makes its directories.
func home(dir string) map[string]string {
	os.Mkdir(filepath.Join(dir, "run"), 0o700)
	return map[string]string{
		"HOME":              dir,
		"PATH":              os.Getenv("PATH"),
		"TMPDIR":            os.TempDir(),
		"LC_ALL":            "C.UTF-8",
		"XDG_DATA_HOME":     dir + "/share",
		"XDG_STATE_HOME":    dir + "/state",
		"XDG_CACHE_HOME":    dir + "/cache",
		"XDG_CONFIG_HOME":   dir + "/config",
		"XDG_RUNTIME_DIR":   dir + "/run",
		"BKFS_REPOSITORY":   dir + "/repo",
		"BKFS_FIDO2_DEVICE": "none",
		// A race report must not hide behind a daemon's lost stderr.
		"GORACE": "halt_on_error=1 log_path=" + dir + "/race",
	}
}

// leave unmounts and ends whatever still runs below dir, then removes it.
func leave(t testing.TB, dir string) {
	for _, point := range slices.Backward(mountpoints(dir)) {
		t.Errorf("%s was left mounted", point)
		unix.Unmount(point, unix.MNT_DETACH)
	}
	for _, pid := range processes(dir) {
		kill(t, pid)
	}
	reports, _ := filepath.Glob(dir + "/race.*")
	for _, report := range reports {
		text, _ := os.ReadFile(report)
		t.Errorf("data race:\n%s", text)
	}
	if t.Failed() {
		logs, _ := filepath.Glob(dir + "/state/bkfs/*.log")
		for _, log := range logs {
			text, _ := os.ReadFile(log)
			t.Logf("%s:\n%s", log, text)
		}
	}
	exec.Command("chattr", "-R", "-i", dir).Run()
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}

// kill ends a process the hard way and returns when it is gone.
func kill(t testing.TB, pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	n, err := 0, error(unix.EINTR)
	for errors.Is(err, unix.EINTR) { // the runtime's own signals end a poll
		n, err = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(patience.Milliseconds()))
	}
	if n != 1 {
		t.Errorf("process %d survived SIGKILL: %v", pid, err)
	}
}

// path returns a path in the user's directory.
func (u *user) path(elem ...string) string { return filepath.Join(append([]string{u.dir}, elem...)...) }

// with returns the same user with other environment variables: "NAME=value", or "NAME" to unset one.
func (u *user) with(vars ...string) *user {
	v := *u
	v.vars = make(map[string]string, len(u.vars)+len(vars))
	for name, value := range u.vars {
		v.vars[name] = value
	}
	for _, s := range vars {
		name, value, set := strings.Cut(s, "=")
		if delete(v.vars, name); set {
			v.vars[name] = value
		}
	}
	return &v
}

func (u *user) command(name string, args ...string) *exec.Cmd {
	c := exec.Command(name, args...)
	c.Dir = u.dir
	for name, value := range u.vars {
		c.Env = append(c.Env, name+"="+value)
	}
	// No terminal: whatever would prompt has to say so and stop.
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	return c
}

// run runs a program to its end, which has to come in time.
func (u *user) run(name string, args ...string) result {
	u.Helper()
	c := u.command(name, args...)
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	if err := c.Start(); err != nil {
		u.Fatal(err)
	}
	deadline := time.AfterFunc(patience, func() { c.Process.Signal(unix.SIGQUIT) })
	err := c.Wait()
	if !deadline.Stop() {
		u.Fatalf("%s %q took more than %v:\n%s%s", name, args, patience, stdout.String(), stderr.String())
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		u.Fatalf("%s %q: %v", name, args, err)
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// do runs a program that must succeed and returns its output.
func (u *user) do(name string, args ...string) string {
	u.Helper()
	r := u.run(name, args...)
	if r.code != exitOK {
		u.Fatalf("%s %q: exit code %d\n%s%s", name, args, r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// bkfs runs the program, which must succeed, and returns its standard output.
func (u *user) bkfs(args ...string) string { u.Helper(); return u.do(program, args...) }

// refused runs the program and checks its exit code, and its message against a regular expression.
func (u *user) refused(code int, message string, args ...string) {
	u.Helper()
	r := u.run(program, args...)
	if r.code != code {
		u.Errorf("bkfs %q: exit code %d, want %d\n%s%s", args, r.code, code, r.stdout, r.stderr)
	}
	if !regexp.MustCompile(message).MatchString(r.stderr) {
		u.Errorf("bkfs %q: message doesn't match %q:\n%s", args, message, r.stderr)
	}
}

// withRepository gives the user a repository and the software token that opens it: cheap, where a passphrase costs
// an argon2 at every unlock.
func (u *user) withRepository() *user {
	u.Helper()
	token := u.token("mine", softtoken.Options{})
	u.bkfs("init", "--fido2-device", soft(token))
	return u.with("BKFS_FIDO2_DEVICE=" + soft(token))
}

// withPassphrase gives the user a repository with one passphrase slot, and the passphrase to open it.
func (u *user) withPassphrase() *user {
	u.Helper()
	u.with("BKFS_NEW_PASSPHRASE=" + passphrase).bkfs("init")
	return u.with("BKFS_PASSPHRASE=" + passphrase)
}

// mount mounts the repository on a directory of its own, which it returns.
func (u *user) mount(args ...string) string {
	u.Helper()
	point := u.path("mnt")
	if err := os.MkdirAll(point, 0o755); err != nil {
		u.Fatal(err)
	}
	u.bkfs(append(append([]string{"mount"}, args...), point)...)
	u.Cleanup(func() { // runs before leave, which takes what is left for a failure
		if u.Failed() && mounted(point) {
			unix.Unmount(point, unix.MNT_DETACH)
		}
	})
	if !mounted(point) {
		u.Fatalf("bkfs mount returned, but %s is not mounted", point)
	}
	return point
}

func (u *user) umount(point string) {
	u.Helper()
	u.bkfs("umount", point)
	if mounted(point) {
		u.Fatalf("bkfs umount returned, but %s is still mounted", point)
	}
}

// crash kills the daemon as a power failure would and takes the dead mount away.
func (u *user) crash(point string) {
	u.Helper()
	pids := processes(u.dir)
	if len(pids) == 0 {
		u.Fatal("no daemon to kill")
	}
	for _, pid := range pids {
		kill(u, pid)
	}
	if err := unix.Unmount(point, unix.MNT_DETACH); err != nil {
		u.Fatalf("unmount what the daemon left: %v", err)
	}
}

func mounted(point string) bool { return slices.Contains(mountpoints(point), point) }

// needRoot skips what only root can arrange: devices, other owners, tmpfs, namespaces.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes devices, other users' files or mounts of its own")
	}
}

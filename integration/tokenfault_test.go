package integration

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bkfs/hardware/softtoken"
)

// tokenFault is a row of the matrix: what goes wrong with the token that would open the repository.
type tokenFault struct {
	name    string
	quirks  []string                                               // as in `bkfs softtoken set`
	arrange func(f *faulty)                                        // before the command runs
	during  func(ctx context.Context, f *faulty) (ok bool)         // beside it; false: it came too late
	blinks  bool                                                   // in the end: nobody is left who could take the request for a touch back
	command func(f *faulty, name string, args ...string) *exec.Cmd // nil: as the test's own user
	code    int                                                    // with this token only
	message string                                                 // and what is said then, beside the device's name
}

// faulty is one run's own copy of everything: a repository that two tokens, a passphrase and a recovery key open,
// and both tokens plugged in, of which the first misbehaves.
type faulty struct {
	*user
	tokens  [2]string // state files: the faulty one, the healthy one
	devices [2]string
}

const (
	faultLimit   = time.Minute // for a command: a probe has 3 s, a touch 30 s, and the machine may be slow
	faultsAtOnce = 6
	noAnswer     = "no answer in time"
	lost         = "stopped answering sensibly"
	unusable     = "unusable secret"
	busy         = "another program is using"
	helperDied   = "the helper process for tokens failed"
)

func tokenFaults() []tokenFault {
	return []tokenFault{
		// The longest wait begins first.
		{name: "endless keepalive, touched", quirks: []string{"keepalive=touch"}, code: exitTokenTrouble, message: noAnswer},
		{name: "healthy", code: exitOK},
		{name: "slow", quirks: []string{"delay=300ms"}, code: exitOK},
		{name: "never answers", quirks: []string{"mute"}, code: exitTokenTrouble, message: noAnswer},
		{name: "never answers INIT", quirks: []string{"mute=init"}, code: exitTokenTrouble, message: noAnswer},
		{name: "endless keepalive", quirks: []string{"keepalive"}, code: exitTokenTrouble, message: noAnswer},
		{name: "garbage frames", quirks: []string{"garbage"}, code: exitTokenTrouble, message: lost},
		{name: "garbage frames, touched", quirks: []string{"garbage=touch"}, code: exitTokenTrouble, message: lost},
		{name: "garbage frames to INIT", quirks: []string{"garbage=init"}, code: exitTokenTrouble, message: lost},
		{name: "wrong channel", quirks: []string{"wrong-channel"}, code: exitTokenTrouble, message: noAnswer},
		{name: "oversized message", quirks: []string{"oversized"}, code: exitTokenTrouble, message: lost},
		{name: "oversized message, touched", quirks: []string{"oversized=touch"}, code: exitTokenTrouble, message: lost},
		{name: "oversized CBOR", quirks: []string{"oversized-cbor"}, code: exitTokenTrouble, message: lost},
		{name: "oversized CBOR, touched", quirks: []string{"oversized-cbor=touch"}, code: exitTokenTrouble, message: lost},
		{name: "truncated CBOR", quirks: []string{"truncated-cbor"}, code: exitTokenTrouble, message: lost},
		{name: "truncated CBOR, touched", quirks: []string{"truncated-cbor=touch"}, code: exitTokenTrouble, message: lost},
		{name: "wrong CBOR type", quirks: []string{"wrong-type"}, code: exitTokenTrouble, message: lost},
		{name: "wrong CBOR type, touched", quirks: []string{"wrong-type=touch"}, code: exitTokenTrouble, message: lost},
		{name: "bytes after the CBOR", quirks: []string{"padded-cbor"}, code: exitOK},
		{name: "frames unasked", quirks: []string{"flood"}, code: exitOK},
		{name: "unplugged", quirks: []string{"unplug"}, code: exitTokenTrouble, message: lost},
		{name: "unplugged in the probe", quirks: []string{"unplug=cbor"}, code: exitTokenTrouble, message: lost},
		{name: "U2F only", quirks: []string{"u2f-only"}, code: exitNoToken, message: "does not do FIDO2"},
		{name: "held with a lock", arrange: hold, code: exitTokenTrouble, message: busy},
		{name: "held without a lock", arrange: occupy, blinks: true, code: exitTokenTrouble, message: lost},
		{name: "permission denied", arrange: forbid, command: asNobody, code: exitTokenTrouble, message: "permission"},
		{name: "helper crashes", arrange: button, during: strike(unix.SIGSEGV), blinks: true, code: exitTokenTrouble, message: helperDied},
		{name: "helper killed", arrange: button, during: strike(unix.SIGKILL), blinks: true, code: exitTokenTrouble, message: helperDied},
		{name: "helper killed in the probe", quirks: []string{"mute=cbor"}, during: strike(unix.SIGKILL), code: exitTokenTrouble, message: helperDied},
		{name: "helper hangs", quirks: []string{"mute=cbor"}, during: strike(unix.SIGSTOP), code: exitTokenTrouble, message: noAnswer},
		{name: "SIGCHLD storm", arrange: button, during: storm, code: exitOK},
		{name: "secret of 16 bytes", quirks: []string{"secret-size=16"}, code: exitTokenTrouble, message: unusable + ".*16 bytes"},
		{name: "secret of 33 bytes", quirks: []string{"secret-size=33"}, code: exitTokenTrouble, message: lost},
		{name: "secret of 64 bytes", quirks: []string{"secret-size=64"}, code: exitTokenTrouble, message: unusable + ".*64 bytes"},
		{name: "zero secret", quirks: []string{"zero-secret"}, code: exitTokenTrouble, message: unusable + ".*zero"},
		{name: "another secret than at enrolment", quirks: []string{"other-secret"}, code: exitWrongSecret, message: "enrolment"},
		{name: "another secret every time", quirks: []string{"changing-secret"}, code: exitWrongSecret, message: "enrolment"},
		{name: "says it was not touched", quirks: []string{"omit-up"}, code: exitTokenTrouble, message: "not touched"},
	}
}

// TestTokenFaults runs every fault three times: with the faulty token only, with a healthy one beside it, and on a
// terminal where another key is typed. A fault costs a message and the wait for it, and opens what else there is.
func TestTokenFaults(t *testing.T) {
	t.Parallel()
	base := newUser(t)
	mine, spare := base.token("mine", softtoken.Options{}), base.token("spare", softtoken.Options{})
	key := base.enroll(mine, "--label", "mine")
	owner := base.with("BKFS_FIDO2_DEVICE=" + soft(mine))
	owner.bkfs("key", "add", "--fido2-device", soft(spare), "--label", "spare")
	owner.with("BKFS_NEW_PASSPHRASE="+passphrase).bkfs("key", "add")

	slots := make(chan struct{}, faultsAtOnce)
	var all sync.WaitGroup
	run := func(t *testing.T, name string, test func(t *testing.T)) {
		all.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			t.Run(name, test)
		})
	}
	for _, row := range tokenFaults() {
		run(t, row.name+"/alone", func(t *testing.T) { row.alone(newFaulty(t, base)) })
		run(t, row.name+"/beside another", func(t *testing.T) { row.beside(newFaulty(t, base)) })
		run(t, row.name+"/typed", func(t *testing.T) { row.typed(newFaulty(t, base), key) })
	}
	run(t, "passphrase given", func(t *testing.T) {
		f := newFaulty(t, base)
		must(t, softtoken.Behave(f.tokens[0], func(b *softtoken.Behaviour) { b.Quirks.Mute = true }))
		before := f.seen(f.tokens[0])
		f.with("BKFS_FIDO2_DEVICE="+f.devices[0], "BKFS_PASSPHRASE="+passphrase).bkfs("key", "list")
		if got := f.seen(f.tokens[0]); got != before {
			t.Errorf("the faulty token was asked: %+v", got)
		}
	})
	all.Wait()
}

// newFaulty copies the repository and its tokens, and plugs these in.
func newFaulty(t *testing.T, base *user) *faulty {
	t.Helper()
	f := &faulty{user: newUser(t)}
	f.do("cp", "-a", base.path("repo"), f.path("repo"))
	for i, name := range []string{"mine.token", "spare.token"} {
		f.do("cp", "-a", base.path(name), f.path(name))
		f.tokens[i] = f.path(name)
		s, err := softtoken.Start(f.tokens[i])
		must(t, err)
		t.Cleanup(func() { s.Close() })
		f.devices[i] = s.Device()
	}
	// Helpers inherit no more than PATH and TMPDIR: it is how this run's are told from others'.
	must(t, os.Mkdir(f.path("tmp"), 0o777))
	f.user = f.with("TMPDIR=" + f.path("tmp"))
	return f
}

func (r *tokenFault) prepare(f *faulty) {
	f.Helper()
	must(f, softtoken.Behave(f.tokens[0], func(b *softtoken.Behaviour) {
		for _, q := range r.quirks {
			must(f, b.Quirks.Set(q))
		}
	}))
	if r.arrange != nil {
		r.arrange(f)
	}
}

// list is the command that all run: it unlocks and mounts nothing.
func (r *tokenFault) list(f *faulty, devices ...string) *exec.Cmd {
	f.user = f.with("BKFS_FIDO2_DEVICE=" + strings.Join(devices, ","))
	if r.command != nil {
		return r.command(f, program, "key", "list")
	}
	return f.command(program, "key", "list")
}

// start runs c, and what happens beside it, to the end of both.
func (r *tokenFault) start(f *faulty, c *exec.Cmd) result {
	f.Helper()
	var stdout, stderr bytes.Buffer
	c.Stdout, c.Stderr = &stdout, &stderr
	must(f, c.Start())
	stop := r.beginBeside(f)
	deadline := time.AfterFunc(faultLimit, func() { c.Process.Signal(unix.SIGQUIT) })
	c.Wait()
	if came := stop(); !came && r.code != exitOK && !strings.Contains(f.vars["BKFS_FIDO2_DEVICE"], ",") {
		f.Errorf("the fault came too late: the test proves nothing")
	}
	if !deadline.Stop() {
		f.Errorf("not done after %v:\n%s%s", faultLimit, stdout.String(), stderr.String())
	}
	return result{c.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// beginBeside begins what happens beside a command. stop ends it and tells whether it came in time.
func (r *tokenFault) beginBeside(f *faulty) (stop func() bool) {
	ctx, cancel := context.WithCancel(f.Context())
	came := make(chan bool, 1)
	go func() { came <- r.during == nil || r.during(ctx, f) }()
	return func() bool {
		cancel()
		return <-came
	}
}

func (r *tokenFault) alone(f *faulty) {
	r.prepare(f)
	got := r.start(f, r.list(f, f.devices[0]))
	if got.code != r.code {
		f.Errorf("exit code %d, want %d", got.code, r.code)
	}
	said := regexp.MustCompile(`(?m)^Touch .*\n`).ReplaceAllString(got.stderr, "") // names it too
	if r.code != exitOK && (!regexp.MustCompile(r.message).MatchString(said) || !strings.Contains(said, f.devices[0])) {
		f.Errorf("message doesn't match %q, or doesn't name %s", r.message, f.devices[0])
	}
	if strings.Contains(got.stderr, "goroutine ") {
		f.Errorf("a stack is shown")
	}
	f.Logf("exit code %d:\n%s", got.code, got.stderr)
	r.nothingLeft(f)
}

func (r *tokenFault) beside(f *faulty) {
	r.prepare(f)
	before := f.seen(f.tokens[1])
	got := r.start(f, r.list(f, f.devices[0], f.devices[1]))
	if got.code != exitOK || !strings.Contains(got.stdout, "spare") {
		f.Errorf("exit code %d, want the healthy token to open\n%s%s", got.code, got.stdout, got.stderr)
	}
	// Twice, when the faulty one was touched first and its secret then opened nothing.
	if asked := f.seen(f.tokens[1]).Assertion - before.Assertion; r.code != exitOK && asked != 1 && asked != 2 {
		f.Errorf("the healthy token was asked for its secret %d times", asked)
	}
	r.nothingLeft(f)
}

func (r *tokenFault) typed(f *faulty, key string) {
	if r.code == exitOK {
		f.Skip("this token opens: there is nothing to type")
	}
	r.prepare(f)
	c := r.list(f, f.devices[0])
	stop := r.beginBeside(f)
	transcript, err := dialog(c, "(?i)recovery key.*: $ => "+strings.Join(strings.Fields(key), " ")+"\n")
	stop()
	if err != nil || !strings.Contains(transcript, "spare") {
		f.Errorf("%v, want the recovery key to open:\n%s", err, transcript)
	}
	r.nothingLeft(f)
}

// nothingLeft checks that no process and no lock of the run is left, and that the token doesn't blink.
func (r *tokenFault) nothingLeft(f *faulty) {
	f.Helper()
	for _, pid := range processes(f.dir) {
		cmd, _ := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
		f.Errorf("process %d was left behind: %q", pid, cmd)
	}
	for i, token := range f.tokens {
		if s, err := softtoken.Read(token); err != nil || s.Blinking && !r.blinks {
			f.Errorf("%s still blinks: %v", token, err)
		}
		other, err := os.OpenFile(f.devices[i], os.O_RDWR|unix.O_NOCTTY, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // unplugged
		}
		must(f, err)
		if err := unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil && r.message != busy {
			f.Errorf("%s is still locked: %v", f.devices[i], err)
		}
		other.Close()
	}
}

// button has the token wait for a touch, so that there is a moment at which something can happen. What happens
// looks into a helper process, which is root's right: it isn't dumpable.
func button(f *faulty) {
	needRoot(f)
	must(f, softtoken.Behave(f.tokens[0], func(b *softtoken.Behaviour) { b.Button = true }))
}

// hold is another program that uses the device and says so, as libfido2 does.
func hold(f *faulty) {
	other, err := os.OpenFile(f.devices[0], os.O_RDWR|unix.O_NOCTTY, 0)
	must(f, err)
	f.Cleanup(func() { other.Close() })
	must(f, unix.Flock(int(other.Fd()), unix.LOCK_EX))
}

// occupy is another program that waits for a touch and takes no lock, as browsers do.
func occupy(f *faulty) {
	button(f)
	other, err := os.OpenFile(f.devices[0], os.O_RDWR|unix.O_NOCTTY, 0)
	must(f, err)
	f.Cleanup(func() { other.Close() })
	send := func(channel, rest string) {
		frame := make([]byte, 65)
		copy(frame[1:], channel+rest)
		_, err := other.Write(frame)
		must(f, err)
	}
	reply := make([]byte, 64)
	send("\xff\xff\xff\xff", "\x86\x00\x08nonce678")
	_, err = other.Read(reply)
	must(f, err)
	channel := string(reply[15:19])
	send(channel, "\x90\x00\x01\x0b") // authenticatorSelection
	ctx, cancel := context.WithTimeout(f.Context(), patience)
	defer cancel()
	must(f, softtoken.AwaitBlink(ctx, f.tokens[0]))
	f.Cleanup(func() { send(channel, "\x91\x00\x00") })
}

// forbid takes the right to open the device from everybody but root.
func forbid(f *faulty) {
	needRoot(f)
	f.do("chown", "-R", "65534:65534", f.dir)
	must(f, os.Chmod(f.devices[0], 0o600))
	must(f, os.Chmod(f.devices[1], 0o666))
}

func asNobody(f *faulty, name string, args ...string) *exec.Cmd {
	return f.command("setpriv", append([]string{"--reuid", "65534", "--regid", "65534", "--clear-groups", "--", name}, args...)...)
}

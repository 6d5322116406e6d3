package hardware

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"github.com/fxamacker/cbor/v2"
	"golang.org/x/sys/unix"
)

const (
	busyPatience  = 2 * time.Second       // for another bkfs that is probing the same device
	busyInterval  = 50 * time.Millisecond // between two looks
	cancelPause   = 50 * time.Millisecond // CTAPHID_CANCEL is sent again: before the wait begins it is ignored
	cancelAtMost  = 5
	helperBadCall = 2
)

// HelperMain is the helper process: it reads one request from stdin, writes one answer to stdout, after a sign of
// life for each question the device has answered meanwhile, and returns the exit code. When stdin ends before that, the parent gave up or is gone: a touch request is taken back and the
// process exits.
func HelperMain(stdin io.Reader, stdout io.Writer) int {
	if err := harden(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	var r request
	err := readFrame(stdin, &r)
	if err == nil {
		err = r.check()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return helperBadCall
	}
	var device current
	answered, gone := make(chan *answer, 1), make(chan struct{})
	go func() {
		quiet()
		// Before the answer, and by the same goroutine: frames don't mix. A parent that is gone is seen below.
		answered <- carryOut(&device, &r, func() { _ = writeFrame(stdout, &answer{Version: wireVersion, Pending: true}) })
	}()
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		close(gone)
	}()
	select {
	case a := <-answered:
		a.Version = wireVersion
		defer a.wipe()
		if err := writeFrame(stdout, a); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return 0
	case <-gone:
		takeBack(&device, &r, answered, stdout)
		return 1
	}
}

// takeBack ends a wait for a touch. A device that was probed has told something by being cancelled: that it lives.
func takeBack(device *current, r *request, answered <-chan *answer, stdout io.Writer) {
	for range cancelAtMost {
		go device.cancel() // blocks while the device is being opened or closed
		select {
		case a := <-answered:
			if r.Op == opInspect {
				a.Version = wireVersion
				_ = writeFrame(stdout, a) // if the parent still listens
			}
			a.wipe()
			return
		case <-time.After(cancelPause):
		}
	}
}

// harden keeps the PIN and the secret out of core dumps and away from other processes of the user.
func harden() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the helper undumpable: %w", err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		return fmt.Errorf("forbid core dumps: %w", err)
	}
	return nil
}

// quiet keeps the goroutine on a thread of its own that no signal interrupts: libfido2 takes EINTR in a wait for
// a failure of the device. A fault in the C library then kills the process at once, which the parent reports.
func quiet() {
	runtime.LockOSThread()
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^uint64(0)
	}
	_ = unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil)
}

func carryOut(device *current, r *request, pending func()) *answer {
	a := &answer{}
	if a.Fault = library(); a.Fault != nil {
		return a
	}
	if r.Op == opList {
		a.Locations, a.Fault = locations()
		return a
	}
	if a.Fault = reachable(r.Device); a.Fault != nil {
		return a
	}
	switch r.Op {
	case opInspect:
		a.Properties, a.Verdicts, a.Fault = inspect(device, r, pending)
	case opSecret:
		a.AuthData, a.Secret, a.Fault = device.secret(r)
	case opCreate:
		a.AuthData, a.CredentialID, a.Fault = device.create(r)
	}
	if a.Fault == nil && r.Op != opInspect {
		a.AuthData, a.Fault = unwrap(a.AuthData)
	}
	return a
}

// unwrap takes the CBOR byte string's header off authenticator data as libfido2 gives it.
func unwrap(data []byte) ([]byte, *fault) {
	var raw []byte
	if err := cbor.Unmarshal(data, &raw); err != nil {
		return nil, &fault{Kind: faultCTAP, Code: codeRXInvalidCBOR}
	}
	return raw, nil
}

// reachable tells what libfido2 does not: it opens a device that is missing, forbidden or locked with the same
// bare error, the locked one after 21 s (it waits for the lock that it takes with flock(2)).
func reachable(path string) *fault {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrPermission):
		return &fault{Kind: faultPermission}
	case err != nil:
		return &fault{Kind: faultAbsent}
	case info.Mode()&os.ModeCharDevice == 0:
		return &fault{Kind: faultNotDevice}
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	switch {
	case errors.Is(err, os.ErrPermission):
		return &fault{Kind: faultPermission}
	case errors.Is(err, unix.EBUSY):
		return &fault{Kind: faultBusy}
	case err != nil:
		return &fault{Kind: faultAbsent, Text: err.Error()}
	}
	defer unix.Close(fd)
	for end := time.Now().Add(busyPatience); ; time.Sleep(busyInterval) {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EWOULDBLOCK {
			return nil
		}
		if time.Now().After(end) {
			return &fault{Kind: faultBusy}
		}
	}
}

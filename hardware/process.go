package hardware

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

const (
	cancelGrace = 400 * time.Millisecond // for the helper to take a touch request back
	killGrace   = time.Second            // for the kernel to end a killed helper; one stuck in a driver is left behind
	maxStderr   = 4 << 10
	slowFactor  = 4 // a device that answers slowly, but answers, gets its deadline anew, up to so often
)

// helper is one helper process.
type helper struct {
	cmd    *exec.Cmd
	in     *os.File // its stdin: held open until the answer is there, as a sign of life
	out    *os.File
	stderr tail
	exited chan error
}

// call runs one request in a helper process, which is gone when call returns. limit is for the next sign of life. It
// wipes the request's PIN.
func (t *Tokens) call(ctx context.Context, limit time.Duration, r *request) (*answer, error) {
	defer r.wipe()
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	r.Version = wireVersion
	h, err := t.start()
	if err != nil {
		return nil, err
	}
	type outcome struct {
		answer *answer
		err    error
	}
	done, alive := make(chan outcome, 1), make(chan struct{}, 1)
	go func() {
		a, err := h.exchange(r, alive)
		done <- outcome{a, err}
	}()
	deadline, begin := time.NewTimer(limit), time.Now()
	defer deadline.Stop()
	for err == nil {
		select {
		case o := <-done:
			if o.err != nil {
				h.end(killGrace)
				return nil, h.failure(o.err)
			}
			h.end(0) // it has closed the device before it answered
			return o.answer, o.answer.error()
		case <-alive:
			deadline.Reset(min(limit, slowFactor*limit-time.Since(begin)))
		case <-deadline.C:
			err = fmt.Errorf("%w (%v)", ErrTimeout, limit)
		case <-ctx.Done():
			err = ended(ctx)
		}
	}
	h.in.Close()
	grace := time.NewTimer(cancelGrace)
	defer grace.Stop()
	select {
	case o := <-done:
		h.end(0)
		if o.answer == nil {
			return nil, err
		}
		if r.Op == opInspect && o.answer.Fault == nil && ctx.Err() == nil {
			return o.answer, nil // it wanted a touch, and answered when it was cancelled
		}
		o.answer.wipe()
	case <-grace.C:
		h.end(0)
		if o := <-done; o.answer != nil { // the pipes are closed: it returns at once
			o.answer.wipe()
		}
	}
	return nil, err
}

func (a *answer) error() error {
	if a.Fault == nil {
		return nil
	}
	return a.Fault.err()
}

func (t *Tokens) start() (*helper, error) {
	childIn, in, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHelper, err)
	}
	out, childOut, err := os.Pipe()
	if err != nil {
		childIn.Close()
		in.Close()
		return nil, fmt.Errorf("%w: %w", ErrHelper, err)
	}
	h := &helper{in: in, out: out, exited: make(chan error, 1)}
	h.cmd = exec.Command(t.options.Exec[0], t.options.Exec[1:]...)
	h.cmd.Stdin, h.cmd.Stdout, h.cmd.Stderr = childIn, childOut, &h.stderr
	h.cmd.Env = helperEnv()
	h.cmd.WaitDelay = killGrace
	// A group of its own, so that Ctrl-C reaches the parent only, which takes the touch request back. Not a
	// session of its own: a session's leader would make a pseudo-terminal that it opens its terminal.
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = h.cmd.Start()
	childIn.Close()
	childOut.Close()
	if err != nil {
		in.Close()
		out.Close()
		return nil, fmt.Errorf("%w: %w", ErrHelper, err)
	}
	go func() { h.exited <- h.cmd.Wait() }()
	return h, nil
}

// helperEnv passes nothing on that could hold a secret, and stops Go from interrupting the thread that waits.
func helperEnv() []string {
	env := []string{"GODEBUG=asyncpreemptoff=1", "GOTRACEBACK=none"}
	for _, name := range []string{"LD_LIBRARY_PATH", "PATH", "TMPDIR"} {
		if v, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// exchange sends r and waits for the answer; every sign of life before it goes to alive.
func (h *helper) exchange(r *request, alive chan<- struct{}) (*answer, error) {
	if err := writeFrame(h.in, r); err != nil {
		return nil, err
	}
	for {
		var a answer
		err := readFrame(h.out, &a)
		if err == nil {
			err = a.check(r)
		}
		if err != nil {
			a.wipe()
			return nil, err
		}
		if !a.Pending {
			return &a, nil
		}
		select {
		case alive <- struct{}{}:
		default:
		}
	}
}

// end closes the helper's stdin, gives it time to leave by itself, and kills it.
func (h *helper) end(grace time.Duration) {
	h.in.Close()
	patience := time.NewTimer(grace)
	defer patience.Stop()
	select {
	case err := <-h.exited:
		h.exited <- err
	case <-patience.C:
		_ = h.cmd.Process.Kill()
		select {
		case err := <-h.exited:
			h.exited <- err
		case <-time.After(killGrace):
		}
	}
	h.out.Close()
}

// failure tells how a helper ended that gave no usable answer.
func (h *helper) failure(cause error) error {
	var status error
	select {
	case status = <-h.exited:
	default:
	}
	var exit *exec.ExitError
	if !errors.As(status, &exit) {
		return fmt.Errorf("%w: %w", ErrHelper, cause)
	}
	if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
		return fmt.Errorf("%w: it crashed (%v)", ErrHelper, ws.Signal())
	}
	if line := h.stderr.line(); line != "" {
		return fmt.Errorf("%w: %v: %s", ErrHelper, exit.ProcessState, line)
	}
	return fmt.Errorf("%w: %v", ErrHelper, exit.ProcessState)
}

// tail keeps the beginning of what a helper writes to stderr.
type tail struct{ b []byte }

func (t *tail) Write(p []byte) (int, error) {
	t.b = append(t.b, p[:min(len(p), maxStderr-len(t.b))]...)
	return len(p), nil
}

// line is the first one; read after the process has exited.
func (t *tail) line() string {
	first, _, _ := strings.Cut(strings.TrimSpace(string(t.b)), "\n")
	return strings.ToValidUTF8(first, "?")
}

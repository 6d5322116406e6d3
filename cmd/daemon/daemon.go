package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"bkfs/archive"
	"bkfs/archive/seal"
	"bkfs/archive/store"
	"bkfs/fs"
)

const (
	// The daemon must stay below 300 MiB. What it holds outside the Go heap is
	// small, so the collector gets most of it; it works harder near the limit
	// instead of growing.
	memoryLimit = 220 << 20
	gcPercent   = 75

	// lastCallers is how long a daemon that was told to end waits for programs
	// that still hold files of a detached mount.
	lastCallers = 10 * time.Second
)

// Options are what Run needs beside the job.
type Options struct {
	Job
	Store       store.Store
	Key         *seal.Key // Run destroys it
	ID          seal.RepositoryID
	RuntimeDirs []string
	Log         *slog.Logger

	// Describe turns an error into what the asking command prints.
	Describe func(error) *Failure
	// Opened is told the repository when it has been opened, and again when
	// everything is durable. Its errors are warnings, to be shown as they are.
	Opened func(*archive.Repository) error
	// Serving is called once, when the mount answers.
	Serving func(warnings []string)
	// Notice, if there is one, is told in a sentence what the user should know
	// and didn't ask for.
	Notice func(text string)
}

// mounted is a running daemon.
type mounted struct {
	Options
	repo    *archive.Repository
	fs      *fs.Server
	gone    chan struct{} // closed when the mount is
	control *server
	locker  *locker

	requests sync.WaitGroup // on repo, from the control socket
	gate     sync.Mutex     // guards closing, and Add on requests against Wait
	closing  bool

	finished chan struct{} // closed when the repository is
	err      error         // of closing, set before finished is closed
}

// Run opens, mounts and serves the repository until it is unmounted or ctx
// ends. It returns when everything is durable and closed.
func Run(ctx context.Context, o Options) error {
	debug.SetGCPercent(gcPercent)
	debug.SetMemoryLimit(memoryLimit)

	d := &mounted{Options: o, finished: make(chan struct{})}
	d.locker = &locker{d: d}
	warnings, err := d.start(ctx)
	if err != nil {
		return err
	}
	o.Log.Info("serving", "repository", o.Repository, "mountpoint", o.Mountpoint)
	if o.Serving != nil {
		o.Serving(warnings)
	}

	quiet, stopQuiet := context.WithCancel(context.WithoutCancel(ctx))
	var background sync.WaitGroup
	background.Go(func() { d.snapshotWhenQuiet(quiet) })
	background.Go(func() { d.locker.run(quiet) })
	select {
	case <-d.gone:
	case <-ctx.Done():
		d.leave()
	}
	stopQuiet()
	background.Wait()

	d.err = d.finish()
	close(d.finished)
	d.control.close() // whoever asked to unmount has the answer now
	d.tellClosed(d.locker.reason)
	return d.err
}

// tellClosed says how the mount ended, and why if it did so by itself.
func (d *mounted) tellClosed(reason string) {
	switch {
	case d.err != nil && reason != "":
		d.Log.Error("closed", "error", d.err, "because", reason)
	case d.err != nil:
		d.Log.Error("closed", "error", d.err)
	case reason != "":
		d.Log.Info("locked", "because", reason)
		d.notice("Locked %s, because %s. Everything is durable.", d.Mountpoint, reason)
	default:
		d.Log.Info("closed")
	}
}

func (d *mounted) notice(format string, args ...any) {
	if d.Notice != nil {
		d.Notice(fmt.Sprintf(format, args...))
	}
}

// start undoes what it did when it fails.
func (d *mounted) start(ctx context.Context) (warnings []string, err error) {
	d.repo, err = Open(ctx, archive.Options{
		Dir: d.Repository, Store: d.Store, Key: d.Key, ReadOnly: d.Job.Options.ReadOnly, IndexDir: d.IndexDir,
		Mountpoint: d.Mountpoint, Log: d.Log,
	})
	d.Key.Destroy()
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.repo.Close(context.WithoutCancel(ctx)))
		}
	}()
	if err := d.Opened(d.repo); err != nil {
		warnings = append(warnings, err.Error())
	}

	name, err := socketName(d.ID, d.Repository, d.Job.Options.ReadOnly)
	if err != nil {
		return nil, err
	}
	options := d.Job.Options
	options.Log = d.Log
	d.fs, err = fs.Mount(ctx, d.repo, d.Mountpoint, options)
	if errors.Is(err, unix.EINVAL) && len(options.Extra) > 0 {
		return nil, fmt.Errorf("the kernel refuses the mount options %q: %w", options.Extra, err)
	}
	if err != nil {
		return nil, err
	}
	if d.Lock.Force {
		if err := d.fs.CanAbort(); err != nil {
			return nil, errors.Join(fmt.Errorf("--force-lock can't work here: %w", err), d.fs.Unmount())
		}
	}
	d.gone = make(chan struct{})
	go func() { // ends with the mount, whoever unmounted it; Run waits for it
		d.fs.Wait()
		close(d.gone)
	}()
	hello := Hello{
		PID: os.Getpid(), Repository: d.Repository, ID: d.ID, Mountpoint: d.Mountpoint, Archive: options.Archive,
		ReadOnly: d.Job.Options.ReadOnly, Slot: d.Slot, Since: time.Now().UTC().Truncate(time.Second), Log: d.Job.Log,
	}
	d.control, err = newServer(d.RuntimeDirs, name, hello, d.handle, d.Describe, d.Log)
	if err != nil {
		return nil, errors.Join(err, d.fs.Unmount())
	}
	return warnings, nil
}

// handle answers the control socket.
func (d *mounted) handle(ctx context.Context, req Request, progress func(Progress)) (any, error) {
	if req.Op == OpUnmount {
		return d.unmount(req, progress)
	}
	if !d.enter() {
		return nil, fmt.Errorf("%s is being unmounted: %w", d.Mountpoint, archive.ErrClosed)
	}
	defer d.requests.Done()
	result, err := Execute(ctx, d.repo, req, progress)
	if s, ok := result.(Status); ok && err == nil {
		s.Lock = d.locker.status()
		return s, nil
	}
	return result, err
}

func (d *mounted) enter() bool {
	d.gate.Lock()
	defer d.gate.Unlock()
	if d.closing {
		return false
	}
	d.requests.Add(1)
	return true
}

// Unmounted is the result of OpUnmount.
type Unmounted struct {
	// Pending is set after a lazy unmount that isn't through: it closes when
	// its users, as far as they are known, have let go.
	Pending bool   `json:"pending,omitempty"`
	Users   []User `json:"users,omitempty"`
}

// unmount waits until everything is durable, unless the mount is busy.
func (d *mounted) unmount(req Request, progress func(Progress)) (any, error) {
	if err := d.fs.Unmount(); err != nil {
		users := usersOf(d.Mountpoint, req.PID)
		if !req.Lazy {
			return nil, &BusyError{d.Mountpoint, users, err}
		}
		if err := fs.Detach(d.Mountpoint); err != nil {
			return nil, fmt.Errorf("detach %s: %w", d.Mountpoint, err)
		}
		select {
		case <-d.gone:
		default:
			return Unmounted{true, users}, nil
		}
	}
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-d.finished:
			return Unmounted{}, d.err
		case <-tick.C:
			progress(Progress{Doing: "making everything durable"})
		}
	}
}

// leave ends the mount because the daemon has been told to end.
func (d *mounted) leave() {
	if d.fs.Unmount() == nil {
		<-d.gone
		return
	}
	d.Log.Warn("the mount is in use; detaching it", "users", usersOf(d.Mountpoint, 0))
	if err := fs.Detach(d.Mountpoint); err != nil {
		d.Log.Error("detach", "error", err)
	}
	select {
	case <-d.gone:
	case <-time.After(lastCallers):
		d.Log.Warn("programs still hold files; they will see errors")
		if err := d.fs.Abort(); err != nil {
			d.Log.Warn("what they write from now on is lost", "error", err)
		}
	}
}

// finish makes everything durable after the last file system request.
func (d *mounted) finish() error {
	ctx := context.Background() // nothing interrupts this but a second kill
	d.gate.Lock()
	d.closing = true
	d.gate.Unlock()
	d.control.cancel() // ends what the control socket is doing with the repository
	d.requests.Wait()

	var errs []error
	if d.SnapshotOnUnmount && !d.Job.Options.ReadOnly {
		errs = append(errs, d.snapshotChanged(ctx, 0))
	}
	errs = append(errs, d.repo.Close(ctx))
	if err := d.Opened(d.repo); err != nil {
		d.Log.Warn("remember", "error", err)
	}
	return errors.Join(errs...)
}

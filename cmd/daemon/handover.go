package daemon

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"bkfs/archive/seal"
	"bkfs/fs"
)

// A mount in the background is a new process in a session of its own. What it
// is to do, and the key, go to it over one pipe; it says over another that it
// serves, or why not. Nothing secret is in its arguments or environment.
const (
	jobFD    = 3
	reportFD = 4

	maxJob = 64 << 10 // bytes
)

// Job is what a daemon is to do.
type Job struct {
	Repository string `json:"repository"` // absolute path
	Slot       string `json:"slot"`       // the key slot that opened
	IndexDir   string `json:"index_dir,omitempty"`
	Log        string `json:"log,omitempty"`
	Token      *Token `json:"token,omitempty"` // that unlocked, if it is to be watched

	Mount
}

// Mount says what to mount where and how.
type Mount struct {
	Mountpoint        string        `json:"mountpoint"` // absolute path
	Options           fs.Options    `json:"options"`
	SnapshotOnUnmount bool          `json:"snapshot_on_unmount"`
	SnapshotWhenQuiet time.Duration `json:"snapshot_when_quiet"` // 0 is never
	Lock              Lock          `json:"lock"`
}

// report is the daemon's one answer to its parent.
type report struct {
	Serving  bool     `json:"serving"`
	Warnings []string `json:"warnings,omitempty"`
	Failure  *Failure `json:"failure,omitempty"`
}

// Start runs cmd as a daemon, gives it the job and the key, and returns its
// warnings as soon as it serves. A daemon that can't is a *Failure. When ctx
// ends before, the daemon is told to stop and waited for.
func Start(ctx context.Context, cmd *exec.Cmd, job Job, key *seal.Key) (warnings []string, err error) {
	jobRead, jobWrite, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	defer jobWrite.Close()
	reportRead, reportWrite, err := os.Pipe()
	if err != nil {
		jobRead.Close()
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	defer reportRead.Close()

	cmd.ExtraFiles = []*os.File{jobRead, reportWrite} // jobFD, reportFD
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	cmd.Dir = "/"
	err = cmd.Start()
	jobRead.Close()
	reportWrite.Close()
	if err != nil {
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	if err := sendJob(jobWrite, job, key); err != nil && !errors.Is(err, syscall.EPIPE) {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // err says more
		return nil, fmt.Errorf("start the daemon: %w", err)
	}
	jobWrite.Close()

	var r report
	err = json.NewDecoder(io.LimitReader(reportRead, maxJob)).Decode(&r)
	switch {
	case err == nil && r.Serving && ctx.Err() == nil:
		return r.Warnings, cmd.Process.Release()
	case err == nil && r.Serving: // interrupted just now: AfterFunc has told it to stop
		_ = cmd.Wait()
		return nil, ctx.Err()
	}
	waitErr := cmd.Wait()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err == nil && r.Failure != nil:
		return nil, r.Failure
	case waitErr != nil:
		return nil, fmt.Errorf("the daemon ended before it served: %w", waitErr)
	default:
		return nil, fmt.Errorf("the daemon ended before it served")
	}
}

// sendJob writes a length, that much JSON, then the key.
func sendJob(w io.Writer, job Job, key *seal.Key) error {
	raw, err := json.Marshal(job)
	if err != nil {
		return err
	}
	buf := binary.BigEndian.AppendUint32(make([]byte, 0, 4+len(raw)+seal.KeySize), uint32(len(raw)))
	buf = append(append(buf, raw...), key.Bytes()...)
	defer seal.Wipe(buf)
	_, err = w.Write(buf)
	return err
}

func readJob(r io.Reader) (Job, *seal.Key, error) {
	var job Job
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return job, nil, fmt.Errorf("read the job: %w", err)
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxJob {
		return job, nil, fmt.Errorf("read the job: %d bytes", n)
	}
	buf := make([]byte, n+seal.KeySize)
	if _, err := io.ReadFull(r, buf); err != nil {
		return job, nil, fmt.Errorf("read the job: %w", err)
	}
	key, err := seal.KeyFrom(buf[n:]) // wipes its half of buf
	if err != nil {
		return job, nil, err
	}
	d := json.NewDecoder(bytes.NewReader(buf[:n]))
	d.DisallowUnknownFields()
	if err := d.Decode(&job); err != nil {
		key.Destroy()
		return job, nil, fmt.Errorf("read the job: %w", err)
	}
	return job, key, nil
}

// Handover is the daemon's end of the pipes. Report must be called once.
type Handover struct {
	Job Job
	Key *seal.Key

	report *os.File
}

// Receive is how a process started by Start begins.
func Receive() (*Handover, error) {
	syscall.CloseOnExec(jobFD)
	syscall.CloseOnExec(reportFD)
	in := os.NewFile(jobFD, "job")
	defer in.Close()
	h := &Handover{report: os.NewFile(reportFD, "report")}
	var err error
	if h.Job, h.Key, err = readJob(in); err != nil {
		return nil, fmt.Errorf("this command is run by `bkfs mount` only: %w", err)
	}
	return h, nil
}

// Serving tells the parent, which then returns to its user.
func (h *Handover) Serving(warnings []string) { h.send(report{Serving: true, Warnings: warnings}) }

// Failed tells the parent why there is no mount. After Serving it does nothing.
func (h *Handover) Failed(f *Failure) { h.send(report{Failure: f}) }

func (h *Handover) send(r report) {
	if h.report == nil {
		return
	}
	// Nobody reads if the parent was killed; then the mount stays.
	_ = json.NewEncoder(h.report).Encode(r)
	h.report.Close()
	h.report = nil
}

package daemon

import (
	"encoding/json"
	"fmt"
)

// One connection carries one request, a line of JSON. The daemon answers with
// lines of JSON: any number with progress, then exactly one with a result or a
// failure, and closes.
const (
	protocol   = 1
	maxRequest = 1 << 20  // bytes; a request holds names of at most 255 bytes
	maxEvent   = 64 << 20 // bytes; a list of every snapshot, or of all damage
)

// Op names what is asked for.
type Op string

const (
	OpStatus         Op = "status"
	OpSync           Op = "sync"
	OpStats          Op = "stats"
	OpCheck          Op = "check"
	OpSnapshotList   Op = "snapshot-list"
	OpSnapshotCreate Op = "snapshot-create"
	OpSnapshotDelete Op = "snapshot-delete"
	OpSnapshotRename Op = "snapshot-rename"
	OpUnmount        Op = "umount" // the daemon only: see Execute
)

// Request is what a command asks of a daemon, or of Execute.
type Request struct {
	Op       Op       `json:"op"`
	Archive  string   `json:"archive,omitempty"`
	Name     string   `json:"name,omitempty"`
	Names    []string `json:"names,omitempty"` // snapshots to delete
	NewName  string   `json:"new_name,omitempty"`
	ReadData bool     `json:"read_data,omitempty"`
	Lazy     bool     `json:"lazy,omitempty"`
	PID      int      `json:"pid,omitempty"` // of who asks, who isn't to be named as a user of the mount
}

// ReadOnly tells whether the request leaves the repository as it is, so that
// it may run beside a writer.
func (r Request) ReadOnly() bool {
	switch r.Op {
	case OpStatus, OpStats, OpCheck, OpSnapshotList:
		return true
	}
	return false
}

// Progress tells how far a long operation is. Total is 0 when unknown.
type Progress struct {
	Doing string `json:"doing"`
	Done  uint64 `json:"done"`
	Total uint64 `json:"total"`
}

// Failure is an error on its way between processes: what the command that
// asked will print and exit with.
type Failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (f *Failure) Error() string { return f.Message }

// event is one line from the daemon.
type event struct {
	Progress *Progress       `json:"progress,omitempty"`
	Failure  *Failure        `json:"failure,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
}

// decodeResult is for the side that asked.
func decodeResult(raw json.RawMessage, into any) error {
	if into == nil || len(raw) == 0 {
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read the daemon's answer: %w", err)
	}
	return nil
}

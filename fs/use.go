package fs

import (
	"sync/atomic"
	"time"

	"bkfs/archive"
)

// use is when programs last used the mount and what they have open. What the
// kernel answers from its caches isn't seen; opening and closing always are.
// Asking for free space (statfs) isn't use: monitors do that all day. Nor is
// what the kernel does by itself: FORGET, INTERRUPT.
type use struct {
	began time.Time
	last  atomic.Int64 // since began
	open  atomic.Int64 // handles of files and directories
}

func (u *use) touch() { u.last.Store(int64(time.Since(u.began))) }

func (u *use) opened() { u.open.Add(1) }

// closed counts as use: from then on the handle isn't open.
func (u *use) closed() {
	u.touch()
	u.open.Add(-1)
}

// An openFile is a file and the node that it was opened as.
type openFile struct {
	*archive.File
	node nodeID
}

// handle returns what a program has open as fh, or nil.
func (f *filesystem) handle(fh uint64) *openFile {
	f.use.touch()
	return f.files.get(fh)
}

// Idle tells how long no program has used the mount. A file that is open, or a
// program's working directory, isn't use by itself: see Open and Unmount.
func (s *Server) Idle() time.Duration {
	u := &s.fs.use
	return time.Since(u.began) - time.Duration(u.last.Load())
}

// Open counts the files and directories that programs have open, mappings
// included. Working directories aren't known here: Unmount answers ErrBusy.
func (s *Server) Open() int { return int(s.fs.use.open.Load()) }

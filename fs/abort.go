package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// writeBackPatience bounds how long Abort waits for what programs changed
// through mappings.
const writeBackPatience = 10 * time.Second

// ErrNoAbort is what CanAbort answers to a user who isn't root where the
// kernel's list of FUSE connections isn't mounted.
var ErrNoAbort = errors.New("the kernel's list of FUSE connections can't be used")

// CanAbort tells whether Abort will work.
func (s *Server) CanAbort() error {
	if os.Geteuid() == 0 {
		return nil
	}
	if err := unix.Access(s.abortFile(), unix.W_OK); err != nil {
		return fmt.Errorf("%s: %w: %w", s.abortFile(), ErrNoAbort, err)
	}
	return nil
}

// Abort ends the mount under its users and returns when the last request was
// answered. What programs changed through mappings of open files is written
// first, and the kernel's cache of these files is dropped. Then the mountpoint
// is empty, and all that is still open answers ENOTCONN; access to a mapping
// is SIGBUS.
func (s *Server) Abort() error {
	flushed := make(chan struct{})
	go func() { // ends with the connection, at the latest
		defer close(flushed)
		s.writeBack()
	}()
	select {
	case <-flushed:
	case <-s.done:
	case <-time.After(writeBackPatience):
		s.fs.log.Error("mapped files aren't written in time")
	}
	err := s.cut()
	if err != nil {
		return fmt.Errorf("abort %s: %w", s.dir, err)
	}
	<-flushed
	s.Wait()
	return nil
}

// writeBack makes the kernel write and drop what it has cached of open files.
func (s *Server) writeBack() {
	seen := make(map[nodeID]bool)
	for _, f := range s.fs.files.all() {
		if seen[f.node] {
			continue
		}
		seen[f.node] = true
		if st := s.server.InodeNotify(uint64(f.node), 0, 0); st != fuse.OK && st != fuse.ENOENT {
			s.fs.log.Warn("drop what is cached of an open file", "node", uint64(f.node), "status", st.String())
		}
	}
}

// cut ends the connection and takes the mount away. Root needs nothing but the
// mountpoint for it, if that is still ours.
func (s *Server) cut() error {
	err := os.WriteFile(s.abortFile(), []byte("1"), 0)
	at, listErr := mountsAt(s.dir)
	if listErr != nil {
		return errors.Join(err, listErr)
	}
	ours := len(at) > 0 && at[len(at)-1].device == s.device
	switch {
	case err == nil && !ours:
		return nil // somebody has taken it away
	case err == nil:
		return Detach(s.dir)
	case !ours:
		return err
	}
	return unix.Unmount(s.dir, unix.MNT_FORCE|unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
}

func (s *Server) abortFile() string {
	_, minor, _ := strings.Cut(s.device, ":")
	return filepath.Join("/sys/fs/fuse/connections", minor, "abort")
}

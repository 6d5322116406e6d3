package archive

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// A lockFile keeps a second writer away. The kernel drops the lock when the
// process ends, however it ends.
type lockFile struct{ f *os.File }

// lockHolder is what the file says of who has it; advice for people only.
type lockHolder struct {
	PID        int    `json:"pid"`
	Host       string `json:"host"`
	Mountpoint string `json:"mountpoint,omitempty"`
}

func takeLock(dir, mountpoint string) (*lockFile, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock repository: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock repository: %w", err)
		}
		var h lockHolder
		if json.NewDecoder(f).Decode(&h) != nil {
			h = lockHolder{} // being written, or by another program
		}
		return nil, &LockedError{PID: h.PID, Host: h.Host, Mountpoint: h.Mountpoint}
	}
	host, _ := os.Hostname() // advice only
	text, err := json.Marshal(lockHolder{PID: os.Getpid(), Host: host, Mountpoint: mountpoint})
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt(append(text, '\n'), 0)
	}
	if err != nil && !errors.Is(err, unix.ENOSPC) {
		f.Close()
		return nil, fmt.Errorf("lock repository: %w", err)
	}
	return &lockFile{f}, nil
}

func (l *lockFile) release() error {
	if l == nil {
		return nil
	}
	return errors.Join(l.f.Truncate(0), l.f.Close())
}

// configLockName is the file that is locked while the config changes. The lock
// of the repository isn't: a mount has that for as long as it runs.
const configLockName = "lock-config"

// configLockPause is the time between two tries: flock can't be interrupted.
const configLockPause = 20 * time.Millisecond

// takeConfigLock waits for whoever else changes the config. Closing it unlocks.
func takeConfigLock(ctx context.Context, dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, configLockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the config: %w", err)
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock the config: %w", err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("lock the config: %w", ctx.Err())
		case <-time.After(configLockPause):
		}
	}
}

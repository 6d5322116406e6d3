package daemon

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"bkfs/fs"
)

// lockInterval is how often a mount that is to be locked is looked at while it
// is in use: a working directory that is left makes no event.
const lockInterval = time.Second

// Lock says when a daemon ends its mount by itself.
type Lock struct {
	OnRemoval   bool          `json:"on_removal,omitempty"`   // of Job.Token
	IdleTimeout time.Duration `json:"idle_timeout,omitempty"` // 0 is never
	Force       bool          `json:"force,omitempty"`        // also under open files
}

// LockStatus is a Lock as status shows it.
type LockStatus struct {
	Token       string        `json:"token,omitempty"` // whose removal locks
	IdleTimeout time.Duration `json:"idle_timeout,omitempty"`
	Force       bool          `json:"force"`

	// Removed is since when the token is away and the mount waits for its
	// users.
	Removed *time.Time `json:"removed,omitempty"`
	Users   []User     `json:"users,omitempty"` // as far as they are known
}

// locker ends the mount when the token is unplugged or when nobody has used it
// for long enough: flush and unmount as bkfs umount does, after which the
// process ends and the keys with it.
type locker struct {
	d *mounted

	mu      sync.Mutex
	removed time.Time // zero while the token is there

	said   bool   // that it waits, or why it can't be done; of run only
	reason string // why the mount was ended; to be read when run has returned
}

// run returns when it has ended the mount, or with ctx.
func (l *locker) run(ctx context.Context) {
	var background sync.WaitGroup
	defer background.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	changes := make(chan bool)
	if l.d.Lock.OnRemoval {
		background.Go(func() { l.d.Token.watch(ctx, l.d.Log, changes) })
	}
	idle := time.NewTimer(l.d.Lock.IdleTimeout)
	defer idle.Stop()
	if l.d.Lock.IdleTimeout == 0 {
		idle.Stop()
	}
	waiting := time.NewTicker(lockInterval)
	defer waiting.Stop()
	for ended := false; !ended; {
		select {
		case <-ctx.Done():
			return
		case plugged := <-changes:
			ended = l.plugged(plugged)
		case <-waiting.C:
			ended = l.since() != nil && l.end(l.unplugged())
		case <-idle.C:
			left := l.d.Lock.IdleTimeout - l.d.fs.Idle()
			if left <= 0 {
				ended = l.end(fmt.Sprintf("nothing was used for %s", l.d.Lock.IdleTimeout))
				left = l.d.Lock.IdleTimeout // what is open is use until now
			}
			idle.Reset(left)
		}
	}
}

func (l *locker) unplugged() string { return fmt.Sprintf("the token %s was unplugged", l.d.Token.Name) }

// plugged takes note of the token and ends the mount, if it can, without it.
func (l *locker) plugged(plugged bool) (ended bool) {
	l.mu.Lock()
	l.removed = time.Time{}
	if !plugged {
		l.removed = time.Now()
	}
	l.mu.Unlock()
	l.said = false
	if plugged {
		l.d.Log.Info("the token is back; the mount stays", "token", l.d.Token.Name)
		l.d.notice("The token %s is back; %s stays.", l.d.Token.Name, l.d.Mountpoint)
		return false
	}
	l.d.Log.Info("the token was unplugged; locking", "token", l.d.Token.Name)
	return l.end(l.unplugged())
}

// since is when the token was unplugged, while it is away.
func (l *locker) since() *time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.removed.IsZero() {
		return nil
	}
	at := l.removed.UTC().Truncate(time.Second)
	return &at
}

// end unmounts, and tells whether the mount is gone. While it is in use it
// stays, unless it is to be ended by force.
func (l *locker) end(why string) bool {
	select {
	case <-l.d.gone: // somebody else has ended it
		return true
	default:
	}
	err := fs.ErrBusy
	if l.d.fs.Open() == 0 {
		err = l.d.fs.Unmount()
	}
	if errors.Is(err, fs.ErrBusy) && l.d.Lock.Force {
		l.d.Log.Warn("the mount is in use; ending it under its users", "because", why, "users", usersOf(l.d.Mountpoint, 0))
		err = l.d.fs.Abort()
	}
	if err == nil {
		l.reason = why
		return true
	}
	switch {
	case l.said:
	case !errors.Is(err, fs.ErrBusy):
		l.said = true
		l.d.Log.Error("can't lock; trying again", "because", why, "error", err)
		l.d.notice("Can't lock %s (%v); trying again.", l.d.Mountpoint, err)
	case l.since() != nil:
		l.said = true
		l.d.Log.Warn("the mount is in use; it is locked as soon as nobody uses it", "because", why, "users", usersOf(l.d.Mountpoint, 0))
		l.d.notice("In use: %s is locked as soon as nobody uses it, because %s.", l.d.Mountpoint, why)
	}
	return false
}

// status is nil for a mount that isn't locked by itself.
func (l *locker) status() *LockStatus {
	lock := l.d.Lock
	if !lock.OnRemoval && lock.IdleTimeout == 0 {
		return nil
	}
	s := &LockStatus{IdleTimeout: lock.IdleTimeout, Force: lock.Force}
	if lock.OnRemoval {
		s.Token = l.d.Token.Name
	}
	if s.Removed = l.since(); s.Removed != nil {
		s.Users = usersOf(l.d.Mountpoint, 0)
	}
	return s
}

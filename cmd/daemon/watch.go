package daemon

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// lookInterval is how often a token is looked for where the kernel sends no
// events.
const lookInterval = 2 * time.Second

// watch tells over changes that the token was removed (false), then that it
// came back (true), and so on, until ctx ends. It never opens the device. A
// token that was away for however short was removed.
func (t *Token) watch(ctx context.Context, log *slog.Logger, changes chan<- bool) {
	removals := make(chan string)
	path := t.resolved()
	watching, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := watchDirs(watching, removals, filepath.Dir(t.Path), filepath.Dir(path)); err != nil {
			log.Info("no events for the token; it is looked for now and then", "error", err)
		}
	}()
	defer func() {
		stop()
		<-ended
	}()

	tick := time.NewTicker(lookInterval)
	defer tick.Stop()
	plugged := true
	tell := func(now bool) {
		plugged = now
		select {
		case changes <- now:
		case <-ctx.Done():
		}
	}
	for {
		switch {
		case plugged && !t.plugged():
			tell(false)
		case !plugged && t.back():
			path = t.resolved()
			tell(true)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case removed := <-removals:
			if plugged && removed == path {
				tell(false)
			}
		}
	}
}

// watchDirs sends the path of whatever is removed from dirs, and an empty one
// for other changes of what is there, until ctx ends. A library would ask for
// writes too: every line on a terminal is one in /dev/pts.
func watchDirs(ctx context.Context, removals chan<- string, dirs ...string) error {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return os.NewSyscallError("inotify_init1", err)
	}
	f := os.NewFile(uintptr(fd), "inotify")
	defer f.Close()
	defer context.AfterFunc(ctx, func() { f.Close() })() // ends Read
	const removal = unix.IN_DELETE | unix.IN_MOVED_FROM
	by := make(map[int32]string)
	for _, dir := range dirs {
		wd, err := unix.InotifyAddWatch(fd, dir, removal|unix.IN_CREATE|unix.IN_MOVED_TO|unix.IN_ONLYDIR)
		if err != nil {
			return fmt.Errorf("watch %s: %w", dir, err)
		}
		by[int32(wd)] = dir
	}
	buf := make([]byte, 4096)
	for {
		n, err := f.Read(buf)
		if ctx.Err() != nil || errors.Is(err, os.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read inotify events: %w", err)
		}
		// struct inotify_event, inotify(7): wd, mask, cookie, len, name.
		for rest := buf[:n]; len(rest) >= unix.SizeofInotifyEvent; {
			wd, mask := int32(binary.NativeEndian.Uint32(rest)), binary.NativeEndian.Uint32(rest[4:])
			end := min(unix.SizeofInotifyEvent+int(binary.NativeEndian.Uint32(rest[12:])), len(rest))
			name, _, _ := bytes.Cut(rest[unix.SizeofInotifyEvent:end], []byte{0})
			rest = rest[end:]
			removed := ""
			if mask&removal != 0 {
				removed = filepath.Join(by[wd], string(name))
			}
			select {
			case removals <- removed:
			case <-ctx.Done():
				return nil
			}
		}
	}
}

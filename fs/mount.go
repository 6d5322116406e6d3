package fs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

const (
	maxWrite      = 1 << 20 // bytes a request, the kernel's usual limit
	readAheadKiB  = 1024    // without it reads stay at 128 KiB
	maxBackground = 64      // requests that readahead may have on the way
)

// capabilities are asked of the kernel beside go-fuse's own: umasks and
// set-user-ID bits are left to us. Two are left alone: the writeback cache
// would keep from us what a snapshot must hold, and after ATOMIC_O_TRUNC the
// kernel goes on trusting a cached set-user-ID bit.
const capabilities = fuse.CAP_DONT_MASK | fuse.CAP_HANDLE_KILLPRIV_V2 | fuse.CAP_SETXATTR_EXT |
	fuse.CAP_DIRECT_IO_ALLOW_MMAP | fuse.CAP_ASYNC_DIO

// ErrBusy is what Unmount answers while something in the mount is in use.
var ErrBusy = errors.New("mountpoint is in use")

// A Server serves a repository at a mountpoint. It doesn't own the repository:
// close that after Wait.
type Server struct {
	dir    string
	device string // major:minor of the mount
	server *fuse.Server
	fs     *filesystem
	done   chan struct{} // closed when the last request was answered

	unmounting sync.Mutex // go-fuse's Unmount isn't for several at a time
}

// Mount mounts repo at dir and returns when it is being served. dir must be
// fit for it: CheckMountpoint, which Mount calls itself. ctx only bounds the
// mounting.
func Mount(ctx context.Context, repo *archive.Repository, dir string, o Options) (*Server, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	path, err := CheckMountpoint(dir)
	if err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := newFilesystem(base, repo, uint32(os.Geteuid()), uint32(os.Getegid()), o.Log)
	if o.Archive != "" {
		tree, err := repo.Live(o.Archive)
		if err != nil {
			cancel()
			return nil, fmt.Errorf("mount %s: %w", path, err)
		}
		f.single = f.views.enter(tree, true, rootNode, "")
	}
	if o.Guard {
		if err := Guard(path); err != nil {
			cancel()
			return nil, err
		}
	}
	server, err := fuse.NewServer(f, path, o.fuse(path))
	if err != nil {
		cancel()
		return nil, fmt.Errorf("mount %s: %w", path, err)
	}
	closeOnExec()
	repo.OnChange(f.notify.changed)
	s := &Server{dir: path, server: server, fs: f, done: make(chan struct{})}
	go f.notifyChanges(server)
	go f.prefetchFiles(server)
	go func() {
		defer close(s.done)
		server.Serve()
		f.notify.close()
		f.prefetch.close()
		f.files.drain(func(o *openFile) { o.Release() })
		cancel()
	}()
	if err := server.WaitMount(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount %s: %w", path, err), s.Unmount())
	}
	mounts, err := mountsAt(path)
	if err == nil && len(mounts) == 0 {
		err = fmt.Errorf("mount %s: it isn't in the mount table", path)
	}
	if err != nil {
		return nil, errors.Join(err, s.Unmount())
	}
	s.device = mounts[len(mounts)-1].device
	setReadAhead(s.device, o.Log)
	return s, nil
}

// Dir returns the real path of the mountpoint.
func (s *Server) Dir() string { return s.dir }

// Unmount takes the mount away and returns when everything asked for through
// it was answered. While something there is in use it answers ErrBusy.
func (s *Server) Unmount() error {
	s.unmounting.Lock()
	defer s.unmounting.Unlock()
	select {
	case <-s.done:
		return nil
	default:
	}
	err := s.server.Unmount()
	switch {
	case err == nil:
	case errors.Is(err, unix.EINVAL): // it isn't mounted any more
	case errors.Is(err, unix.EBUSY), strings.Contains(err.Error(), "busy"): // fusermount3 tells in words only
		return fmt.Errorf("unmount %s: %w", s.dir, ErrBusy)
	default:
		return fmt.Errorf("unmount %s: %w", s.dir, err)
	}
	s.Wait()
	return nil
}

// Wait returns when the mount is gone, whoever unmounted it, and the last
// request was answered.
func (s *Server) Wait() { <-s.done }

// fuse returns go-fuse's options. Root mounts by itself; others need
// fusermount3, which ignores suid and dev.
func (o *Options) fuse(path string) *fuse.MountOptions {
	level := slog.LevelWarn
	if o.Debug {
		level = slog.LevelDebug
	}
	m := &fuse.MountOptions{
		AllowOther:               o.AllowOther,
		Name:                     strings.TrimPrefix(mountType, "fuse."),
		FsName:                   o.FsName,
		MaxWrite:                 maxWrite,
		MaxBackground:            maxBackground,
		DisableSplice:            true, // our bytes are in memory
		ExplicitDataCacheControl: true, // a new mtime doesn't mean that others wrote
		EnableAcl:                !o.NoPermissions,
		ExtraCapabilities:        capabilities,
		DisabledCapabilities:     fuse.CAP_PASSTHROUGH, // it costs overlayfs a level
		Debug:                    o.Debug,
		Logger:                   slog.NewLogLogger(o.Log.Handler(), level),
	}
	if m.FsName == "" {
		m.FsName = filepath.Base(path)
	}
	bits, rest := o.flags()
	if !o.NoPermissions {
		rest = append(rest, "default_permissions")
	}
	if os.Geteuid() == 0 {
		m.DirectMountStrict = true
		m.DirectMountFlags = bits
		m.IDMappedMount = o.IDMapped
	} else {
		m.Options = append(m.Options, "noatime")
		for _, opt := range o.Extra {
			if f, ok := mountFlags[opt]; ok && f.bit != 0 {
				m.Options = append(m.Options, opt)
			}
		}
		if o.ReadOnly {
			m.Options = append(m.Options, "ro")
		}
	}
	m.Options = append(m.Options, rest...)
	return m
}

// closeOnExec keeps programs that we start from inheriting the connection: the
// mount would outlive us. go-fuse forgets it when it mounts by itself.
func closeOnExec() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == unix.Mkdev(10, 229) {
			unix.CloseOnExec(fd)
		}
	}
}

// setReadAhead raises how far the kernel reads ahead, as far as we are allowed.
func setReadAhead(device string, log *slog.Logger) {
	name := filepath.Join("/sys/class/bdi", device, "read_ahead_kb")
	if err := os.WriteFile(name, []byte(strconv.Itoa(readAheadKiB)), 0); err != nil {
		log.Debug("set readahead", slog.Any("error", err))
	}
}

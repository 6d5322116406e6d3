package fs

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	// forever is how long the kernel may trust what only it can change, and
	// snapshots, which nothing can.
	forever = 24 * time.Hour
	// briefly is for archives and snapshots, which come and go by other ways.
	briefly = time.Second

	blockSize = 4096
)

// A filesystem answers the kernel's requests.
type filesystem struct {
	fuse.RawFileSystem // answers ENOSYS to what isn't here

	// ctx ends when the mount has gone. Requests aren't cancelled one by one:
	// the kernel sends an interrupt for any signal, and no program expects
	// EINTR from a file.
	ctx      context.Context
	repo     *archive.Repository
	log      *slog.Logger
	views    *viewTable
	use      use
	files    handleTable[openFile]
	dirs     handleTable[listing]
	notify   *notifier
	prefetch *prefetcher
	single   *view // with Options.Archive: what the root shows
	root     rootAttr
	stripped atomic.Uint64 // the node whose capabilities went last
}

// rootAttr is the mount root's own attributes. The root is in no archive, so
// that they last as long as the mount.
type rootAttr struct {
	mu   sync.Mutex
	attr archive.Attr
}

func newFilesystem(ctx context.Context, repo *archive.Repository, uid, gid uint32, log *slog.Logger) *filesystem {
	now := archive.TimeOf(time.Now())
	f := &filesystem{
		RawFileSystem: fuse.NewDefaultRawFileSystem(),
		ctx:           ctx,
		repo:          repo,
		log:           log,
		views:         newViewTable(),
		notify:        newNotifier(),
		prefetch:      newPrefetcher(),
		use:           use{began: time.Now()},
	}
	f.root.attr = archive.Attr{
		Mode: archive.ModeDir | 0o755, Nlink: 1, UID: uid, GID: gid,
		Atime: now, Mtime: now, Ctime: now, Btime: now,
	}
	return f
}

// String is the file system's name in the mount table: fuse.bkfs.
func (f *filesystem) String() string { return "bkfs" }

// StatFs tells the truth about the backing store.
func (f *filesystem) StatFs(_ <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	s, err := f.repo.Space(f.ctx)
	if err != nil {
		return f.status("statfs", in.NodeId, err)
	}
	*out = fuse.StatfsOut{
		Blocks:  s.Total / blockSize,
		Bfree:   s.Free / blockSize,
		Bavail:  s.Available / blockSize,
		Bsize:   blockSize,
		Frsize:  blockSize,
		NameLen: archive.NameMax,
	}
	return fuse.OK
}

package fs

import (
	"log/slog"
	"sync"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

const (
	prefetchSize  = 128 << 10 // of a file, at most
	prefetchAhead = 32        // files that nobody has opened yet, of one directory
	prefetchDirs  = 64        // directories that are remembered
	trustLimit    = 256       // files
)

// A prefetcher stores small files of snapshots in the kernel's cache before
// they are read: whoever reads a directory's files one after the other, as tar
// does, then waits for one request a file, the OPEN, instead of two. Snapshots
// never change, so what was stored can't be old.
//
// It fetches from a goroutine of its own, for the reason that a notifier has.
type prefetcher struct {
	wake chan struct{}
	stop chan struct{}
	done chan struct{}

	mu    sync.Mutex
	dirs  []*listedDir // as they were listed, the oldest first
	files map[nodeID]*listedFile
	queue []*listedDir
	trust int // how many fetched files were opened, less those that nobody opened
}

// A listedDir is the small files of a directory that the kernel has just read.
type listedDir struct {
	id     nodeID
	files  []*listedFile
	next   int // the first that wasn't looked at
	ahead  int // fetched and not opened
	opened int
	queued bool
}

type listedFile struct {
	dir             *listedDir
	id              nodeID
	opened, fetched bool
}

func newPrefetcher() *prefetcher {
	return &prefetcher{
		wake:  make(chan struct{}, 1),
		stop:  make(chan struct{}),
		done:  make(chan struct{}),
		files: make(map[nodeID]*listedFile),
	}
}

// worth tells whether an entry of v may be fetched.
func (*prefetcher) worth(v *view, a *archive.Attr) bool {
	return !v.live && a.Mode&archive.ModeType == archive.ModeFile && a.Size > 0 && a.Size <= prefetchSize
}

// listed notes files of a directory that the kernel gets to know, beside those
// that it was told before.
func (p *prefetcher) listed(dir nodeID, ids []nodeID) {
	if len(ids) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var d *listedDir
	if n := len(p.dirs); n > 0 && p.dirs[n-1].id == dir {
		d = p.dirs[n-1]
	} else {
		d = &listedDir{id: dir}
		p.dirs = append(p.dirs, d)
	}
	for _, id := range ids {
		l := &listedFile{dir: d, id: id}
		if old := p.files[id]; old != nil {
			l.opened, l.fetched = true, true // there is nothing left to do for it
		}
		p.files[id] = l
		d.files = append(d.files, l)
	}
	if len(p.dirs) > prefetchDirs {
		p.forget(p.dirs[0])
		p.dirs = p.dirs[1:]
	}
}

// forget drops a directory. mu is held.
func (p *prefetcher) forget(d *listedDir) {
	for _, l := range d.files {
		if p.files[l.id] == l {
			delete(p.files, l.id)
		}
	}
	p.trust = max(p.trust-d.ahead, -trustLimit)
	d.next = len(d.files)
}

// opened notes that a file is about to be read. The second of a directory has
// the others fetched, or the first when that has been of use lately.
func (p *prefetcher) opened(id nodeID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.files[id]
	if l == nil || l.opened {
		return
	}
	d := l.dir
	l.opened = true
	d.opened++
	if l.fetched {
		d.ahead--
		p.trust = min(p.trust+1, trustLimit)
	}
	if d.queued || d.next == len(d.files) || d.ahead > prefetchAhead/2 || d.opened == 1 && p.trust <= 0 {
		return
	}
	d.queued = true
	p.queue = append(p.queue, d)
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// take returns the next file to fetch.
func (p *prefetcher) take() (nodeID, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.queue) > 0 {
		d := p.queue[0]
		for d.next < len(d.files) && d.ahead < prefetchAhead {
			l := d.files[d.next]
			d.next++
			if l.opened {
				continue
			}
			l.fetched = true
			d.ahead++
			return l.id, true
		}
		d.queued = false
		p.queue = p.queue[1:]
	}
	return 0, false
}

// close ends prefetch and returns when it has.
func (p *prefetcher) close() {
	close(p.stop)
	<-p.done
}

// prefetchFiles fetches files until the prefetcher is closed.
func (f *filesystem) prefetchFiles(server *fuse.Server) {
	p := f.prefetch
	defer close(p.done)
	buf := make([]byte, prefetchSize)
	for {
		select {
		case <-p.stop:
			return
		case <-p.wake:
		}
		for id, ok := p.take(); ok; id, ok = p.take() {
			f.store(server, id, buf)
		}
	}
}

// store reads a file and stores it in the kernel's cache. What fails here is
// left to the READ, which will then come.
func (f *filesystem) store(server *fuse.Server, id nodeID, buf []byte) {
	v, ino, st := f.inode(uint64(id), fuse.ENOENT)
	if st != fuse.OK {
		return
	}
	h, err := v.tree.Open(f.ctx, ino, false)
	if err != nil {
		return
	}
	defer h.Release()
	n, err := h.ReadAt(f.ctx, buf, 0)
	if err != nil {
		return
	}
	st = server.InodeNotifyStoreCache(uint64(id), 0, buf[:n])
	if st != fuse.OK && st != fuse.ENOENT { // ENOENT: the kernel has forgotten it
		f.log.Debug("store in the kernel's cache", slog.Uint64("node", uint64(id)), slog.String("status", st.String()))
	}
}

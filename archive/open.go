package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// A File is one opening of a file. Its methods may be called side by side.
type File struct {
	t        *Tree
	f        *file
	writable bool
}

// Open opens a file's content.
func (t *Tree) Open(ctx context.Context, ino Ino, writable bool) (*File, error) {
	if writable && t.ReadOnly() {
		return nil, ErrReadOnly
	}
	var a Attr
	if err := t.read(ctx, ino, func(n *node) { a = n.attr }); err != nil {
		return nil, err
	}
	switch a.Mode & ModeType {
	case ModeFile:
	case ModeDir:
		return nil, ErrIsDir
	default:
		return nil, ErrInvalid
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.file(ino, a.Size)
	f.handles++
	return &File{t: t, f: f, writable: writable}, nil
}

// Release ends the opening. A file that was written from its start is cut into
// chunks now; small changes wait in memory and in the journal.
func (h *File) Release() {
	f := h.f
	if h.writable {
		h.t.gate.RLock()
		f.mu.Lock()
		if f.isStream() {
			if err := f.cutAll(context.Background()); err != nil {
				h.t.repo.log.Warn("file not cut yet", "inode", f.ino, "err", err)
			}
		}
		f.mu.Unlock()
		h.t.gate.RUnlock()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	h.t.mu.Lock()
	f.handles--
	h.t.mu.Unlock()
	f.idle()
}

// isStream tells whether the only segment is the beginning of the file, or
// goes on where a chunk was cut off. mu is held.
func (f *file) isStream() bool {
	if len(f.segments) != 1 {
		return false
	}
	s := f.segments[0]
	return s.cut || s.off == 0 && f.covers(s.end())
}

// covers tells whether the file ends at end. mu is held.
func (f *file) covers(end uint64) bool {
	f.t.mu.RLock()
	defer f.t.mu.RUnlock()
	n := f.t.known(f.ino)
	return n != nil && n.attr.Size <= end
}

// ReadAt fills p from off on. It returns fewer bytes only at the end of the
// file, where the error is io.EOF when there are none.
func (h *File) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, ErrInvalid
	}
	return h.f.readAt(ctx, p, uint64(off))
}

func (f *file) readAt(ctx context.Context, p []byte, off uint64) (int, error) {
	f.mu.Lock()
	var v view
	if err := f.t.read(ctx, f.ino, func(n *node) { v = n.view(off, off+uint64(len(p))) }); err != nil {
		f.mu.Unlock()
		return 0, err
	}
	if off >= v.size {
		f.mu.Unlock()
		return 0, io.EOF
	}
	p = p[:min(uint64(len(p)), v.size-off)]
	gaps := f.copyUncut(p, off)
	f.mu.Unlock()
	for _, g := range gaps {
		if err := f.t.repo.chunks.fill(ctx, p[g.from-off:g.to-off], g.from, v); err != nil {
			return 0, fmt.Errorf("read inode %d at %d: %w", f.ino, g.from, asDamage(err))
		}
	}
	return len(p), nil
}

// copyUncut copies what segments and flights have of [off, off+len(p)) and
// returns the rest. mu is held.
func (f *file) copyUncut(p []byte, off uint64) []span {
	gaps := []span{{off, off + uint64(len(p))}}
	take := func(from, to uint64, data []byte) {
		var rest []span
		for _, g := range gaps {
			lo, hi := max(from, g.from), min(to, g.to)
			if lo >= hi {
				rest = append(rest, g)
				continue
			}
			copy(p[lo-off:hi-off], data[lo-from:hi-from])
			if g.from < lo {
				rest = append(rest, span{g.from, lo})
			}
			if hi < g.to {
				rest = append(rest, span{hi, g.to})
			}
		}
		gaps = rest
	}
	for _, s := range f.segments {
		take(s.off, s.end(), s.buf)
	}
	for i := len(f.flights) - 1; i >= 0; i-- {
		take(f.flights[i].off, f.flights[i].end(), f.flights[i].data)
	}
	return gaps
}

// WriteAt writes p at off. With killSUIDGID it drops set-ID bits as well.
func (h *File) WriteAt(ctx context.Context, p []byte, off int64, killSUIDGID bool) (int, error) {
	if !h.writable {
		return 0, ErrPermission
	}
	if off < 0 || off > SizeMax-int64(len(p)) {
		return 0, ErrTooBig
	}
	if len(p) == 0 {
		return 0, nil
	}
	r := h.t.repo
	if err := r.space.reserve(int64(len(p)) + metadataCost); err != nil {
		return 0, err
	}
	if err := r.chunks.data.stuck(); err != nil {
		return 0, err
	}
	if err := r.writer.admit(ctx, len(p)); err != nil {
		return 0, err
	}
	h.t.gate.RLock()
	defer h.t.gate.RUnlock()
	f := h.f
	f.mu.Lock()
	defer f.mu.Unlock()
	err := f.err
	if err == nil {
		err = h.t.wrote(ctx, f.ino, uint64(off)+uint64(len(p)), killSUIDGID)
	}
	if err != nil {
		r.writer.release(len(p))
		return 0, err
	}
	f.insert(uint64(off), p)
	if len(f.segments) > maxSegments {
		err = f.cutAll(ctx)
	} else {
		err = f.cutLong(ctx)
	}
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

// wrote sets what a write up to end changes in the node. gate is held.
func (t *Tree) wrote(ctx context.Context, ino Ino, end uint64, killSUIDGID bool) error {
	return t.apply(ctx, func(c *change) error {
		n, err := c.look(ino)
		if err != nil {
			return err
		}
		n = c.own(n)
		if end > n.attr.Size {
			if n.attr.Nlink > 0 {
				t.usage.Bytes += end - n.attr.Size
			}
			n.attr.Size = end
		}
		n.attr.Mtime, n.attr.Ctime = c.time, c.time
		if killSUIDGID {
			n.killSUIDGID()
		}
		return nil
	})
}

// Sync makes what was written through any opening of the file durable.
func (h *File) Sync(ctx context.Context) error {
	h.f.mu.Lock()
	h.f.settle()
	err := h.f.err
	h.f.mu.Unlock()
	return errors.Join(err, h.t.repo.Sync(ctx))
}

// Flush is what close(2) waits for: it tells of bytes that couldn't be stored.
func (h *File) Flush(context.Context) error {
	h.f.mu.Lock()
	defer h.f.mu.Unlock()
	return h.f.err
}

// SyncDir makes a directory's names durable.
func (t *Tree) SyncDir(ctx context.Context, _ Ino) error { return t.repo.Sync(ctx) }

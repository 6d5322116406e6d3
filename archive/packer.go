package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
	"bkfs/archive/store"
)

const (
	groupBytes  = 256 << 10 // a shared blob is closed at this size
	sharedBelow = 128 << 10 // chunks from this size on have a blob of their own
	maxUploads  = 4         // packs that are being put at a time
)

// A packer groups chunks of one kind into blobs and blobs into packs. A chunk
// it has accepted is found by unsaved until the index has it.
type packer struct {
	c       *chunks
	st      store.Store
	kind    pack.Kind
	epoch   uint32
	enc     *pack.Encoder
	slots   chan struct{} // one for each pack being put
	uploads sync.WaitGroup

	// keep says that packs stay in memory: of a repository that is only read,
	// whose journal holds chunks.
	keep bool

	busy sync.RWMutex // shared while a chunk is on its way into the pack; alone in flush

	mu        sync.Mutex // guards all below
	group     *group
	open      *unsavedPack
	full      []*unsavedPack // not durable yet, oldest first
	chunks    map[chunk.ID]unsavedChunk
	unjournal []chunk.ID // accepted since the last journal record
	unjBytes  int
	failed    error // of the last attempt to put a pack
}

// A group is the chunks of the next shared blob.
type group struct {
	buf   []byte
	parts []pack.Chunk
}

// An unsavedChunk is in a group, or has a place in a pack that isn't durable.
type unsavedChunk struct {
	data  []byte // nil once it has a place
	place pack.Place
}

// An unsavedPack is a pack in memory.
type unsavedPack struct {
	w       *pack.Writer
	entries []pack.Entry
	image   []byte        // the finished pack
	started bool          // somebody puts it
	done    chan struct{} // closed when that attempt is over
	err     error
}

func newPacker(c *chunks, st store.Store, kind pack.Kind, epoch uint32) *packer {
	return &packer{
		c: c, st: st, kind: kind, epoch: epoch,
		enc: pack.NewEncoder(), slots: make(chan struct{}, maxUploads),
		group: new(group), chunks: make(map[chunk.ID]unsavedChunk),
	}
}

// put accepts a chunk; stored is false when it was known. The data is kept:
// nobody changes it any more.
func (p *packer) put(ctx context.Context, id chunk.ID, data []byte) (stored bool, err error) {
	p.mu.Lock()
	_, known := p.chunks[id]
	p.mu.Unlock()
	if known {
		return false, nil
	}
	if p.c.has(ctx, id) {
		return false, nil
	}
	p.busy.RLock()
	g, ok := p.accept(id, data)
	if g != nil {
		err = p.append(g)
	}
	p.busy.RUnlock()
	if err != nil {
		return ok, err
	}
	return ok, p.putFull(ctx)
}

// accept adds a chunk to the group, and returns the group when it is complete.
func (p *packer) accept(id chunk.ID, data []byte) (*group, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, known := p.chunks[id]; known {
		return nil, false
	}
	p.unjournal = append(p.unjournal, id)
	p.unjBytes += len(data)
	if len(data) >= sharedBelow {
		p.chunks[id] = unsavedChunk{data: data}
		return &group{parts: []pack.Chunk{{ID: id, Data: data}}}, true
	}
	g := p.group
	if g.buf == nil {
		g.buf = make([]byte, 0, groupBytes)
	}
	var closed *group
	if len(g.buf)+len(data) > groupBytes {
		closed = g
		g = &group{buf: make([]byte, 0, groupBytes)}
		p.group = g
	}
	at := len(g.buf)
	g.buf = append(g.buf, data...)
	part := g.buf[at:len(g.buf):len(g.buf)]
	g.parts = append(g.parts, pack.Chunk{ID: id, Data: part})
	p.chunks[id] = unsavedChunk{data: part}
	return closed, true
}

// append encodes a group and puts it into the open pack.
func (p *packer) append(g *group) error {
	blob, err := p.enc.Encode(g.parts)
	if err != nil {
		return fmt.Errorf("encode blob: %w", err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open != nil && p.open.w.Size()+blob.Size() > pack.TargetSize {
		p.full = append(p.full, p.open)
		p.open = nil
	}
	if p.open == nil {
		w, err := pack.NewWriter(p.c.keys, p.kind, p.epoch)
		if err != nil {
			return fmt.Errorf("new pack: %w", err)
		}
		p.open = &unsavedPack{w: w}
	}
	entries, err := p.open.w.Append(blob)
	if err != nil {
		return fmt.Errorf("append to pack: %w", err)
	}
	p.open.entries = append(p.open.entries, entries...)
	for _, e := range entries {
		p.chunks[e.Chunk] = unsavedChunk{place: e.Place}
	}
	return nil
}

// putFull puts full packs in the background, and waits while too many are
// under way.
func (p *packer) putFull(ctx context.Context) error {
	if p.keep {
		return nil
	}
	p.mu.Lock()
	var next *unsavedPack
	for _, u := range p.full {
		if !u.started {
			next = u
			break
		}
	}
	if next == nil {
		p.mu.Unlock()
		return nil
	}
	next.start()
	p.mu.Unlock()
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		p.finish(next, ctx.Err())
		return ctx.Err()
	}
	p.uploads.Go(func() {
		p.finish(next, p.upload(context.WithoutCancel(ctx), next))
		<-p.slots
	})
	return nil
}

func (u *unsavedPack) start() { u.started, u.done, u.err = true, make(chan struct{}), nil }

// finish ends an attempt; a failed one stays in memory for the next flush.
func (p *packer) finish(u *unsavedPack, err error) {
	p.mu.Lock()
	u.err, u.started = err, false
	p.failed = err
	close(u.done)
	p.mu.Unlock()
	if err != nil {
		p.c.log.Error("pack not stored; it stays in memory and is tried again", "pack", u.w.ID().String(), "err", err)
	}
}

// stuck tells why packs pile up in memory, if they do.
func (p *packer) stuck() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.full) <= 2*maxUploads {
		return nil
	}
	return p.failed
}

// upload puts a full pack and makes the index know it.
func (p *packer) upload(ctx context.Context, u *unsavedPack) error {
	if u.image == nil {
		image, err := u.w.Finish()
		if err != nil {
			return fmt.Errorf("finish pack: %w", err)
		}
		p.mu.Lock()
		u.image = image
		p.mu.Unlock()
	}
	id := u.w.ID()
	if err := p.st.Put(ctx, id.Name(), u.image); err != nil {
		return fmt.Errorf("put pack %s: %w", id, asDamage(err))
	}
	r := packRecord{id, packInfo{p.kind, uint32(len(u.image))}}
	if err := p.c.index.AddPack(id, p.kind, int64(len(u.image)), u.entries); err != nil {
		return fmt.Errorf("index pack %s: %w", id, err)
	}
	p.c.added(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range u.entries {
		delete(p.chunks, e.Chunk)
	}
	for i, f := range p.full {
		if f == u {
			p.full = append(p.full[:i:i], p.full[i+1:]...)
			break
		}
	}
	u.w.Release()
	return nil
}

// flush makes durable whatever was put before it was called.
func (p *packer) flush(ctx context.Context) error {
	p.busy.Lock()
	p.mu.Lock()
	g := p.group
	p.group = new(group)
	p.mu.Unlock()
	var err error
	if len(g.parts) > 0 {
		err = p.append(g)
	}
	p.mu.Lock()
	if p.open != nil {
		p.full = append(p.full, p.open)
		p.open = nil
	}
	waiting := append([]*unsavedPack(nil), p.full...)
	p.mu.Unlock()
	p.busy.Unlock()
	if err != nil {
		return err
	}
	for _, u := range waiting {
		err = errors.Join(err, p.settle(ctx, u))
	}
	return err
}

// settle waits until a full pack is durable, putting it if nobody does.
func (p *packer) settle(ctx context.Context, u *unsavedPack) error {
	p.mu.Lock()
	if u.started {
		done := u.done
		p.mu.Unlock()
		<-done
		p.mu.Lock()
	}
	pending := false
	for _, f := range p.full {
		pending = pending || f == u
	}
	if !pending || u.started {
		p.mu.Unlock()
		if pending {
			return p.settle(ctx, u)
		}
		return nil
	}
	u.start()
	p.mu.Unlock()
	err := p.upload(ctx, u)
	p.finish(u, err)
	return err
}

// unsaved finds a chunk that isn't durable: its bytes, or its place in a pack
// in memory.
func (p *packer) unsaved(id chunk.ID) (pack.Place, []byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u, ok := p.chunks[id]
	return u.place, u.data, ok
}

// readUnsaved reads from a pack in memory.
func (p *packer) readUnsaved(name string, off int64, dst []byte) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, u := range append(p.full[:len(p.full):len(p.full)], p.open) {
		if u == nil || u.w.ID().Name() != name {
			continue
		}
		image := u.image
		if image == nil {
			image = u.w.Bytes()
		}
		return off >= 0 && off <= int64(len(image)) && copy(dst, image[off:]) == len(dst)
	}
	return false
}

// takeUnjournaled returns the chunks accepted since the last call that aren't
// durable yet, and how many bytes they have.
func (p *packer) takeUnjournaled() (ids []chunk.ID, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ids, bytes = p.unjournal, p.unjBytes
	p.unjournal, p.unjBytes = nil, 0
	return ids, bytes
}

// unsavedBytes is how many bytes the chunks need that aren't in the store yet.
func (p *packer) unsavedBytes() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n = int64(len(p.group.buf))
	for _, u := range p.full {
		n += int64(u.w.Size())
	}
	if p.open != nil {
		n += int64(p.open.w.Size())
	}
	return n
}

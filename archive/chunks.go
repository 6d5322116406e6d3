package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"

	"bkfs/archive/chunk"
	"bkfs/archive/index"
	"bkfs/archive/pack"
	"bkfs/archive/page"
	"bkfs/archive/seal"
	"bkfs/archive/store"

	"github.com/maypok86/otter/v2"
)

const (
	blobCacheBytes = 48 << 20
	pageCacheBytes = 24 << 20
)

// chunks is the deduplicating store of chunks: data goes to one packer, pages
// to another; reading finds a chunk wherever it is, also before it is durable.
type chunks struct {
	keys   *seal.Keys
	index  *index.Index
	reader *pack.Reader
	log    *slog.Logger
	// maxChunk bounds a chunk and so an extent, in bytes.
	maxChunk uint64

	data, meta *packer
	blobs      *otter.Cache[blobKey, *openBlob]
	pages      *otter.Cache[chunk.ID, []byte]
	ahead      *readahead
	rebuilding sync.RWMutex // held alone while the index is made anew

	mu    sync.Mutex
	packs map[pack.ID]packInfo // the pack set: what an index hit may be in
	// recent is the packs that came since the paged pack set was written; the
	// journal or a root names the first named of them.
	recent []packRecord
	named  int
	bytes  counters
}

// packInfo is what the pack set tells of a pack.
type packInfo struct {
	kind pack.Kind
	size uint32
}

type packRecord struct {
	id pack.ID
	packInfo
}

// counters counts what went through since the repository was opened, in bytes.
type counters struct {
	offered, new uint64
}

type blobKey struct {
	pack   pack.ID
	record uint32
}

// An openBlob is a blob's payload. Its chunks are checked against their ids
// when they are first read.
type openBlob struct {
	payload []byte
	mu      sync.Mutex
	checked map[uint32]struct{} // by start
}

func newChunks(st store.Store, keys *seal.Keys, ix *index.Index, maxChunk int, epoch uint32, log *slog.Logger) *chunks {
	c := &chunks{keys: keys, index: ix, log: log, maxChunk: uint64(maxChunk), packs: make(map[pack.ID]packInfo)}
	c.data = newPacker(c, st, pack.KindData, epoch)
	c.meta = newPacker(c, st, pack.KindMeta, epoch)
	c.reader = pack.NewReader(unsavedPacks{st, c}, keys)
	c.ahead = newReadahead(c)
	c.blobs = otter.Must(&otter.Options[blobKey, *openBlob]{
		MaximumWeight: blobCacheBytes,
		Weigher:       func(_ blobKey, b *openBlob) uint32 { return uint32(len(b.payload)) + 128 },
	})
	c.pages = otter.Must(&otter.Options[chunk.ID, []byte]{
		MaximumWeight: pageCacheBytes,
		Weigher:       func(_ chunk.ID, p []byte) uint32 { return uint32(len(p)) + 128 },
	})
	return c
}

// unsavedPacks is the store with the packs that are still in memory.
type unsavedPacks struct {
	store.Store
	c *chunks
}

func (u unsavedPacks) Get(ctx context.Context, name string, off int64, p []byte) error {
	if u.c.data.readUnsaved(name, off, p) || u.c.meta.readUnsaved(name, off, p) {
		return nil
	}
	return u.Store.Get(ctx, name, off, p)
}

// put stores a chunk unless it is there already.
func (c *chunks) put(ctx context.Context, kind chunk.Kind, data []byte) (chunk.ID, error) {
	id := chunk.ID(c.keys.ChunkID(byte(kind), data))
	p := c.data
	if kind == chunk.KindPage {
		p = c.meta
	}
	stored, err := p.put(ctx, id, data)
	if err != nil {
		return id, fmt.Errorf("store chunk: %w", err)
	}
	if kind == chunk.KindData {
		c.mu.Lock()
		c.bytes.offered += uint64(len(data))
		if stored {
			c.bytes.new += uint64(len(data))
		}
		c.mu.Unlock()
	}
	return id, nil
}

// PutPage implements page.Sink.
func (c *chunks) PutPage(ctx context.Context, data []byte) (chunk.ID, error) {
	id, err := c.put(ctx, chunk.KindPage, data)
	if err == nil {
		c.pages.Set(id, data)
	}
	return id, err
}

// Page implements page.Source.
func (c *chunks) Page(ctx context.Context, id chunk.ID) ([]byte, error) {
	return c.pages.Get(ctx, id, otter.LoaderFunc[chunk.ID, []byte](func(ctx context.Context, id chunk.ID) ([]byte, error) {
		data, err := c.get(ctx, chunk.KindPage, id)
		if err != nil {
			return nil, err
		}
		return append([]byte(nil), data...), nil
	}))
}

// get returns a chunk's bytes, verified. They are shared: nobody changes them.
func (c *chunks) get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	for range 2 {
		place, data, err := c.locate(ctx, kind, id)
		if err != nil {
			return nil, err
		}
		if data != nil {
			return data, nil
		}
		data, err = c.at(ctx, kind, id, place)
		if errors.Is(err, store.ErrNotExist) {
			continue // its pack has just moved from memory to the store
		}
		return data, err
	}
	return nil, damaged(fmt.Sprintf("chunk %s: its pack is missing", id), nil)
}

// locate finds where a chunk is, or its bytes when they are in no pack yet.
func (c *chunks) locate(ctx context.Context, kind chunk.Kind, id chunk.ID) (pack.Place, []byte, error) {
	p := c.data
	if kind == chunk.KindPage {
		p = c.meta
	}
	if place, data, ok := p.unsaved(id); ok {
		return place, data, nil
	}
	place, ok, err := c.lookUp(ctx, id)
	if err != nil {
		return pack.Place{}, nil, fmt.Errorf("look up chunk %s: %w", id, err)
	}
	if !ok {
		// Between the two look-ups it may have become durable the other way.
		if place, data, ok := p.unsaved(id); ok {
			return place, data, nil
		}
		return pack.Place{}, nil, damaged(fmt.Sprintf("chunk %s is in no pack", id), nil)
	}
	return place, nil, nil
}

// at reads a chunk from its place and checks that it is the one.
func (c *chunks) at(ctx context.Context, kind chunk.Kind, id chunk.ID, place pack.Place) ([]byte, error) {
	b, ok := c.blobs.GetIfPresent(blobKey{place.Pack, place.Record})
	var err error
	if !ok {
		b, err = c.blob(ctx, place)
		c.ahead.read(place)
	}
	if err != nil {
		return nil, fmt.Errorf("read chunk %s: %w", id, err)
	}
	end := uint64(place.Start) + uint64(place.Length)
	if end > uint64(len(b.payload)) {
		return nil, damaged(fmt.Sprintf("chunk %s is outside its blob", id), nil)
	}
	data := b.payload[place.Start:end:end]
	b.mu.Lock()
	_, ok = b.checked[place.Start]
	b.mu.Unlock()
	if !ok {
		if chunk.ID(c.keys.ChunkID(byte(kind), data)) != id {
			return nil, damaged(fmt.Sprintf("chunk %s has other content", id), nil)
		}
		b.mu.Lock()
		b.checked[place.Start] = struct{}{}
		b.mu.Unlock()
	}
	return data, nil
}

// has tells whether a chunk is known to be durable in a live pack. The index
// is a cache: when it fails, the chunk is stored again.
func (c *chunks) has(ctx context.Context, id chunk.ID) bool {
	_, ok, err := c.lookUp(ctx, id)
	if err != nil {
		c.log.Warn("index failed; the chunk is stored again", "err", err)
	}
	return ok && err == nil
}

// lookUp asks the index. One that is damaged is made anew from the packs.
func (c *chunks) lookUp(ctx context.Context, id chunk.ID) (pack.Place, bool, error) {
	c.rebuilding.RLock()
	place, ok, err := c.index.Get(id)
	c.rebuilding.RUnlock()
	if !errors.Is(err, index.ErrDamaged) {
		return place, ok, err
	}
	c.rebuilding.Lock()
	defer c.rebuilding.Unlock()
	if place, ok, err = c.index.Get(id); !errors.Is(err, index.ErrDamaged) {
		return place, ok, err // somebody else was first
	}
	c.log.Warn("index is damaged and is made anew", "err", err)
	if err := c.index.Reset(); err != nil {
		return pack.Place{}, false, fmt.Errorf("make index anew: %w", err)
	}
	c.mu.Lock()
	packs := maps.Clone(c.packs)
	c.mu.Unlock()
	for id, info := range packs {
		if err := c.indexPack(ctx, packRecord{id, info}); err != nil {
			return pack.Place{}, false, err
		}
	}
	return c.index.Get(id)
}

// close waits for what goes on in the background.
func (c *chunks) close() {
	c.data.uploads.Wait()
	c.meta.uploads.Wait()
	c.ahead.close()
}

// blob opens the blob of a place, or takes it from the cache. Those who want
// the same one at a time share the work.
func (c *chunks) blob(ctx context.Context, place pack.Place) (*openBlob, error) {
	return c.blobs.Get(ctx, blobKey{place.Pack, place.Record}, otter.LoaderFunc[blobKey, *openBlob](
		func(ctx context.Context, _ blobKey) (*openBlob, error) {
			payload, err := c.reader.Blob(ctx, nil, place)
			if err != nil {
				return nil, err
			}
			return &openBlob{payload: payload, checked: make(map[uint32]struct{}, 1)}, nil
		}))
}

// added notes a pack that has become durable.
func (c *chunks) added(r packRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.packs[r.id]; known {
		return
	}
	c.packs[r.id] = r.packInfo
	c.recent = append(c.recent, r)
}

// takeFresh returns the packs that nothing durable names yet.
func (c *chunks) takeFresh() []packRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	fresh := slices.Clone(c.recent[c.named:])
	c.named = len(c.recent)
	return fresh
}

// recentFrom returns the recent packs from the nth on.
func (c *chunks) recentFrom(n int) []packRecord {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.recent[n:])
}

// moved says that the first n recent packs are in the paged set.
func (c *chunks) moved(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.recent = slices.Clone(c.recent[n:])
	c.named = max(0, c.named-n)
}

// indexPack makes the index know a pack. Of one whose footer can't be read it
// is what can still be read; everything else in it is damaged.
func (c *chunks) indexPack(ctx context.Context, p packRecord) error {
	if c.index.HasPack(p.id) {
		return nil
	}
	_, entries, err := c.reader.Footer(ctx, p.id)
	if err = asDamage(err); errors.Is(err, ErrDamaged) {
		c.log.Error("pack is damaged", "pack", p.id.String(), "err", err)
		if entries, err = c.salvage(ctx, p.id); len(entries) == 0 && err == nil {
			return nil
		}
	}
	if err == nil {
		err = c.index.AddPack(p.id, p.kind, int64(p.size), entries)
	}
	if err != nil {
		return fmt.Errorf("index pack %s: %w", p.id, asNoSpace(err))
	}
	return nil
}

// salvage lists the chunks of a damaged pack that can be read.
func (c *chunks) salvage(ctx context.Context, id pack.ID) (entries []pack.Entry, err error) {
	err = c.reader.Walk(ctx, id, func(e pack.Entry, data []byte) error {
		if data != nil {
			entries = append(entries, e)
		}
		return nil
	})
	if err = asDamage(err); errors.Is(err, ErrDamaged) {
		err = nil
	}
	return entries, err
}

// flush makes every chunk that was put before durable.
func (c *chunks) flush(ctx context.Context) error {
	return errors.Join(c.data.flush(ctx), c.meta.flush(ctx))
}

// unsavedBytes is what the chunks in memory will take in the store.
func (c *chunks) unsavedBytes() int64 { return c.data.unsavedBytes() + c.meta.unsavedBytes() }

// asDamage turns what the packages below call damage into ErrDamaged.
func asDamage(err error) error {
	for _, target := range []error{pack.ErrDamaged, page.ErrDamaged, seal.ErrAuth, store.ErrCorrupt, store.ErrNotExist} {
		if errors.Is(err, target) && !errors.Is(err, ErrDamaged) {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	if errors.Is(err, store.ErrQuota) && !errors.Is(err, ErrNoSpace) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return err
}

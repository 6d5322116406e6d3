package pack

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/klauspost/compress/zstd"
	"github.com/maypok86/otter/v2"

	"bkfs/archive/seal"
	"bkfs/archive/store"
)

const (
	cachedObjects = 1024     // packs whose keys a Reader remembers: 16 GiB of data
	tailGuess     = 64 << 10 // what is read to find the footer
)

// Reader reads packs from a store. It may be used from several goroutines.
type Reader struct {
	st      store.Store
	keys    *seal.Keys
	zstd    *zstd.Decoder
	objects *otter.Cache[ID, *seal.Object]
	sealed  sync.Pool // of *[]byte
}

// NewReader makes a reader, which has nothing to close.
func NewReader(st store.Store, keys *seal.Keys) *Reader {
	return &Reader{
		st: st, keys: keys, zstd: newDecoder(),
		objects: otter.Must(&otter.Options[ID, *seal.Object]{MaximumSize: cachedObjects}),
		sealed:  sync.Pool{New: func() any { return new([]byte) }},
	}
}

// object is a pack's key. Deriving it costs microseconds, so two goroutines
// that do it at a time do no harm.
func (r *Reader) object(id ID) (*seal.Object, error) {
	if o, ok := r.objects.GetIfPresent(id); ok {
		return o, nil
	}
	o, err := r.keys.Object(seal.PurposePack, id)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w", id, err)
	}
	r.objects.Set(id, o)
	return o, nil
}

// get reads a part of a pack.
func (r *Reader) get(ctx context.Context, id ID, off int64, p []byte) error {
	err := r.st.Get(ctx, id.Name(), off, p)
	switch {
	case errors.Is(err, store.ErrCorrupt):
		return fmt.Errorf("read pack %s: %w: %w", id, ErrDamaged, err)
	case err != nil:
		return fmt.Errorf("read pack %s: %w", id, err)
	}
	return nil
}

// Blob reads the payload of the blob that p is in, of which the chunk is
// [p.Start:][:p.Length]. It uses dst's memory if that is large enough. One get
// from the store; the chunk's id isn't verified.
func (r *Reader) Blob(ctx context.Context, dst []byte, p Place) ([]byte, error) {
	if p.Sealed > maxSealed || p.Sealed < envelopeSize+seal.Overhead || uint64(p.Offset)+uint64(p.Sealed) > MaxSize {
		return nil, fmt.Errorf("pack %s: %w: %d bytes at %d can't be a blob", p.Pack, ErrDamaged, p.Sealed, p.Offset)
	}
	o, err := r.object(p.Pack)
	if err != nil {
		return nil, err
	}
	buf := r.sealed.Get().(*[]byte)
	defer r.sealed.Put(buf)
	if cap(*buf) < int(p.Sealed) {
		*buf = make([]byte, p.Sealed)
	}
	sealed := (*buf)[:p.Sealed]
	if err := r.get(ctx, p.Pack, int64(p.Offset), sealed); err != nil {
		return nil, err
	}
	plain, err := o.Open(sealed[:0], sealed, uint64(p.Record), typeBlob)
	if err != nil {
		return nil, fmt.Errorf("pack %s: %w: blob at %d: %w", p.Pack, ErrDamaged, p.Offset, err)
	}
	payload, count, err := decode(r.zstd, dst, plain)
	if err != nil {
		return nil, fmt.Errorf("pack %s: blob at %d: %w", p.Pack, p.Offset, err)
	}
	if uint64(p.Start) < uint64(lengthSize*count) || uint64(p.Start)+uint64(p.Length) > uint64(len(payload)) {
		return nil, fmt.Errorf("pack %s: %w: blob at %d has no chunk at %d", p.Pack, ErrDamaged, p.Offset, p.Start)
	}
	return payload, nil
}

// Footer lists a pack's chunks, in their order.
func (r *Reader) Footer(ctx context.Context, id ID) (Info, []Entry, error) {
	fail := func(err error) (Info, []Entry, error) { return Info{}, nil, fmt.Errorf("pack %s: %w", id, err) }
	o, err := r.object(id)
	if err != nil {
		return Info{}, nil, err
	}
	size, err := r.size(ctx, id)
	if err != nil {
		return Info{}, nil, err
	}
	header := make([]byte, headerSize)
	if err := r.get(ctx, id, 0, header); err != nil {
		return Info{}, nil, err
	}
	info, err := parseHeader(header, id, o)
	if err != nil {
		return fail(err)
	}
	info.Size = size
	tail := make([]byte, min(size, tailGuess))
	if err := r.get(ctx, id, size-int64(len(tail)), tail); err != nil {
		return Info{}, nil, err
	}
	offset, sealed, err := openTrailer(tail[len(tail)-trailerSize:], o, size)
	if err != nil {
		return fail(err)
	}
	footer := tail[:len(tail)-trailerSize]
	if sealed > int64(len(footer)) {
		footer = make([]byte, sealed)
		if err := r.get(ctx, id, offset, footer); err != nil {
			return Info{}, nil, err
		}
	}
	entries, err := openFooter(footer[int64(len(footer))-sealed:], o, id, offset)
	if err != nil {
		return fail(err)
	}
	return info, entries, nil
}

// openFooter opens the footer in place; offset is where it was in the pack.
func openFooter(sealed []byte, o *seal.Object, id ID, offset int64) ([]Entry, error) {
	plain, err := o.Open(sealed[:0], sealed, footerRecord, typeFooter)
	if err != nil {
		return nil, fmt.Errorf("%w: footer: %w", ErrDamaged, err)
	}
	return parseFooter(plain, id, offset-sectionSize)
}

// size is a pack's size, within bounds.
func (r *Reader) size(ctx context.Context, id ID) (int64, error) {
	info, err := r.st.Stat(ctx, id.Name())
	if err != nil {
		return 0, fmt.Errorf("read pack %s: %w", id, err)
	}
	if info.Size < headerSize+sectionSize+trailerSize || info.Size > MaxSize {
		return 0, fmt.Errorf("pack %s: %w: %d bytes long", id, ErrDamaged, info.Size)
	}
	return info.Size, nil
}

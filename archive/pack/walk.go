package pack

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"bkfs/archive/chunk"
	"bkfs/archive/seal"
)

// Walk reads a whole pack and verifies every byte: header, blobs, the id of
// each chunk, and that the footer says the same. It calls fn for each chunk,
// with its bytes, which are valid during the call; data is nil for a chunk the
// footer names but that can't be read any more.
//
// Damage doesn't end the walk where a way on is left: by the section heads
// without a footer, by the footer past a damaged head. It is told at the end:
// ErrDamaged, or ErrFormat. An error of fn or of the store ends it at once.
func (r *Reader) Walk(ctx context.Context, id ID, fn func(e Entry, data []byte) error) error {
	o, err := r.object(id)
	if err != nil {
		return err
	}
	size, err := r.size(ctx, id)
	if err != nil {
		return err
	}
	image := make([]byte, size)
	if err := r.get(ctx, id, 0, image); err != nil {
		return err
	}
	w := walk{r: r, id: id, object: o, image: image, fn: fn}
	info, err := parseHeader(image, id, o)
	if errors.Is(err, ErrFormat) {
		return fmt.Errorf("pack %s: %w", id, err)
	}
	w.note(err)
	w.kind = info.Kind
	w.readFooter()
	if err := w.blobs(ctx); err != nil {
		return err
	}
	if len(w.found) > 0 {
		return fmt.Errorf("pack %s: %w", id, errors.Join(w.found...))
	}
	return nil
}

type walk struct {
	r       *Reader
	id      ID
	kind    Kind // 0 when the header is lost
	object  *seal.Object
	image   []byte
	footer  []Entry // what the footer says of the blobs not visited yet; nil when lost
	payload []byte
	fn      func(Entry, []byte) error
	found   []error
}

// note remembers damage.
func (w *walk) note(err error) {
	if err != nil {
		w.found = append(w.found, err)
	}
}

func (w *walk) readFooter() {
	offset, sealed, err := openTrailer(w.image[len(w.image)-trailerSize:], w.object, int64(len(w.image)))
	if err == nil { // a copy, as the image is still to be walked
		w.footer, err = openFooter(slices.Clone(w.image[offset:offset+sealed]), w.object, w.id, offset)
	}
	w.note(err)
}

// blobs visits the sections in order.
func (w *walk) blobs(ctx context.Context) error {
	known := w.footer != nil
	at := headerSize
	for i := 0; ; i++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		typ, sealed, err := openSection(w.image[at:], w.object, i)
		w.note(err)
		if err != nil { // the footer may know the way
			if len(w.footer) == 0 || int(w.footer[0].Place.Offset) != at+sectionSize {
				return w.lose(w.footer)
			}
			typ, sealed = typeBlob, int(w.footer[0].Place.Sealed)
		}
		at += sectionSize
		if typ != typeBlob {
			if len(w.footer) > 0 || typ != typeFooter || at+sealed+trailerSize != len(w.image) {
				w.note(fmt.Errorf("%w: section %d isn't a blob", ErrDamaged, i))
			}
			return w.lose(w.footer)
		}
		place := Place{Pack: w.id, Offset: uint32(at), Sealed: uint32(sealed), Record: uint32(blobRecord(i))}
		n := 0 // entries of the footer that are in this blob
		for n < len(w.footer) && w.footer[n].Place.Record == place.Record {
			n++
		}
		listed := w.footer[:n]
		w.footer = w.footer[n:]
		if err := w.blob(place, listed, known); err != nil {
			return err
		}
		at += sealed
	}
}

// blob opens one blob and hands out its chunks.
func (w *walk) blob(place Place, listed []Entry, known bool) error {
	bad := func(err error) error {
		w.note(fmt.Errorf("blob at %d: %w", place.Offset, err))
		return w.lose(listed)
	}
	if place.Sealed > maxSealed {
		return bad(fmt.Errorf("%w: %d bytes long", ErrDamaged, place.Sealed))
	}
	sealed := w.image[place.Offset:][:place.Sealed]
	plain, err := w.object.Open(sealed[:0], sealed, uint64(place.Record), typeBlob)
	if err != nil {
		return bad(fmt.Errorf("%w: %w", ErrDamaged, err))
	}
	payload, count, err := decode(w.r.zstd, w.payload, plain)
	if err != nil {
		return bad(err)
	}
	w.payload = payload
	start := lengthSize * count
	for i := range count {
		length := int(binary.BigEndian.Uint32(payload[i*lengthSize:]))
		data := payload[start : start+length : start+length]
		e := Entry{Place: place}
		e.Place.Start, e.Place.Length = uint32(start), uint32(length)
		e.Chunk = w.name(data, listed, i)
		if known && (i >= len(listed) || listed[i] != e) {
			w.note(fmt.Errorf("%w: chunk %s isn't what the footer says", ErrDamaged, e.Chunk))
		}
		if err := w.fn(e, data); err != nil {
			return err
		}
		start += length
	}
	if known && len(listed) > count {
		w.note(fmt.Errorf("%w: footer has chunks that blob at %d hasn't", ErrDamaged, place.Offset))
		return w.lose(listed[count:])
	}
	return nil
}

// name is the id of a chunk by its content. Without a header it isn't known
// what kind of chunk this is, and the footer decides; data is the likelier one.
func (w *walk) name(data []byte, listed []Entry, i int) chunk.ID {
	switch w.kind {
	case KindData:
		return w.r.keys.ChunkID(byte(chunk.KindData), data)
	case KindMeta:
		return w.r.keys.ChunkID(byte(chunk.KindPage), data)
	}
	page := chunk.ID(w.r.keys.ChunkID(byte(chunk.KindPage), data))
	if i < len(listed) && listed[i].Chunk == page {
		return page
	}
	return w.r.keys.ChunkID(byte(chunk.KindData), data)
}

// lose tells fn of chunks that can't be read.
func (w *walk) lose(entries []Entry) error {
	for _, e := range entries {
		if err := w.fn(e, nil); err != nil {
			return err
		}
	}
	return nil
}

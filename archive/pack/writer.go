package pack

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"bkfs/archive/seal"
)

// Writer makes one pack in memory. All methods may be called from several
// goroutines.
type Writer struct {
	id     ID
	kind   Kind
	object *seal.Object

	mu     sync.Mutex // guards all below
	buf    []byte
	footer []byte // plaintext
	blobs  int
	done   bool
}

// images keeps the memory of released packs: TargetSize and more for each, too
// much to leave to the garbage collector at full speed.
var images = sync.Pool{New: func() any { return new([]byte) }} //nolint:gochecknoglobals // a pool holds no state

// NewWriter begins a pack with a fresh random id. Epoch is that of the config.
func NewWriter(keys *seal.Keys, kind Kind, epoch uint32) (*Writer, error) {
	if kind != KindData && kind != KindMeta {
		return nil, fmt.Errorf("new pack: kind %d", kind)
	}
	var id ID
	rand.Read(id[:])
	return newWriter(keys, id, kind, epoch)
}

func newWriter(keys *seal.Keys, id ID, kind Kind, epoch uint32) (*Writer, error) {
	w := &Writer{id: id, kind: kind}
	object, err := keys.Object(seal.PurposePack, w.id)
	if err != nil {
		return nil, fmt.Errorf("new pack: %w", err)
	}
	w.object = object
	w.buf = appendHeader((*images.Get().(*[]byte))[:0], w.id, kind, epoch, object)
	w.footer = make([]byte, footerHead)
	return w, nil
}

// ID is the pack's id.
func (w *Writer) ID() ID { return w.id }

// Kind is what the pack holds.
func (w *Writer) Kind() Kind { return w.kind }

// Size is how long the pack would be if it were finished now, before padding.
func (w *Writer) Size() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.size()
}

func (w *Writer) size() int {
	return len(w.buf) + sectionSize + len(w.footer) + seal.Overhead + trailerSize
}

// Append seals a blob and says where its chunks are; these places are final.
// The blob can't be used afterwards, unless the error is ErrFull.
func (w *Writer) Append(b *Blob) ([]Entry, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil, errors.New("append to a finished pack")
	}
	if w.size()+b.Size() > MaxSize {
		return nil, ErrFull
	}
	sealed := len(b.plain) + seal.Overhead
	w.grow(sectionSize + sealed)
	w.buf = appendSection(w.buf, w.object, w.blobs, typeBlob, sealed)
	place := Place{
		Pack: w.id, Offset: uint32(len(w.buf)), Sealed: uint32(sealed), Record: uint32(blobRecord(w.blobs)),
		Start: uint32(lengthSize * len(b.chunks)),
	}
	w.buf = w.object.Seal(w.buf, b.plain, blobRecord(w.blobs), typeBlob)
	w.blobs++
	w.footer = binary.BigEndian.AppendUint32(w.footer, place.Sealed)
	w.footer = binary.BigEndian.AppendUint32(w.footer, uint32(len(b.chunks)))
	entries := make([]Entry, len(b.chunks))
	for i, id := range b.chunks {
		place.Length = b.lengths[i]
		entries[i] = Entry{id, place}
		w.footer = append(w.footer, id[:]...)
		w.footer = binary.BigEndian.AppendUint32(w.footer, place.Length)
		place.Start += place.Length
	}
	b.release()
	return entries, nil
}

// grow makes room for n more bytes, doubling, but not beyond TargetSize without
// need.
func (w *Writer) grow(n int) {
	need := len(w.buf) + n
	if need <= cap(w.buf) {
		return
	}
	size := max(2*cap(w.buf), 256<<10)
	if need <= TargetSize {
		size = min(size, TargetSize)
	}
	w.buf = append(make([]byte, 0, max(size, need)), w.buf...)
}

// Bytes is the pack so far: what a Place of it points into. It is valid until
// Release, and doesn't change.
func (w *Writer) Bytes() []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.buf[:len(w.buf):len(w.buf)]
}

// Finish completes the pack, which the caller puts under its ID's Name. The
// bytes are valid until Release.
func (w *Writer) Finish() ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil, errors.New("finish a pack twice")
	}
	if w.blobs == 0 {
		return nil, errors.New("finish an empty pack")
	}
	w.done = true
	binary.BigEndian.PutUint32(w.footer, uint32(w.blobs))
	size := w.size()
	w.footer = append(w.footer, make([]byte, padded(size)-size)...)
	sealed := len(w.footer) + seal.Overhead
	w.grow(sectionSize + sealed + trailerSize)
	w.buf = appendSection(w.buf, w.object, w.blobs, typeFooter, sealed)
	offset := len(w.buf)
	w.buf = w.object.Seal(w.buf, w.footer, footerRecord, typeFooter)
	w.buf = appendTrailer(w.buf, w.object, offset, sealed)
	w.footer = nil
	return w.buf, nil
}

// Release gives the pack's memory back. No bytes of it may be used afterwards.
func (w *Writer) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	buf := w.buf
	w.buf, w.footer, w.done = nil, nil, true
	if buf != nil {
		images.Put(&buf)
	}
}

package journal

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"bkfs/archive/seal"
)

// Writer appends to one journal file. Its methods are called by one goroutine
// at a time.
type Writer struct {
	link   Link
	object *seal.Object
	file   *os.File
	size   int64
	buf    []byte
	err    error // sticky
}

// Create makes the journal of this generation in dir and makes it durable. A
// file that exists is os.ErrExist. prev is the journal before, if there was one.
func Create(dir string, keys *seal.Keys, generation uint64, prev *Link) (*Writer, error) {
	w := &Writer{link: Link{Generation: generation}, size: slot}
	rand.Read(w.link.ID[:])
	var err error
	if w.object, err = keys.Object(seal.PurposeJournal, w.link.ID); err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	header := makeHeader(w.link.ID, generation, prev, w.object)
	w.link.Chain = sha256.Sum256(header)
	path := filepath.Join(dir, name(generation))
	if w.file, err = os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, fmt.Errorf("create journal: %w", err)
	}
	if _, err = w.file.Write(header); err == nil {
		err = w.file.Sync()
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("create journal: %w", errors.Join(err, w.file.Close(), os.Remove(path)))
	}
	return w, nil
}

// ID is the journal's random id.
func (w *Writer) ID() [32]byte { return w.link.ID }

// Generation is the number it was created with.
func (w *Writer) Generation() uint64 { return w.link.Generation }

// Size is the file's length in bytes.
func (w *Writer) Size() int64 { return w.size }

// Link names the end of what was acknowledged so far. After a failed Append the
// file may hold one batch more.
func (w *Writer) Link() Link { return w.link }

// Append writes the parts, one after the other, as one batch, and makes it
// durable. If it fails for any reason but ErrSize, the journal takes no more:
// it isn't known what of the batch is in the file.
func (w *Writer) Append(batch [][]byte) error {
	if w.err != nil {
		return w.err
	}
	total := 0
	for _, part := range batch {
		if total += len(part); total > MaxBatch {
			break
		}
	}
	if total == 0 || total > MaxBatch {
		return fmt.Errorf("append to journal: %w", ErrSize)
	}
	if err := w.write(batch, total); err != nil {
		w.err = fmt.Errorf("append to journal: %w", err)
	}
	return w.err
}

func (w *Writer) write(batch [][]byte, total int) error {
	chain, at := w.link.Chain, w.size
	for total > 0 {
		n := min(total, maxPayload)
		total -= n
		size := recordSize(n)
		if cap(w.buf) < size {
			w.buf = make([]byte, size)
		}
		h := head{batch: w.link.Batches, last: total == 0, length: n, chain: chain}
		record := h.seal(w.buf[:0], w.object, at)
		record, batch = take(record, batch, n)
		body := record[headSize : size-seal.Overhead]
		clear(body[n:])
		record = w.object.Seal(record[:headSize], body, bodyRecord(at), typeBody)
		if _, err := w.file.WriteAt(record, at); err != nil {
			return err
		}
		chain = next(chain, record)
		at += int64(size)
	}
	if err := datasync(w.file); err != nil {
		return err
	}
	w.size, w.link.Chain = at, chain
	w.link.Batches++
	return nil
}

// take appends the next n bytes of the parts to dst.
func take(dst []byte, parts [][]byte, n int) (taken []byte, rest [][]byte) {
	for n > 0 {
		m := min(n, len(parts[0]))
		dst = append(dst, parts[0][:m]...)
		n -= m
		if m == len(parts[0]) {
			parts = parts[1:]
			continue
		}
		parts = append([][]byte{parts[0][m:]}, parts[1:]...)
	}
	return dst, parts
}

// Close closes the file. All that was acknowledged is durable already.
func (w *Writer) Close() error {
	if w.err == nil {
		w.err = fmt.Errorf("append to journal: %w", os.ErrClosed)
	}
	if err := w.file.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
		return fmt.Errorf("close journal: %w", err)
	}
	return nil
}

// datasync waits until the file's bytes, and its length, are on the disk.
func datasync(f *os.File) error {
	for {
		err := unix.Fdatasync(int(f.Fd()))
		if err != unix.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

package journal

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"bkfs/archive/seal"
)

// Tail is where a journal ends: its Link, the one in its header (nil for the
// first journal), and whether something unfinished was behind the last batch.
// Without a header, because creation itself was cut short, ID is zero.
type Tail struct {
	Link
	Prev *Link
	Torn bool
}

// Replay reads a journal from the start and calls fn for each acknowledged
// batch, whose bytes are valid during the call. It holds one batch in memory.
// Whatever the error, the Tail tells of the batches delivered so far.
func Replay(ctx context.Context, path string, keys *seal.Keys, fn func(batch []byte) error) (Tail, error) {
	tail, err := replay(ctx, path, keys, fn)
	if err != nil {
		return tail, fmt.Errorf("replay journal %s: %w", filepath.Base(path), err)
	}
	return tail, nil
}

func replay(ctx context.Context, path string, keys *seal.Keys, fn func(batch []byte) error) (Tail, error) {
	f, err := os.Open(path)
	if err != nil {
		return Tail{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return Tail{}, err
	}
	var tail Tail
	tail.Generation, _ = generation(filepath.Base(path))
	r := reader{file: f, size: info.Size(), at: slot}
	err = r.replay(ctx, keys, &tail, fn)
	return tail, err
}

type reader struct {
	file   io.ReaderAt
	size   int64
	at     int64 // of the next record
	object *seal.Object
	record []byte
}

// replay completes the tail, of which the generation is given.
func (r *reader) replay(ctx context.Context, keys *seal.Keys, tail *Tail, fn func(batch []byte) error) error {
	if r.size < slot {
		tail.Torn = true
		return nil
	}
	header := make([]byte, slot)
	if _, err := r.file.ReadAt(header, 0); err != nil {
		return err
	}
	id, number, prev, object, err := parseHeader(header, keys)
	switch {
	case errors.Is(err, ErrDamaged) && r.size == slot: // the header is durable before a batch is written
		tail.Torn = true
		return nil
	case err != nil:
		return err
	case number != tail.Generation:
		return fmt.Errorf("%w: it is of generation %d", ErrDamaged, number)
	}
	tail.ID, tail.Prev, tail.Chain = id, prev, sha256.Sum256(header)
	r.object = object
	return r.batches(ctx, tail, fn)
}

func (r *reader) batches(ctx context.Context, tail *Tail, fn func(batch []byte) error) error {
	in := bufio.NewReaderSize(io.NewSectionReader(r.file, slot, r.size-slot), 256<<10)
	var parts []byte // of a batch that has several records
	chain := tail.Chain
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		if r.at == r.size {
			tail.Torn = parts != nil
			return nil
		}
		h, payload, err := r.read(in, tail.Batches, chain)
		if errors.Is(err, errBad) {
			tail.Torn = true
			return r.judge(ctx, tail.Batches)
		}
		if err != nil {
			return err
		}
		chain = next(chain, r.record)
		r.at += int64(len(r.record))
		switch {
		case len(parts)+len(payload) > MaxBatch:
			return fmt.Errorf("%w: a batch of over %d bytes", ErrDamaged, MaxBatch)
		case parts != nil || !h.last:
			parts = append(parts, payload...)
			payload = parts
		}
		if !h.last {
			continue
		}
		if err := fn(payload); err != nil {
			return err
		}
		tail.Batches++
		tail.Chain = chain
		parts = nil
	}
}

// errBad: no valid record is where one was expected.
var errBad = errors.New("bad record")

// read opens the record at r.at, and leaves its sealed head and tag in r.record.
func (r *reader) read(in *bufio.Reader, batch uint64, chain [32]byte) (head, []byte, error) {
	if r.size-r.at < slot {
		return head{}, nil, errBad
	}
	sealed, err := in.Peek(headSize)
	if err != nil {
		return head{}, nil, err
	}
	h, err := openHead(sealed, r.object, r.at)
	if err != nil || int64(recordSize(h.length)) > r.size-r.at {
		return head{}, nil, errBad
	}
	if h.batch != batch || h.chain != chain {
		return head{}, nil, fmt.Errorf("%w: record at %d belongs elsewhere", ErrDamaged, r.at)
	}
	size := recordSize(h.length)
	r.record = slices.Grow(r.record[:0], size)[:size]
	if _, err := io.ReadFull(in, r.record); err != nil {
		return head{}, nil, err
	}
	payload, err := openBody(r.record[headSize:], r.object, r.at, h)
	if err != nil {
		return head{}, nil, errBad
	}
	return h, payload, nil
}

// judge decides what a bad record of this batch is. A record of a later batch
// behind it means that this one was durable once: damage. Else a crash cut the
// batch short, and it was never acknowledged.
func (r *reader) judge(ctx context.Context, batch uint64) error {
	in := bufio.NewReaderSize(io.NewSectionReader(r.file, r.at, r.size-r.at), 256<<10)
	for at := r.at; r.size-at >= slot; at += slot {
		if err := ctx.Err(); err != nil {
			return err
		}
		sealed, err := in.Peek(headSize)
		if err != nil {
			return err
		}
		if h, err := openHead(sealed, r.object, at); err == nil && h.batch > batch {
			return fmt.Errorf("%w: batch %d at %d is bad, and batch %d at %d is not", ErrDamaged, batch, r.at, h.batch, at)
		}
		if _, err := in.Discard(slot); err != nil {
			return err
		}
	}
	return nil
}

// File is a journal in a directory.
type File struct {
	Path       string
	Generation uint64
}

// List finds the journals in dir, oldest first. Other files are passed over.
func List(dir string) ([]File, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("list journals: %w", err)
	}
	var files []File
	for _, e := range entries { // in order: names are as long as each other
		if g, ok := generation(e.Name()); ok && e.Type().IsRegular() {
			files = append(files, File{filepath.Join(dir, e.Name()), g})
		}
	}
	return files, nil
}

func name(generation uint64) string { return fmt.Sprintf("%016x", generation) }

func generation(base string) (uint64, bool) {
	g, err := strconv.ParseUint(base, 16, 64)
	return g, err == nil && name(g) == base
}

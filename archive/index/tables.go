package index

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"google.golang.org/protobuf/proto"
)

// checkTables looks at badger's tables before badger does: it panics on damaged
// ones in goroutines of its own, or ends the process. Always looked at is what
// badger reads on opening; with all set, every block.
func checkTables(dir string, all bool) error {
	f, err := os.Open(filepath.Join(dir, "MANIFEST"))
	if errors.Is(err, os.ErrNotExist) {
		return nil // a new database
	}
	if err != nil {
		return err
	}
	defer f.Close()
	manifest, _, err := badger.ReplayManifestFile(f, 0, badger.DefaultOptions(dir).WithLogger(nil))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, foreign(err))
	}
	for id := range manifest.Tables {
		name := fmt.Sprintf("%06d.sst", id)
		if err := checkTableFile(filepath.Join(dir, name), all); err != nil {
			return fmt.Errorf("table %s: %w", name, err)
		}
	}
	return nil
}

func checkTableFile(path string, all bool) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	return guard(func() error { return checkTable(f, info.Size(), all) })
}

// checkTable reads a table as badger v4 writes it: blocks, then their index.
// Both end in a length and a checksum: see table.Builder.
func checkTable(r io.ReaderAt, size int64, all bool) error {
	sum, end, err := checksumBefore(r, size)
	if err != nil {
		return err
	}
	raw, err := read(r, end-4, 4, size)
	if err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(raw))
	data, err := read(r, end-4-n, n, size)
	if err != nil {
		return err
	}
	if err := y.VerifyChecksum(data, sum); err != nil {
		return fmt.Errorf("index: %w: %w", ErrDamaged, err)
	}
	index := fb.GetRootAsTableIndex(data, 0)
	last := index.OffsetsLength() - 1
	if last < 0 {
		return fmt.Errorf("no blocks: %w", ErrDamaged)
	}
	first := last
	if all {
		first = 0
	}
	for i := first; i <= last; i++ {
		var at fb.BlockOffset
		if !index.Offsets(&at, i) {
			return fmt.Errorf("block %d: %w", i, ErrDamaged)
		}
		if err := checkBlock(r, int64(at.Offset()), int64(at.Len()), size); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

func checkBlock(r io.ReaderAt, off, n, size int64) error {
	sum, end, err := checksumBefore(r, off+n)
	if err != nil {
		return err
	}
	data, err := read(r, off, end-off, size)
	if err != nil {
		return err
	}
	if err := y.VerifyChecksum(data, sum); err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return nil
}

// checksumBefore reads the checksum that ends at end, with its length behind
// it, and gives where it begins.
func checksumBefore(r io.ReaderAt, end int64) (*pb.Checksum, int64, error) {
	raw, err := read(r, end-4, 4, end)
	if err != nil {
		return nil, 0, err
	}
	n := int64(binary.BigEndian.Uint32(raw))
	if n > 64 {
		return nil, 0, fmt.Errorf("checksum of %d bytes: %w", n, ErrDamaged)
	}
	start := end - 4 - n
	if raw, err = read(r, start, n, end); err != nil {
		return nil, 0, err
	}
	sum := new(pb.Checksum)
	if err := proto.Unmarshal(raw, sum); err != nil {
		return nil, 0, fmt.Errorf("checksum: %w: %w", ErrDamaged, err)
	}
	if sum.Algo != pb.Checksum_CRC32C && sum.Algo != pb.Checksum_XXHash64 {
		return nil, 0, fmt.Errorf("checksum of unknown kind %d: %w", sum.Algo, ErrDamaged)
	}
	return sum, start, nil
}

// read reads n bytes at off, which lie before end.
func read(r io.ReaderAt, off, n, end int64) ([]byte, error) {
	if off < 0 || n < 0 || n > end-off {
		return nil, fmt.Errorf("%d bytes at %d of %d: %w", n, off, end, ErrDamaged)
	}
	b := make([]byte, n)
	if _, err := r.ReadAt(b, off); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return b, nil
}

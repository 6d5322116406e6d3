package page

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"

	"bkfs/archive/chunk"
)

// builder cuts a run of entries, ascending by key, into pages of one level.
type builder struct {
	ctx     context.Context
	sink    Sink
	level   int
	entries []byte // of the unfinished page
	starts  []uint32
	last    []byte // the last entry's key, a part of entries
	made    []made
	old     raw // the page read last: if it comes out the same it isn't put again
}

// made is a finished page.
type made struct {
	last []byte
	id   chunk.ID
}

func (b *builder) empty() bool { return len(b.starts) == 0 }

func (b *builder) add(key, value []byte) error {
	b.starts = append(b.starts, uint32(len(b.entries)))
	b.entries = binary.BigEndian.AppendUint16(b.entries, uint16(len(key)))
	b.entries = append(b.entries, key...)
	b.last = b.entries[len(b.entries)-len(key):]
	b.entries = append(b.entries, value...)
	size := headerSize + len(b.starts)*offsetSize + len(b.entries)
	if ends(b.level, size, key, entryOverhead+len(key)+len(value)) {
		return b.finish()
	}
	return nil
}

// finish ends the page, if one was begun.
func (b *builder) finish() error {
	if b.empty() {
		return nil
	}
	table := headerSize + len(b.starts)*offsetSize
	data := make([]byte, table, table+len(b.entries))
	data[0], data[1] = version, byte(b.level)
	binary.BigEndian.PutUint32(data[4:], uint32(len(b.starts)))
	for i, start := range b.starts {
		binary.BigEndian.PutUint32(data[headerSize+i*offsetSize:], uint32(table)+start)
	}
	data = append(data, b.entries...)
	id := b.old.id
	if !bytes.Equal(data, b.old.data) {
		var err error
		if id, err = b.sink.PutPage(b.ctx, data); err != nil {
			return fmt.Errorf("put page: %w", err)
		}
	}
	b.made = append(b.made, made{bytes.Clone(b.last), id})
	b.entries, b.starts = b.entries[:0], b.starts[:0]
	return nil
}

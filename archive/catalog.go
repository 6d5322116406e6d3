package archive

import (
	"encoding/binary"
	"errors"
	"slices"

	"bkfs/archive/page"
)

// An archiveRecord is an archive as the root and the journal hold it.
type archiveRecord struct {
	number  uint32
	name    string
	created Time
	changed Time
	removed bool // only its snapshots are left
	gone    bool // journal only: not even those
	base    base
}

func appendArchive(b []byte, a archiveRecord) []byte {
	b = binary.AppendUvarint(b, uint64(a.number))
	b = appendString(b, a.name)
	b = appendTime(b, a.created)
	b = appendTime(b, a.changed)
	b = appendBool(b, a.removed)
	b = appendBool(b, a.gone)
	return appendTree(b, a.base)
}

func (d *decoder) archive() archiveRecord {
	a := archiveRecord{
		number: d.uint32(), name: string(d.bytes(NameMax)), created: d.time(), changed: d.time(),
		removed: d.bool(), gone: d.bool(),
	}
	a.base = d.tree()
	if d.err == nil && (checkName(a.name) != nil || a.base.root == nil || !a.base.root.isDir()) {
		d.fail(errors.New("archive is out of range"))
	}
	return a
}

// A snapshotRecord is a snapshot as the root's paged map holds it, by archive
// and snapshot number.
type snapshotRecord struct {
	number  uint32
	archive uint32
	name    string
	time    Time
	auto    bool
	base    base
}

func (s snapshotRecord) key() []byte {
	b := binary.BigEndian.AppendUint32(nil, s.archive)
	return binary.BigEndian.AppendUint32(b, s.number)
}

func (s snapshotRecord) encode() []byte {
	b := binary.AppendUvarint(nil, uint64(s.number))
	b = binary.AppendUvarint(b, uint64(s.archive))
	b = appendString(b, s.name)
	b = appendTime(b, s.time)
	b = appendBool(b, s.auto)
	return appendTree(b, s.base)
}

func decodeSnapshot(b []byte) (snapshotRecord, error) {
	d := decoder{b: b}
	s := snapshotRecord{
		number: d.uint32(), archive: d.uint32(), name: string(d.bytes(NameMax)),
		time: d.time(), auto: d.bool(),
	}
	s.base = d.tree()
	d.end()
	if d.err == nil && (checkName(s.name) != nil || s.base.root == nil || !s.base.root.isDir()) {
		d.fail(errors.New("snapshot is out of range"))
	}
	return s, d.err
}

func sortEdits(edits []page.Edit) {
	slices.SortFunc(edits, func(a, b page.Edit) int { return slices.Compare(a.Key, b.Key) })
}

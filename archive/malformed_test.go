package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
	"bkfs/archive/page"
)

func number(v uint64) []byte { return binary.AppendUvarint(nil, v) }

// changed encodes a valid node with something wrong in it.
func changed(change func(*node)) []byte {
	n := vectorNode()
	change(n)
	return appendNode(nil, n)
}

func inlined(list ...extent) []byte {
	return changed(func(n *node) { n.content = extents{inline: list} })
}

// replaced is a vector in which the only occurrence of old is replaced.
func replaced(t *testing.T, name string, old, new []byte) []byte {
	t.Helper()
	b := vector(t, name)
	if bytes.Count(b, old) != 1 {
		t.Fatalf("%s has %x %d times", name, old, bytes.Count(b, old))
	}
	return bytes.Replace(b, old, new, 1)
}

// stampOf is a stamp of these fields, in their order.
func stampOf(fields ...int64) (b []byte) {
	for i, v := range fields {
		if i == 2 { // nanoseconds of birth
			b = binary.AppendUvarint(b, uint64(v))
		} else {
			b = binary.AppendVarint(b, v)
		}
	}
	return b
}

const (
	inoRange      = "inode number is out of range"
	inodeRange    = "inode is out of range"
	extentRange   = "extent is out of range"
	entryRange    = "entry is out of range"
	archiveRange  = "archive is out of range"
	snapshotRange = "snapshot is out of range"
	tooLong       = "field is too long"
	numberRange   = "number is out of range"
	nanoseconds   = "nanoseconds are out of range"
	truncated     = "record is truncated"
	tooHigh       = "page tree is too high"
)

func TestMalformed(t *testing.T) {
	id := repeated[chunk.ID](0x11)
	entry := func(e dirEntry) []byte { return appendName(nil, e) }
	stamp := func(n *node) []byte { return appendStamp(nil, stampDir, dirEntry{ino: n.attr.Ino, node: n}) }
	snapshot := func(name string, root *node) []byte {
		return snapshotRecord{number: 3, archive: 1, name: name, base: base{root: root}}.encode()
	}
	archive := func(name string, root *node) []byte {
		return appendArchive(nil, archiveRecord{number: 1, name: name, base: base{root: root}})
	}
	dir := &node{attr: Attr{Ino: RootIno, Mode: ModeDir}}
	long := strings.Repeat("x", NameMax+1)
	// 257, not shared: what attributes begin with.
	head := []byte{0x81, 0x02, 0x00}
	tests := []struct {
		codec, name, want string
		record            []byte
	}{
		{"node", "nothing", truncated, nil},
		{"node", "inode 0", inoRange, changed(func(n *node) { n.attr.Ino = 0 })},
		{"node", "inode too large", inoRange, changed(func(n *node) { n.attr.Ino = MaxIno + 1 })},
		{"node", "mode of over 16 bits", inodeRange, changed(func(n *node) { n.attr.Mode |= 1 << 16 })},
		{"node", "size too large", inodeRange, changed(func(n *node) { n.attr.Size = SizeMax + 1 })},
		{"node", "links of over 32 bits", numberRange, append(head, number(1<<32)...)},
		{"node", "number of over 64 bits", truncated, append(head, bytes.Repeat([]byte{0xff}, 11)...)},
		{"node", "a second of nanoseconds", nanoseconds, changed(func(n *node) { n.attr.Mtime.Nsec = 1e9 })},
		{"node", "attribute's name too long", tooLong, changed(func(n *node) { n.xattrs[long] = nil })},
		{"node", "attribute too long", tooLong, changed(func(n *node) { n.xattrs["a"] = make([]byte, XattrValueMax+1) })},
		{"node", "link's target too long", tooLong, changed(func(n *node) { n.target = strings.Repeat("x", 1<<16+1) })},
		{"node", "more attributes than bytes", truncated, replaced(t, "node-inline", []byte("\x02\x06user.a"), []byte("\xff\xff\xff\xff\x07\x06user.a"))},
		{"node", "unknown kind of content", "unknown kind of content", append(bytes.TrimSuffix(changed(func(n *node) { n.content = extents{} }), []byte{contentNone}), 3)},
		{"node", "more extents than bytes", truncated, replaced(t, "node-inline", []byte{1, 2, 0, 0xc0, 0x9a, 0x0c}, []byte{1, 0xff, 0xff, 0x7f, 0, 0xc0, 0x9a, 0x0c})},
		{"node", "extents overlap", "extents overlap", inlined(extent{0, 10, id, 0}, extent{9, 10, id, 0})},
		{"node", "extents descend", "extents overlap", inlined(extent{100, 10, id, 0}, extent{0, 10, id, 0})},
		{"node", "empty extent", extentRange, inlined(extent{0, 0, id, 0})},
		{"node", "extent beyond the largest file", extentRange, inlined(extent{SizeMax - 1, 2, id, 0})},
		{"node", "extent that wraps around", extentRange, inlined(extent{1, 1<<64 - 1, id, 0})},
		{"node", "page tree too high", tooHigh, changed(func(n *node) { n.content = extents{}; n.content.paged.Height = 17 })},
		{"name", "no name", entryRange, entry(dirEntry{"", 0, ModeFile, nil})},
		{"name", "name too long", tooLong, entry(dirEntry{long, 0, ModeFile, nil})},
		{"name", "malformed node", inodeRange, entry(dirEntry{"a", 0, ModeFile, &node{attr: Attr{Mode: ModeFile, Size: SizeMax + 1}}})},
		{"name", "a second of nanoseconds", nanoseconds, entry(dirEntry{"a", 0, ModeFile, &node{attr: Attr{Mode: ModeFile, Atime: Time{0, 1e9}}}})},
		{"name", "extents overlap", "extents overlap", entry(dirEntry{"a", 0, ModeFile, &node{
			attr: Attr{Mode: ModeFile}, content: extents{inline: []extent{{0, 10, id, 0}, {9, 10, id, 0}}}}})},
		{"name", "page tree too high", tooHigh, entry(dirEntry{"a", 0, ModeDir, &node{
			attr: Attr{Mode: ModeDir}, entries: directory{names: page.Root{Height: 17}}}})},
		{"stamp-shared", "inode 0", inoRange, stampOf(-int64(stampDir))},
		{"stamp-shared", "inode below 0", inoRange, stampOf(-int64(stampDir) - 1)},
		{"stamp-shared", "inode too large", inoRange, stampOf(int64(MaxIno - stampDir + 1))},
		{"stamp-shared", "inode that wraps around", inoRange, stampOf(math.MaxInt64)},
		{"stamp-file", "inode 0", inoRange, stamp(&node{attr: Attr{Mode: ModeFile}})},
		{"stamp-file", "birth of a second of nanoseconds", nanoseconds, stamp(&node{attr: Attr{Ino: 7, Mode: ModeFile, Btime: Time{0, 1e9}}})},
		{"stamp-file", "change of a second of nanoseconds", nanoseconds, stamp(&node{attr: Attr{Ino: 7, Mode: ModeFile, Ctime: Time{0, 1e9}}})},
		{"stamp-file", "change of negative nanoseconds", nanoseconds, stampOf(1, 0, 0, 0, -1)},
		{"stamp-file", "nanoseconds that wrap around", nanoseconds, stampOf(1, 0, 1, 0, math.MaxInt64)},
		{"stamp-directory", "page tree too high", tooHigh, stamp(&node{attr: Attr{Ino: 7, Mode: ModeDir}, entries: directory{stamps: page.Root{Height: 17}}})},
		{"extent", "empty", extentRange, appendExtent(nil, extent{0, 0, id, 0})},
		{"extent", "start of over 32 bits", numberRange, append(append(number(1), id[:]...), number(1<<32)...)},
		{"snapshot", "no name", snapshotRange, snapshot("", dir)},
		{"snapshot", "name with a slash", snapshotRange, snapshot("a/b", dir)},
		{"snapshot", "name that leads up", snapshotRange, snapshot("..", dir)},
		{"snapshot", "name too long", tooLong, snapshot(long, dir)},
		{"snapshot", "a file for a root", snapshotRange, snapshot("a", vectorNode())},
		{"snapshot", "malformed root", inoRange, snapshot("a", &node{attr: Attr{Mode: ModeDir}})},
		{"snapshot", "number of over 32 bits", numberRange, append(number(1<<32), vector(t, "snapshot")[2:]...)},
		{"archive", "name with a slash", archiveRange, archive("a/b", dir)},
		{"archive", "a file for a root", archiveRange, archive("a", vectorNode())},
		{"root", "bytes behind its end", "bytes behind its end", append(vector(t, "root"), 0)},
		{"root", "malformed archive", archiveRange, (&root{archives: []archiveRecord{{number: 1, name: "/", base: base{root: dir}}}}).encode()},
		{"root", "more archives than bytes", truncated, replaced(t, "root", []byte{0xad, 0x02, 2, 1, 9}, []byte{0xad, 0x02, 0xff, 0xff, 3, 1, 9})},
		{"root", "more packs than bytes", truncated, replaced(t, "root", []byte{0x81, 0x04, 2, 0xbb}, []byte{0x81, 0x04, 0x7f, 0xbb})},
		{"root", "time", nanoseconds, (&root{time: Time{0, 1e9}}).encode()},
		{"batch", "unknown tag", "record 11 out of place", []byte{11}},
		{"batch", "tag 0", "unknown tag 0", []byte{0}},
		{"batch", "unknown tag in a tree", "unknown tag 11", []byte{recordTree, 1, 1, 1, 1, 11}},
		{"batch", "path outside a tree", "record 6 out of place", []byte{recordPath, 1, 1, 1}},
		{"batch", "end outside a tree", "record 5 out of place", []byte{recordEnd}},
		{"batch", "packs in a tree", "record 1 out of place", []byte{recordTree, 1, 1, 1, 1, recordPacks, 0}},
		{"batch", "tree in a tree", "record 4 out of place", []byte{recordTree, 1, 1, 1, 1, recordTree, 1, 1, 1, 1}},
		{"batch", "more packs than bytes", truncated, []byte{recordPacks, 1}},
		{"batch", "chunk too long", tooLong, append([]byte{recordChunk, 1}, number(maxRecord+1)...)},
		{"batch", "name too long", tooLong, append([]byte{recordTree, 1, 1, 1, 1, recordName, 1, 99, 7, 8}, number(NameMax+1)...)},
		{"batch", "empty uncut range", "range is out of bounds", replaced(t, "batch", []byte{1, 0xe0, 0xa7, 0x12, 0xe5, 0xa7, 0x12}, []byte{1, 0xe0, 0xa7, 0x12, 0xe0, 0xa7, 0x12})},
		{"batch", "bytes beyond the largest file", "offset is out of bounds", append(append([]byte{recordTree, 1, 1, 1, 1, recordBytes, 7}, number(SizeMax)...), 1, 'x')},
	}
	for _, tt := range tests {
		_, err := codecOf(tt.codec)(tt.record)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: got %v, want %q", tt.codec, tt.name, err, tt.want)
		}
		if tt.codec == "batch" && !errors.Is(err, ErrDamaged) {
			t.Errorf("batch, %s: got %v, want it to be ErrDamaged", tt.name, err)
		}
	}
}

func TestMalformedKeys(t *testing.T) {
	for _, n := range []int{0, 7, 9} {
		if _, err := decodeCookie(make([]byte, n)); !errors.Is(err, ErrDamaged) {
			t.Errorf("directory key of %d bytes: got %v, want ErrDamaged", n, err)
		}
		if _, err := decodePagedExtent(make([]byte, n), vector(t, "extent")); !errors.Is(err, ErrDamaged) {
			t.Errorf("extent key of %d bytes: got %v, want ErrDamaged", n, err)
		}
	}
	if cookie, err := decodeCookie(cookieKey(1<<40 + 1)); cookie != 1<<40+1 || err != nil {
		t.Errorf("got cookie %d, %v; want %d", cookie, err, uint64(1<<40+1))
	}
}

// stopper fails at its first record.
type stopper struct {
	recorder
	err error
}

func (s *stopper) packs([]packRecord) error { return s.err }

func TestReaderStopsABatch(t *testing.T) {
	s := stopper{err: pack.ErrFormat}
	if err := decodeBatch(vector(t, "batch"), &s); !errors.Is(err, s.err) || len(s.b) > 0 {
		t.Errorf("got %v after %d more bytes, want %v", err, len(s.b), s.err)
	}
}

package archive

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"bkfs/archive/chunk"
	"bkfs/archive/page"
	"bkfs/archive/seal"
	"bkfs/archive/store/storetest"

	"github.com/google/go-cmp/cmp"
)

// The vectors in testdata/format were written from FORMAT.md by another
// implementation. A line is bytes in hexadecimal, "xx*n" for n bytes xx, and
// what they mean.
func vector(tb testing.TB, name string) []byte {
	tb.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "format", name+".hex"))
	if err != nil {
		tb.Fatal(err)
	}
	var b []byte
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits, times, repeated := strings.Cut(strings.TrimSpace(line), "*")
		part, err := hex.DecodeString(digits)
		n := 1
		if err == nil && repeated {
			n, err = strconv.Atoi(times)
		}
		if err != nil {
			tb.Fatalf("%s: line %q: %v", name, line, err)
		}
		b = append(b, bytes.Repeat(part, n)...)
	}
	return b
}

// A codec decodes a record and encodes what it has understood. The vectors'
// names begin with the codec's.
type codec func([]byte) ([]byte, error)

var codecs = map[string]codec{
	"node": func(b []byte) ([]byte, error) {
		d := decoder{b: b}
		n := d.node()
		return appendNode(nil, n), d.err
	},
	"name": func(b []byte) ([]byte, error) {
		e, err := decodeName(b)
		return appendName(nil, e), err
	},
	"stamp-file":      stampCodec(&node{attr: Attr{Mode: ModeFile}}),
	"stamp-directory": stampCodec(&node{attr: Attr{Mode: ModeDir}, entries: directory{names: page.Root{Count: 5}}}),
	"stamp-shared":    stampCodec(nil),
	"extent": func(b []byte) ([]byte, error) {
		e, err := decodePagedExtent(offsetKey(8192), b)
		return appendExtent(nil, e), err
	},
	"archive": func(b []byte) ([]byte, error) {
		d := decoder{b: b}
		a := d.archive()
		if d.err != nil {
			return nil, d.err
		}
		return appendArchive(nil, a), nil
	},
	"snapshot": func(b []byte) ([]byte, error) {
		s, err := decodeSnapshot(b)
		if err != nil {
			return nil, err
		}
		return s.encode(), nil
	},
	"root": func(b []byte) ([]byte, error) {
		r, err := decodeRoot(b)
		if err != nil {
			return nil, err
		}
		return r.encode(), nil
	},
	"batch": func(b []byte) ([]byte, error) {
		var r recorder
		err := decodeBatch(b, &r)
		r.leave()
		return r.b, err
	},
}

// stampDir is the directory that the stamps are of.
const stampDir Ino = 258

// stampCodec is that of the stamps of entries with such a node. What a stamp
// has depends on the name's record.
func stampCodec(n *node) codec {
	return func(b []byte) ([]byte, error) {
		e := dirEntry{node: n}
		if n != nil {
			e.node = n.clone()
		}
		err := e.addStamp(b, stampDir)
		return appendStamp(nil, stampDir, e), err
	}
}

var vectors = []string{
	"node-inline", "node-paged", "node-hole", "node-directory", "node-symlink", "node-device",
	"name-file", "name-directory", "name-shared", "stamp-file", "stamp-directory", "stamp-shared", "extent", "extent-hole", "archive", "snapshot", "root", "batch",
}

func codecOf(name string) codec {
	if c := codecs[name]; c != nil {
		return c
	}
	kind, _, _ := strings.Cut(name, "-")
	return codecs[kind]
}

// A recorder writes a journal batch again, record by record. A tree has ended
// where something else begins.
type recorder struct {
	b      []byte
	inTree bool
}

func (r *recorder) leave() {
	if r.inTree {
		r.b = append(r.b, recordEnd)
	}
	r.inTree = false
}

func (r *recorder) packs(list []packRecord) error {
	r.leave()
	r.b = appendPacks(r.b, list)
	return nil
}

func (r *recorder) chunk(kind chunk.Kind, data []byte) error {
	r.leave()
	r.b = appendChunk(r.b, kind, data)
	return nil
}

func (r *recorder) archive(a archiveRecord) error {
	r.leave()
	r.b = appendArchive(append(r.b, recordArchive), a)
	return nil
}

func (r *recorder) tree(number uint32, nextIno Ino, u Usage) error {
	r.leave()
	r.b, r.inTree = append(r.b, recordTree), true
	for _, v := range []uint64{uint64(number), uint64(nextIno), u.Inodes, u.Bytes} {
		r.b = binary.AppendUvarint(r.b, v)
	}
	return nil
}

func (r *recorder) path(ino Ino, p place) {
	r.b = binary.AppendUvarint(append(r.b, recordPath), uint64(ino))
	r.b = appendPlace(r.b, p)
}

func (r *recorder) name(p place, e dirEntry) {
	r.b = appendPlace(append(r.b, recordName), p)
	if r.b = binary.AppendUvarint(r.b, uint64(e.ino)); e.ino != 0 {
		r.b = appendString(append(r.b, byte(e.typ>>12)), e.name)
	}
}

func (r *recorder) node(n *node, changed []extent, uncut []span) error {
	r.b = appendAttr(append(r.b, recordNode), n)
	r.b = appendPlace(r.b, n.origin)
	if n.isDir() {
		r.b = binary.AppendUvarint(r.b, uint64(n.parent))
	}
	r.b = binary.AppendUvarint(r.b, uint64(len(changed)))
	for _, e := range changed {
		r.b = appendExtent(binary.AppendUvarint(r.b, e.Off), e)
	}
	r.b = binary.AppendUvarint(r.b, uint64(len(uncut)))
	for _, s := range uncut {
		r.b = binary.AppendUvarint(binary.AppendUvarint(r.b, s.from), s.to)
	}
	return nil
}

func (r *recorder) gone(ino Ino) {
	r.b = binary.AppendUvarint(append(r.b, recordGone), uint64(ino))
}

func (r *recorder) bytes(ino Ino, off uint64, data []byte) {
	r.b = binary.AppendUvarint(append(r.b, recordBytes), uint64(ino))
	r.b = appendBytes(binary.AppendUvarint(r.b, off), data)
}

func TestVectors(t *testing.T) {
	for _, name := range vectors {
		want := vector(t, name)
		got, err := codecOf(name)(want)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !bytes.Equal(got, want) {
			t.Errorf("%s: encoded again it is\n%x, want\n%x", name, got, want)
		}
	}
	files, err := filepath.Glob("testdata/format/*.hex")
	if err != nil || len(files) != len(vectors)+1 { // and root-object
		t.Errorf("%d vectors in testdata, want %d, %v", len(files), len(vectors)+1, err)
	}
}

// vectorNode is what node-inline.hex says.
func vectorNode() *node {
	return &node{
		attr: Attr{
			Ino: 257, Mode: 0o100644, Nlink: 1, UID: 1000, GID: 100, Size: 300_000,
			Atime: Time{1795442709, 0}, Mtime: Time{1795442709, 123456789}, Ctime: Time{-1, 999999999},
		},
		xattrs: map[string][]byte{"user.a": []byte("b"), "user.empty": {}},
		content: extents{inline: []extent{
			{Off: 0, Len: 200_000, Chunk: repeated[chunk.ID](0x11)},
			{Off: 204_096, Len: 95_904, Chunk: repeated[chunk.ID](0x22), Start: 4096},
		}},
	}
}

// vectorDirectory is what node-directory.hex has of entries.
func vectorDirectory() directory {
	return directory{
		names:  page.Root{ID: repeated[chunk.ID](0x44), Height: 1, Count: 5},
		stamps: page.Root{ID: repeated[chunk.ID](0x4a), Height: 1, Count: 5},
	}
}

func repeated[T ~[32]byte](b byte) (id T) {
	for i := range id {
		id[i] = b
	}
	return id
}

// records is what cmp needs for records.
var records = cmp.AllowUnexported(node{}, extents{}, directory{}, dirEntry{}, place{}, archiveRecord{}, base{})

// What the vectors mean, where encoding again can't tell: fields that change
// places would not be noticed.
func TestVectorsMean(t *testing.T) {
	d := decoder{b: vector(t, "node-inline")}
	if diff := cmp.Diff(vectorNode(), d.node(), records); diff != "" {
		t.Errorf("node-inline (-want +got):\n%s", diff)
	}
	for name, want := range map[string]dirEntry{
		"file": {"naïve.txt", 257, ModeFile, vectorNode()},
		"directory": {"letters", 2, ModeDir, &node{parent: stampDir, entries: vectorDirectory(), attr: Attr{
			Ino: 2, Mode: 0o40755, Nlink: 3, UID: 1000, GID: 100, Size: 5, Atime: Time{1795442709, 0},
			Mtime: Time{1795442709, 123456789}, Ctime: Time{1795442711, 3}, Btime: Time{1795442709, 5},
		}}},
		"shared": {"linked", 259, ModeFile, nil},
	} {
		e, err := decodeEntry(stampDir, vector(t, "name-"+name), vector(t, "stamp-"+name))
		if diff := cmp.Diff(want, e, records); diff != "" || err != nil {
			t.Errorf("name and stamp of a %s: %v (-want +got):\n%s", name, err, diff)
		}
	}
	x, err := decodePagedExtent(offsetKey(8192), vector(t, "extent"))
	want := extent{Off: 8192, Len: 65536, Chunk: repeated[chunk.ID](0x55), Start: 17}
	if x != want || err != nil {
		t.Errorf("extent: got %v, %v; want %v", x, err, want)
	}
	d = decoder{b: vector(t, "archive")}
	a := archiveRecord{
		number: 1, name: "documents", created: Time{1795442709, 1}, changed: Time{1795442710, 2},
		base: base{
			inodes: page.Root{ID: repeated[chunk.ID](0x66), Height: 1, Count: 3}, nextIno: 262, usage: Usage{9, 1349576},
			root: &node{parent: RootIno, entries: vectorDirectory(), attr: Attr{
				Ino: 1, Mode: 0o40755, Nlink: 3, UID: 1000, GID: 100, Size: 5, Atime: Time{1795442709, 0},
				Mtime: Time{1795442709, 123456789}, Ctime: Time{-1, 999999999},
			}},
		},
	}
	if diff := cmp.Diff(a, d.archive(), records); diff != "" {
		t.Errorf("archive (-want +got):\n%s", diff)
	}
}

// vectorKey is the repository key of the vectors, and vectorID its repository.
func vectorKey(tb testing.TB) *seal.Key {
	b := make([]byte, seal.KeySize)
	for i := range b {
		b[i] = byte(i)
	}
	key, err := seal.KeyFrom(b)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(key.Destroy)
	return key
}

func vectorKeys(tb testing.TB) *seal.Keys {
	id, err := seal.ParseRepositoryID("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf")
	if err != nil {
		tb.Fatal(err)
	}
	keys, err := seal.NewKeys(vectorKey(tb), id)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(keys.Destroy)
	return keys
}

func TestRootVector(t *testing.T) {
	var st storetest.Memory
	if err := st.Put(t.Context(), rootName(7), vector(t, "root-object")); err != nil {
		t.Fatal(err)
	}
	r, err := latestRoot(t.Context(), &st, vectorKeys(t))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := r.encode(), vector(t, "root"); !bytes.Equal(got, want) {
		t.Errorf("the root holds\n%x, want\n%x", got, want)
	}
	if r.generation != 7 || r.journal != 9 || r.nextNumber != 301 || len(r.archives) != 2 || !r.archives[1].removed ||
		r.packs.Count != 513 || len(r.recent) != 2 || r.recent[1].size != 8192 || r.places[0].Place.Length != 20000 {
		t.Errorf("the root is %+v", r)
	}
}

// No part of a record is a record; of a batch it may be fewer records.
func TestTruncated(t *testing.T) {
	for _, name := range vectors {
		whole := vector(t, name)
		for n := range whole {
			got, err := codecOf(name)(whole[:n:n])
			if err != nil {
				continue
			}
			if name != "batch" || !bytes.HasPrefix(got, whole[:n]) {
				t.Errorf("%s: the first %d of %d bytes pass", name, n, len(whole))
			}
		}
	}
}

// What a live tree gives the journal is what the vectors describe.
func TestCapturedBatch(t *testing.T) {
	f := newFixture(t)
	tree := f.archive("a")
	write(t, tree, RootIno, "file", random(300_000))
	dir, err := tree.Mknod(t.Context(), RootIno, "dir", Creation{Mode: ModeDir | 0o755, Xattrs: map[string][]byte{"user.a": {1}}})
	if err != nil {
		t.Fatal(err)
	}
	a, err := tree.Symlink(t.Context(), dir.Ino, "link", "target", Creation{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Link(t.Context(), a.Ino, RootIno, "second"); err != nil {
		t.Fatal(err)
	}
	ino := write(t, tree, dir.Ino, "gone", []byte("x"))
	if err := tree.Unlink(t.Context(), dir.Ino, "gone"); err != nil {
		t.Fatal(err)
	}
	tree.Forget(ino, 1)
	f.commitMu.Lock() // the committer's tick would take it
	batch := f.captureArchives(nil)
	tree.gate.Lock()
	batch = tree.capture(batch)
	tree.gate.Unlock()
	f.stale = true // the journal lacks it now
	f.commitMu.Unlock()
	got, err := codecs["batch"](batch)
	if err != nil || !bytes.Equal(got, batch) {
		t.Errorf("encoded again the batch is\n%x, want\n%x, %v", got, batch, err)
	}
	for _, name := range []string{"file", "dir", "link", "second"} {
		if !bytes.Contains(batch, appendString(nil, name)) {
			t.Errorf("no name %q in the batch", name)
		}
	}
}

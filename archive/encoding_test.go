package archive

import (
	"bytes"
	"strings"
	"testing"
)

// One content has one encoding: pages are named by theirs.
func TestOneEncoding(t *testing.T) {
	entry := func(e dirEntry) []byte { return appendEntry(nil, e) }
	tree := []byte{recordTree, 1, 1, 1, 1}
	in := func(record ...byte) []byte { return append(append(bytes.Clone(tree), record...), recordEnd) }
	const behind, longer, bool2 = "bytes behind its end", "longer than it needs to be", "neither true nor false"
	d := decoder{b: vector(t, "archive")}
	dir := appendNode(nil, d.archive().base.root)
	other := vectorNode()
	other.attr.Ino = 7
	shared := vectorNode()
	shared.shared = true
	tests := []struct {
		codec, name, want string
		record            []byte
	}{
		{"entry", "bytes behind its end", behind, append(vector(t, "entry-node"), 0)},
		{"extent", "bytes behind its end", behind, append(vector(t, "extent"), 0)},
		{"snapshot", "bytes behind its end", behind, append(vector(t, "snapshot"), 0)},
		{"archive", "bytes behind its root's node", behind, replaced(t, "archive", appendBytes(nil, dir), appendBytes(nil, append(bytes.Clone(dir), 0)))},
		{"entry", "a long number", longer, []byte{1, 'a', 0x81, 0, 8, 0}},
		{"entry", "neither with nor without node", bool2, append(entry(dirEntry{"a", 7, ModeFile, nil})[:4:4], 2)},
		{"entry", "name with a slash", entryRange, entry(dirEntry{"a/b", 7, ModeFile, nil})},
		{"entry", "name with a zero", entryRange, entry(dirEntry{"a\x00", 7, ModeFile, nil})},
		{"entry", "name that leads up", entryRange, entry(dirEntry{"..", 7, ModeFile, nil})},
		{"entry", "type of over 4 bits", entryRange, []byte{1, 'a', 7, 0x18, 0}},
		{"entry", "node of another inode", "another inode's node", entry(dirEntry{"a", 257, ModeFile, other})},
		{"entry", "node of another type", "another inode's node", entry(dirEntry{"a", 257, ModeDir, vectorNode()})},
		{"entry", "shared node", "another inode's node", entry(dirEntry{"a", 257, ModeFile, shared})},
		{"batch", "tree without end", truncated, tree},
		{"batch", "name with a slash", entryRange, in(recordName, 1, 99, 7, 8, 1, '/')},
		{"batch", "path of inode 0", inodeRange, in(recordPath, 0, 1, 99)},
		{"batch", "inode 0 is gone", inodeRange, in(recordGone, 0)},
		{"batch", "bytes of inode 0", inodeRange, in(recordBytes, 0, 0, 1, 'x')},
	}
	for _, tt := range tests {
		if _, err := codecs[tt.codec](tt.record); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: got %v, want %q", tt.codec, tt.name, err, tt.want)
		}
	}
}

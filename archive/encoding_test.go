package archive

import (
	"bytes"
	"strings"
	"testing"
)

// One content has one encoding: pages are named by theirs.
func TestOneEncoding(t *testing.T) {
	entry := func(e dirEntry) []byte { return appendName(nil, e) }
	tree := []byte{recordTree, 1, 1, 1, 1}
	in := func(record ...byte) []byte { return append(append(bytes.Clone(tree), record...), recordEnd) }
	const behind, longer, bool2 = "bytes behind its end", "longer than it needs to be", "neither true nor false"
	d := decoder{b: vector(t, "archive")}
	dir := appendNode(nil, d.archive().base.root)
	tests := []struct {
		codec, name, want string
		record            []byte
	}{
		{"name", "bytes behind its end", behind, append(vector(t, "name-file"), 0)},
		{"name", "bytes behind a shared node's name", behind, append(vector(t, "name-shared"), 0)},
		{"stamp-file", "bytes behind its end", behind, append(vector(t, "stamp-file"), 0)},
		{"stamp-shared", "times of a shared node", behind, vector(t, "stamp-file")},
		{"stamp-file", "pages of a file", behind, vector(t, "stamp-directory")},
		{"extent", "bytes behind its end", behind, append(vector(t, "extent"), 0)},
		{"snapshot", "bytes behind its end", behind, append(vector(t, "snapshot"), 0)},
		{"archive", "bytes behind its root's node", behind, replaced(t, "archive", appendBytes(nil, dir), appendBytes(nil, append(bytes.Clone(dir), 0)))},
		{"name", "a long number", longer, []byte{0x81, 0, 'a', 8, 0}},
		{"name", "neither with nor without node", bool2, []byte{1, 'a', 8, 2}},
		{"name", "name with a slash", entryRange, entry(dirEntry{"a/b", 0, ModeFile, nil})},
		{"name", "name with a zero", entryRange, entry(dirEntry{"a\x00", 0, ModeFile, nil})},
		{"name", "name that leads up", entryRange, entry(dirEntry{"..", 0, ModeFile, nil})},
		{"name", "type of over 4 bits", entryRange, []byte{1, 'a', 0x18, 0}},
		{"name", "node of another type", "of different types", entry(dirEntry{"a", 0, ModeDir, vectorNode()})},
		{"stamp-shared", "a long number", longer, []byte{0x82, 0}},
		{"batch", "tree without end", truncated, tree},
		{"batch", "name with a slash", entryRange, in(recordName, 1, 99, 7, 8, 1, '/')},
		{"batch", "path of inode 0", inodeRange, in(recordPath, 0, 1, 99)},
		{"batch", "inode 0 is gone", inodeRange, in(recordGone, 0)},
		{"batch", "bytes of inode 0", inodeRange, in(recordBytes, 0, 0, 1, 'x')},
	}
	for _, tt := range tests {
		if _, err := codecOf(tt.codec)(tt.record); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s, %s: got %v, want %q", tt.codec, tt.name, err, tt.want)
		}
	}
}

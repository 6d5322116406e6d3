package fs

import (
	"testing"

	"bkfs/archive"
)

func TestNodeID(t *testing.T) {
	for _, c := range []struct {
		view uint32
		ino  archive.Ino
	}{
		{1, 1}, {1, 2}, {firstDynamicView - 1, archive.RootIno}, {firstDynamicView, 7},
		{endOfViews - 1, snapshotsFlag - 1}, {3, snapshotsFlag | 9},
	} {
		id := makeID(c.view, c.ino)
		if id.view() != c.view || id.ino() != c.ino {
			t.Errorf("makeID(%d, %d): got view %d, inode %d", c.view, c.ino, id.view(), id.ino())
		}
	}
}

func TestNodeKind(t *testing.T) {
	for _, c := range []struct {
		name string
		id   nodeID
		kind kind
		ino  archive.Ino
	}{
		{"mount root", rootNode, kindRoot, 1},
		{"snapshots", snapshotsNode, kindArchives, 2},
		{"snapshots/<archive>", archiveNode(5), kindArchive, 5},
		{"greatest archive", archiveNode(firstDynamicView - 1), kindArchive, archive.Ino(firstDynamicView - 1)},
		{"latest", latestNode(5), kindLatest, 5},
		{"inode", makeID(5, 7), kindInode, 7},
		{"greatest inode", makeID(5, snapshotsFlag-1), kindInode, snapshotsFlag - 1},
		{".snapshots", makeID(5, snapshotsFlag|7), kindSnapshots, 7},
		{"zero", 0, kindNone, 0},
		{"nothing in view 0", makeID(0, 3), kindNone, 0},
		{"inode 0", makeID(5, 0), kindNone, 0},
		{".snapshots of inode 0", makeID(5, snapshotsFlag), kindNone, 0},
		{"two flags", makeID(0, archiveFlag|latestFlag|5), kindNone, 0},
	} {
		if k, ino := c.id.kind(); k != c.kind || ino != c.ino {
			t.Errorf("%s: got kind %d, number %d, want %d, %d", c.name, k, ino, c.kind, c.ino)
		}
	}
}

package fs

import (
	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A nodeID is what the kernel knows a node by: 24 bits of view, 40 of inode.
// Node 1 is the mount's root whatever that shows.
type nodeID uint64

const (
	inoBits  = 40
	viewBits = 64 - inoBits

	// snapshotsFlag marks the .snapshots directory of the directory whose inode
	// number the other bits hold. No tree gets as far as 1<<39 inodes.
	snapshotsFlag archive.Ino = 1 << (inoBits - 1)

	// firstDynamicView is where the numbers of views start that aren't a tree's
	// own: tree numbers are below it.
	firstDynamicView uint32 = 1 << (viewBits - 1)
	endOfViews       uint32 = 1 << viewBits
)

// View 0 is the directories that are in no archive. Beside these two it holds,
// for each archive's number, the directory of its snapshots and the link to the
// latest: nothing about them needs to be remembered.
const (
	rootNode      = nodeID(fuse.FUSE_ROOT_ID)
	snapshotsNode = nodeID(2)

	archiveFlag archive.Ino = 1 << 32
	latestFlag  archive.Ino = 1 << 33
)

func makeID(view uint32, ino archive.Ino) nodeID {
	return nodeID(view)<<inoBits | nodeID(ino)
}

func (id nodeID) view() uint32     { return uint32(id >> inoBits) }
func (id nodeID) ino() archive.Ino { return archive.Ino(id & (1<<inoBits - 1)) }

func archiveNode(number uint32) nodeID { return makeID(0, archiveFlag|archive.Ino(number)) }
func latestNode(number uint32) nodeID  { return makeID(0, latestFlag|archive.Ino(number)) }

// A kind says what a node is.
type kind uint8

const (
	kindNone      kind = iota
	kindInode          // an inode of a tree
	kindSnapshots      // a directory's .snapshots
	kindRoot           // the mount's root
	kindArchives       // /snapshots
	kindArchive        // /snapshots/<archive>
	kindLatest         // /snapshots/<archive>/latest
)

// kind tells what id is, and for kindArchive and kindLatest the archive's
// number, for the others the inode number (kindSnapshots: its directory's).
func (id nodeID) kind() (kind, archive.Ino) {
	ino := id.ino()
	switch {
	case id.view() != 0 && ino&^snapshotsFlag == 0:
		return kindNone, 0
	case id.view() != 0 && ino&snapshotsFlag != 0:
		return kindSnapshots, ino &^ snapshotsFlag
	case id.view() != 0:
		return kindInode, ino
	case id == rootNode:
		return kindRoot, ino
	case id == snapshotsNode:
		return kindArchives, ino
	case ino&^(1<<viewBits-1) == archiveFlag:
		return kindArchive, ino &^ archiveFlag
	case ino&^(1<<viewBits-1) == latestFlag:
		return kindLatest, ino &^ latestFlag
	}
	return kindNone, 0
}

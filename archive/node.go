package archive

import (
	"encoding/binary"
	"errors"
	"maps"
	"slices"

	"bkfs/archive/page"
)

// A node is one inode of a tree. A node that is in an overlay belongs to it and
// changes under the tree's lock; every other node is shared and immutable.
//
// attr.Size of a directory is its number of entries, attr.Nlink counts its
// subdirectories' "..".
type node struct {
	attr   Attr // Blocks is unused
	parent Ino  // directories only
	shared bool // has had several names: lives in the inode tree, not in its entry
	xattrs map[string][]byte
	target string // symbolic links only

	entries directory // directories: what the base tree holds
	content extents   // files: what the base tree holds

	// Files in an overlay: what changed since, newest first. beneath belongs
	// to the frozen overlay, and is nil again once that one is folded.
	changed *extentMap
	beneath *extentMap

	// origin is, in an overlay, where the base has the node: a replay finds
	// what it had there. Zero for nodes that the base has in the inode tree,
	// or doesn't have.
	origin place
}

func (n *node) isDir() bool  { return n.attr.Mode&ModeType == ModeDir }
func (n *node) isFile() bool { return n.attr.Mode&ModeType == ModeFile }

// clone returns a node for a younger overlay.
func (n *node) clone() *node {
	c := *n
	c.xattrs = maps.Clone(n.xattrs)
	c.beneath, c.changed = n.changed, nil
	return &c
}

// put makes e part of the node's content.
func (n *node) put(e extent) {
	if n.changed == nil {
		n.changed = new(extentMap)
	}
	n.changed.put(e)
}

// stat is the node as stat(2) shows it.
func (n *node) stat() Attr {
	a := n.attr
	switch {
	case n.isDir():
		a.Size = 4096
		a.Blocks = 8
	case a.Mode&ModeType == ModeSymlink:
		a.Size = uint64(len(n.target))
	default:
		a.Blocks = (a.Size + 511) / 512
	}
	return a
}

func appendRoot(b []byte, r page.Root) []byte {
	b = append(b, r.ID[:]...)
	b = append(b, r.Height)
	return binary.AppendUvarint(b, r.Count)
}

func (d *decoder) root() page.Root {
	r := page.Root{ID: d.id(), Height: d.byte(), Count: d.uvarint()}
	if r.Height > 16 {
		d.fail(errors.New("page tree is too high"))
	}
	return r
}

// appendNode appends n without its overlay parts, as pages and roots hold it.
func appendNode(b []byte, n *node) []byte {
	b = appendAttr(b, n)
	switch n.attr.Mode & ModeType {
	case ModeDir:
		b = binary.AppendUvarint(b, uint64(n.parent))
		b = appendDirectory(b, n.entries)
	case ModeFile:
		b = appendExtents(b, n.content)
	}
	return b
}

// appendAttr appends what the journal and the pages have in common.
func appendAttr(b []byte, n *node) []byte {
	a := &n.attr
	b = binary.AppendUvarint(b, uint64(a.Ino))
	b = appendBool(b, n.shared)
	b = binary.AppendUvarint(b, uint64(a.Nlink))
	for _, t := range []Time{a.Atime, a.Mtime, a.Ctime, a.Btime} {
		b = appendTime(b, t)
	}
	return appendFace(b, n)
}

// appendFace appends the attributes that a copy of the inode has too.
func appendFace(b []byte, n *node) []byte {
	a := &n.attr
	b = binary.AppendUvarint(b, uint64(a.Mode))
	b = binary.AppendUvarint(b, uint64(a.UID))
	b = binary.AppendUvarint(b, uint64(a.GID))
	b = binary.AppendUvarint(b, uint64(a.Rdev))
	b = binary.AppendUvarint(b, a.Size)
	b = binary.AppendUvarint(b, uint64(len(n.xattrs)))
	for _, name := range slices.Sorted(maps.Keys(n.xattrs)) {
		b = appendString(b, name)
		b = appendBytes(b, n.xattrs[name])
	}
	return appendString(b, n.target)
}

func (d *decoder) node() *node {
	n := d.attr()
	switch n.attr.Mode & ModeType {
	case ModeDir:
		n.parent = Ino(d.uvarint())
		n.entries = d.directory()
	case ModeFile:
		n.content = d.extents()
	}
	return n
}

func (d *decoder) attr() *node {
	ino, shared, links := Ino(d.uvarint()), d.bool(), d.uint32()
	var times [4]Time
	for i := range times {
		times[i] = d.time()
	}
	n := d.face()
	n.shared = shared
	a := &n.attr
	a.Ino, a.Nlink = ino, links
	a.Atime, a.Mtime, a.Ctime, a.Btime = times[0], times[1], times[2], times[3]
	if d.err == nil && (ino == 0 || ino > MaxIno) {
		d.fail(errors.New("inode number is out of range"))
	}
	return n
}

// isType tells whether a mode's type bits are those of a kind of file.
func isType(typ uint32) bool {
	switch typ {
	case ModeFile, ModeDir, ModeSymlink, ModeFIFO, ModeSocket, ModeChar, ModeBlock:
		return true
	}
	return false
}

func (d *decoder) face() *node {
	n := new(node)
	a := &n.attr
	a.Mode, a.UID, a.GID, a.Rdev = d.uint32(), d.uint32(), d.uint32(), d.uint32()
	a.Size = d.uvarint()
	if count := d.count(2); count > 0 {
		n.xattrs = make(map[string][]byte, min(count, 64))
		last := ""
		for range count {
			name := string(d.bytes(XattrNameMax))
			n.xattrs[name] = slices.Clone(d.bytes(XattrValueMax))
			if d.err == nil && name <= last {
				d.fail(errors.New("attributes are out of order"))
			}
			last = name
		}
	}
	n.target = string(d.bytes(1 << 16))
	if d.err == nil && (a.Mode&^(ModeType|0o7777) != 0 || !isType(a.Mode&ModeType) || a.Size > SizeMax ||
		(n.target != "") != (a.Mode&ModeType == ModeSymlink)) {
		d.fail(errors.New("inode is out of range"))
	}
	return n
}

func inoKey(i Ino) []byte { return binary.BigEndian.AppendUint64(nil, uint64(i)) }

package archive

import "github.com/tidwall/btree"

// An overlay is what changed in a live tree since its base was written to
// pages: whole nodes, and the names that came and went. Everything in it is in
// the journal too, or about to be.
type overlay struct {
	nodes map[Ino]*node
	names map[Ino]*nameMap
	gone  map[Ino]struct{} // shared nodes without a name or user left
	// paths leads from every node here, and from every directory above one, to
	// its entry, so that a fold finds its way from the root.
	paths map[Ino]place
}

// A nameMap holds a directory's changed entries by cookie; an entry without an
// inode says that the name is gone.
type nameMap = btree.Map[uint64, dirEntry]

// A place is where a node's entry is. Shared nodes have none: dir is 0.
type place struct {
	dir    Ino
	cookie uint64
}

func newOverlay() *overlay {
	return &overlay{
		nodes: make(map[Ino]*node),
		names: make(map[Ino]*nameMap),
		gone:  make(map[Ino]struct{}),
		paths: make(map[Ino]place),
	}
}

func (o *overlay) isEmpty() bool {
	return o == nil || len(o.nodes) == 0 && len(o.names) == 0 && len(o.gone) == 0
}

// name returns what o says of a cookie of a directory; ok is false when o
// doesn't know.
func (o *overlay) name(dir Ino, cookie uint64) (e dirEntry, ok bool) {
	if o == nil {
		return dirEntry{}, false
	}
	if m := o.names[dir]; m != nil {
		return m.Get(cookie)
	}
	return dirEntry{}, false
}

func (o *overlay) node(ino Ino) *node {
	if o == nil {
		return nil
	}
	return o.nodes[ino]
}

func (o *overlay) setName(dir Ino, cookie uint64, e dirEntry) {
	m := o.names[dir]
	if m == nil {
		m = new(nameMap)
		o.names[dir] = m
	}
	m.Set(cookie, e)
}

// unsaved is what changed since the last journal record: the keys of overlay
// parts, and for files the extents that came since.
type unsaved struct {
	nodes map[Ino]*extentMap // nil when only attributes changed
	names map[place]struct{}
	paths map[Ino]struct{}
	// dirs is the last image of directories that are no more: a replay finds
	// through their origin what was moved out of them.
	dirs map[Ino]*node
}

func newUnsaved() unsaved {
	return unsaved{
		nodes: make(map[Ino]*extentMap),
		names: make(map[place]struct{}),
		paths: make(map[Ino]struct{}),
		dirs:  make(map[Ino]*node),
	}
}

func (u *unsaved) isEmpty() bool {
	return len(u.nodes) == 0 && len(u.names) == 0 && len(u.paths) == 0
}

func (u *unsaved) node(ino Ino) {
	if _, ok := u.nodes[ino]; !ok {
		u.nodes[ino] = nil
	}
}

func (u *unsaved) extent(ino Ino, e extent) {
	m := u.nodes[ino]
	if m == nil {
		m = new(extentMap)
		u.nodes[ino] = m
	}
	m.put(e)
}

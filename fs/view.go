package fs

import (
	"fmt"
	"sync"
	"sync/atomic"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// A view is one way into one tree. It is in the table while the kernel knows a
// node of it.
type view struct {
	tree   *archive.Tree
	number uint32      // in node ids
	top    archive.Ino // its uppermost directory
	above  nodeID      // the directory that top is in
	live   bool        // the tree is a live one: its directories have .snapshots
	way    way         // how it was reached; zero for a tree under its own number

	// generation tells the kernel an archive's root from that of an earlier
	// archive of the same number.
	generation uint64

	name string // of top, when the kernel last asked; guarded by the table's lock

	// refs counts the kernel's references to all nodes under the number. It
	// only rises from 0, and the view only leaves the table, under the table's
	// lock.
	refs *atomic.Int64
}

// A way leads from a directory through its .snapshots into a snapshot.
type way struct {
	live     uint32 // number of the view of the live tree
	dir      archive.Ino
	snapshot uint32 // number of the snapshot's tree
}

// id returns the node id of an inode of v.
func (v *view) id(ino archive.Ino) nodeID { return makeID(v.number, ino) }

// stIno returns what stat(2) shows as the inode number of an inode of v.
func (v *view) stIno(ino archive.Ino) uint64 { return uint64(makeID(v.tree.Number(), ino)) }

// gain counts one reference to a node of v, beside those that make the caller
// know v.
func (v *view) gain() { v.refs.Add(1) }

// A viewTable holds the views that the kernel knows.
type viewTable struct {
	mu   sync.RWMutex
	by   map[uint32]*view
	ways map[way]*view
	next uint32
}

func newViewTable() *viewTable {
	return &viewTable{
		by:   make(map[uint32]*view),
		ways: make(map[way]*view),
		next: firstDynamicView,
	}
}

// get returns the view with that number, nil when the kernel can't know it.
func (t *viewTable) get(number uint32) *view {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.by[number]
}

// enter returns the view of a tree under its own number, with one reference
// more. An archive that was removed and made again has another tree of the same
// number: what the kernel still knows of the old one then is stale.
func (t *viewTable) enter(tree *archive.Tree, live bool, above nodeID, name string) *view {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.by[tree.Number()]
	if v == nil || live && v.tree != tree {
		fresh := &view{
			tree: tree, number: tree.Number(), live: live,
			top: archive.RootIno, above: above, refs: new(atomic.Int64),
		}
		if v != nil {
			fresh.refs, fresh.generation = v.refs, v.generation+1
		}
		v = fresh
		t.by[v.number] = v
	}
	v.name = name
	v.gain()
	return v
}

// enterBy returns the view of a snapshot's tree from top on that the way leads
// to, with one reference more.
func (t *viewTable) enterBy(w way, tree *archive.Tree, top archive.Ino, name string) (*view, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	v := t.ways[w]
	if v == nil || v.top != top || v.tree != tree {
		number, err := t.free()
		if err != nil {
			return nil, err
		}
		v = &view{
			tree: tree, number: number, way: w,
			top: top, above: makeID(w.live, snapshotsFlag|w.dir), refs: new(atomic.Int64),
		}
		t.by[number] = v
		t.ways[w] = v
	}
	v.name = name
	v.gain()
	return v, nil
}

// free finds a number for another view. The table is locked.
func (t *viewTable) free() (uint32, error) {
	for range endOfViews - firstDynamicView {
		n := t.next
		if t.next++; t.next == endOfViews {
			t.next = firstDynamicView
		}
		if t.by[n] == nil {
			return n, nil
		}
	}
	return 0, fmt.Errorf("too many snapshot directories are in use: %w", archive.ErrTooBig)
}

// lose takes n references to nodes of v back.
func (t *viewTable) lose(v *view, n uint64) {
	if v.refs.Add(-int64(n)) > 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.by[v.number]; now == nil || now.refs != v.refs || v.refs.Load() > 0 {
		return
	}
	delete(t.by, v.number)
	if t.ways[v.way] == v {
		delete(t.ways, v.way)
	}
}

// renamed compares the names of all views with what current says of their
// tree's number, and returns those that the kernel knows under another name. It
// takes note of the new ones.
func (t *viewTable) renamed(current map[uint32]string) (old []invalidEntry) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, v := range t.by {
		name := current[v.tree.Number()]
		if name == v.name || v.name == "" {
			continue
		}
		old = append(old, invalidEntry{v.above, v.name})
		if v.live {
			old = append(old, invalidEntry{snapshotsNode, v.name})
		}
		v.name = name
	}
	return old
}

// A node is a node id resolved.
type node struct {
	kind kind
	id   nodeID
	view *view       // kindInode and kindSnapshots
	ino  archive.Ino // as nodeID.kind says
}

// node resolves what the kernel calls a node, for a request that is use.
func (f *filesystem) node(raw uint64) (node, fuse.Status) {
	f.use.touch()
	id := nodeID(raw)
	if f.single != nil && id == rootNode {
		return node{kindInode, id, f.single, archive.RootIno}, fuse.OK
	}
	k, ino := id.kind()
	n := node{kind: k, id: id, ino: ino}
	switch k {
	case kindNone:
		return n, estale
	case kindInode, kindSnapshots:
		if n.view = f.views.get(id.view()); n.view == nil {
			return n, estale
		}
	}
	return n, fuse.OK
}

// inode resolves a node that must be an inode of a tree: other nodes can't
// change, and answer refused.
func (f *filesystem) inode(raw uint64, refused fuse.Status) (*view, archive.Ino, fuse.Status) {
	n, st := f.node(raw)
	if st != fuse.OK {
		return nil, 0, st
	}
	if n.kind != kindInode {
		if n.kind == kindRoot && refused == fuse.EROFS {
			refused = fuse.EPERM
		}
		return nil, 0, refused
	}
	return n.view, n.ino, fuse.OK
}

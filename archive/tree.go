package archive

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"bkfs/archive/page"
)

// A Tree is an archive's live tree or one of its snapshots. Inodes are known
// by number; a number is good from the call that gave it out until Forget has
// taken back as many references as were given.
//
// A live tree is an immutable base, in pages, below one or two overlays in
// memory: active takes every change; frozen is there while a fold writes it
// into the next base.
type Tree struct {
	repo     *Repository
	number   uint32
	readOnly bool

	// gate is held shared by every change and alone while the overlay is being
	// frozen. Order of locks: gate, file.mu, mu.
	gate sync.RWMutex

	mu      sync.RWMutex // guards all below; never held across store I/O
	base    base
	gen     uint64 // rises whenever base is replaced
	active  *overlay
	frozen  *overlay
	unsaved unsaved
	refs    map[Ino]*ref
	files   map[Ino]*file
	orphans map[Ino]struct{} // nameless but referenced or open
	nextIno Ino
	usage   Usage
	changed Time // the last change

	frozenIno   Ino // nextIno and usage when the overlay was frozen
	frozenUsage Usage
}

// A base is a tree as its pages hold it.
type base struct {
	root    *node
	inodes  page.Root // the shared nodes, by big-endian inode number
	nextIno Ino
	usage   Usage
}

// Usage is the logical size of a tree.
type Usage struct {
	Inodes uint64 // files, directories and all others
	Bytes  uint64 // sum of the files' sizes, holes included
}

// A ref is an inode that somebody outside knows by number. Each holds one
// reference on its directory's, so that the way to the root is always known.
type ref struct {
	place
	n uint64
}

func newTree(r *Repository, number uint32, b base, readOnly bool) *Tree {
	t := &Tree{
		repo: r, number: number, readOnly: readOnly,
		base: b, active: newOverlay(), unsaved: newUnsaved(),
		refs:    map[Ino]*ref{RootIno: {n: 1}},
		files:   make(map[Ino]*file),
		orphans: make(map[Ino]struct{}),
		nextIno: b.nextIno, usage: b.usage,
	}
	return t
}

// Number is unique in the repository for ever; archives and snapshots share
// the counter. It is below 1<<23.
func (t *Tree) Number() uint32 { return t.number }

// ReadOnly tells whether every change is refused with ErrReadOnly.
func (t *Tree) ReadOnly() bool { return t.readOnly || t.repo.readOnly }

// known returns the node when it needs no I/O. mu is held.
func (t *Tree) known(ino Ino) *node {
	if n := t.active.node(ino); n != nil {
		return n
	}
	if n := t.frozen.node(ino); n != nil {
		return n
	}
	if ino == RootIno {
		return t.base.root
	}
	n, _ := t.repo.nodes.GetIfPresent(nodeKey{t.number, t.gen, ino})
	return n
}

// place returns where the inode's entry is. mu is held.
func (t *Tree) place(ino Ino) (place, bool) {
	if r := t.refs[ino]; r != nil {
		return r.place, true
	}
	if p, ok := t.active.paths[ino]; ok {
		return p, true
	}
	if t.frozen != nil {
		if p, ok := t.frozen.paths[ino]; ok {
			return p, true
		}
	}
	return place{}, false
}

// nodeKey names a clean node in the repository's cache.
type nodeKey struct {
	tree uint32
	gen  uint64
	ino  Ino
}

// read calls fn with the inode's node while holding mu shared.
func (t *Tree) read(ctx context.Context, ino Ino, fn func(*node)) error {
	for {
		t.mu.RLock()
		n, gen := t.known(ino), t.gen
		if n != nil {
			fn(n)
			t.mu.RUnlock()
			return nil
		}
		t.mu.RUnlock()
		n, err := t.fetch(ctx, ino, gen)
		if errors.Is(err, errOldBase) {
			continue
		}
		if err != nil {
			return err
		}
		t.mu.RLock()
		if t.gen == gen && t.active.node(ino) == nil && t.frozen.node(ino) == nil {
			fn(n)
			t.mu.RUnlock()
			return nil
		}
		t.mu.RUnlock()
	}
}

// errOldBase says that the base was replaced while it was being read.
var errOldBase = errors.New("the base tree was replaced")

// fetch reads a clean node from the base of generation gen and caches it.
func (t *Tree) fetch(ctx context.Context, ino Ino, gen uint64) (*node, error) {
	t.mu.RLock()
	n := t.known(ino)
	p, ok := t.place(ino)
	inodes := t.base.inodes
	same := t.gen == gen
	t.mu.RUnlock()
	switch {
	case !same:
		return nil, errOldBase
	case n != nil:
		return n, nil
	case !ok:
		return nil, fmt.Errorf("inode %d: %w", ino, ErrStale)
	}
	var err error
	if p.dir == 0 {
		n, err = t.fetchShared(ctx, ino, inodes)
	} else {
		n, err = t.fetchEntry(ctx, ino, p, gen)
	}
	if err != nil {
		return nil, err
	}
	t.repo.nodes.Set(nodeKey{t.number, gen, ino}, n)
	return n, nil
}

func (t *Tree) fetchShared(ctx context.Context, ino Ino, inodes page.Root) (*node, error) {
	v, ok, err := page.Get(ctx, t.repo.chunks, inodes, inoKey(ino))
	if err != nil {
		return nil, fmt.Errorf("read inode %d: %w", ino, asDamage(err))
	}
	if !ok {
		return nil, fmt.Errorf("inode %d: %w", ino, ErrStale)
	}
	d := decoder{b: v}
	n := d.node()
	d.end()
	if d.err != nil {
		return nil, damaged(fmt.Sprintf("inode %d", ino), d.err)
	}
	return n, nil
}

func (t *Tree) fetchEntry(ctx context.Context, ino Ino, p place, gen uint64) (*node, error) {
	e, err := t.baseEntry(ctx, p, gen)
	if err != nil {
		return nil, err
	}
	if e.ino != ino || e.node == nil {
		return nil, fmt.Errorf("inode %d: %w", ino, ErrStale)
	}
	return e.node, nil
}

// baseEntry reads an entry as the base of generation gen holds it.
func (t *Tree) baseEntry(ctx context.Context, p place, gen uint64) (dirEntry, error) {
	entries, err := t.baseEntries(ctx, p.dir, gen)
	if err != nil {
		return dirEntry{}, err
	}
	e, ok, err := t.repo.chunks.entry(ctx, p.dir, entries, p.cookie)
	if err == nil && !ok {
		err = fmt.Errorf("entry of directory %d: %w", p.dir, ErrStale)
	}
	return e, err
}

// baseEntries returns a directory's entries as the base of generation gen
// holds them.
func (t *Tree) baseEntries(ctx context.Context, dir Ino, gen uint64) (directory, error) {
	t.mu.RLock()
	n := t.known(dir)
	var entries directory
	if n != nil {
		entries = n.entries
	}
	same := t.gen == gen
	t.mu.RUnlock()
	if !same {
		return directory{}, errOldBase
	}
	if n != nil {
		return entries, nil
	}
	n, err := t.fetch(ctx, dir, gen)
	if err != nil {
		return directory{}, err
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	return n.entries, nil
}

// refer counts one more reference to ino. mu is held.
func (t *Tree) refer(ino Ino, p place) {
	if r := t.refs[ino]; r != nil {
		r.n++
		return
	}
	t.refs[ino] = &ref{place: p, n: 1}
	t.hold(p.dir)
}

// hold counts a reference that a child's ref has on its directory. The
// directory is known: whoever came to the child came through it.
func (t *Tree) hold(dir Ino) {
	if dir == 0 || dir == RootIno {
		return
	}
	if r := t.refs[dir]; r != nil {
		r.n++
		return
	}
	if p, ok := t.place(dir); ok {
		t.refer(dir, p)
	}
}

// move tells the reference of ino, if there is one, its new place. mu is held.
func (t *Tree) move(ino Ino, to place) {
	r := t.refs[ino]
	if r == nil {
		return
	}
	from := r.dir
	r.place = to
	t.hold(to.dir)
	t.forget(from, 1)
}

// Forget takes back n references to ino.
func (t *Tree) Forget(ino Ino, n uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forget(ino, n)
}

func (t *Tree) forget(ino Ino, n uint64) {
	for ino != 0 && ino != RootIno {
		r := t.refs[ino]
		if r == nil {
			return
		}
		if r.n > n {
			r.n -= n
			return
		}
		delete(t.refs, ino)
		t.dispose(ino)
		ino, n = r.dir, 1
	}
}

// dispose drops an inode without names that nobody can reach any more. mu is
// held.
func (t *Tree) dispose(ino Ino) {
	if _, ok := t.orphans[ino]; !ok || t.refs[ino] != nil {
		return
	}
	if f := t.files[ino]; f != nil {
		if f.handles > 0 {
			return
		}
		delete(t.files, ino)
		t.repo.writer.abandon(f)
	}
	n := t.active.nodes[ino]
	delete(t.orphans, ino)
	delete(t.active.nodes, ino)
	delete(t.active.paths, ino)
	delete(t.active.names, ino)
	if n != nil && n.shared {
		t.active.gone[ino] = struct{}{}
	}
	if n != nil && n.isDir() && n.origin.dir != 0 {
		t.unsaved.dirs[ino] = n
	}
	t.unsaved.node(ino)
}

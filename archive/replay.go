package archive

import (
	"context"
	"errors"
	"fmt"

	"bkfs/archive/chunk"
	"bkfs/archive/journal"
)

// A replay puts what the journals hold back into the live trees' overlays.
type replay struct {
	r       *Repository
	ctx     context.Context
	t       *Tree
	touched map[*Tree]map[Ino]bool // nodes whose base parts are to be found; true when done
}

// replayJournals reads the journal that the root names and its successors. It
// returns where the last one ends, and the generation for the next.
func (r *Repository) replayJournals(ctx context.Context) (tail *journal.Tail, next uint64, err error) {
	files, err := journal.List(r.journalDir)
	if err != nil {
		return nil, 0, fmt.Errorf("list journals: %w", err)
	}
	tail, err = r.replayFiles(ctx, files)
	if err != nil {
		return nil, 0, err
	}
	return tail, files[len(files)-1].Generation + 1, nil
}

func (r *Repository) replayFiles(ctx context.Context, files []journal.File) (*journal.Tail, error) {
	p := &replay{r: r, ctx: ctx, touched: make(map[*Tree]map[Ino]bool)}
	var last *journal.Tail
	for _, f := range files {
		if f.Generation < r.root.journal {
			continue // covered by the root; deleting it was interrupted
		}
		if last == nil && f.Generation > r.root.journal {
			break
		}
		tail, err := journal.Replay(ctx, f.Path, r.keys, func(batch []byte) error { return decodeBatch(batch, p) })
		switch {
		case errors.Is(err, journal.ErrDamaged):
			return nil, damaged(f.Path, err)
		case err != nil:
			return nil, fmt.Errorf("replay %s: %w", f.Path, err)
		case last == nil && tail.ID != r.root.journalID:
			return nil, damaged(f.Path+": not the journal that the root names", nil)
		case last != nil && tail.ID == [32]byte{}:
			continue // its creation was cut short: nothing was ever in it
		case last != nil && !follows(tail.Prev, last.Link):
			return nil, damaged(f.Path+": the journal before it has lost its end", nil)
		}
		last = &tail
	}
	if last == nil {
		return nil, damaged(fmt.Sprintf("journal %d, which the root names, is missing", r.root.journal), nil)
	}
	for t := range p.touched {
		if err := p.finish(t); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// follows tells whether a journal that begins after prev is the successor of
// one that ends at end. A batch that wasn't acknowledged may be there as well.
func follows(prev *journal.Link, end journal.Link) bool {
	return prev != nil && prev.ID == end.ID &&
		(*prev == end || prev.Batches < end.Batches)
}

func (p *replay) packs(list []packRecord) error {
	for _, k := range list {
		p.r.chunks.added(k)
		if err := p.r.chunks.indexPack(p.ctx, k); err != nil {
			return err
		}
	}
	return nil
}

func (p *replay) chunk(kind chunk.Kind, data []byte) error {
	_, err := p.r.chunks.put(p.ctx, kind, append([]byte(nil), data...))
	return err
}

func (p *replay) archive(a archiveRecord) error {
	p.r.restoreArchive(a)
	return nil
}

func (p *replay) tree(number uint32, nextIno Ino, u Usage) error {
	a := p.r.archives[number]
	if a == nil || a.tree == nil {
		p.t = newTree(p.r, number, base{root: &node{}}, true) // removed since
		return nil
	}
	p.t = a.tree
	p.t.nextIno, p.t.usage = nextIno, u
	if p.touched[p.t] == nil {
		p.touched[p.t] = make(map[Ino]bool)
	}
	return nil
}

func (p *replay) path(ino Ino, at place) { p.t.active.paths[ino] = at }

func (p *replay) name(at place, e dirEntry) { p.t.active.setName(at.dir, at.cookie, e) }

// node takes an image over. What the base has of the node comes in finish, by
// the origin that its first image tells.
func (p *replay) node(n *node, changed []extent, uncut []span) error {
	ino := n.attr.Ino
	if old := p.t.active.nodes[ino]; old != nil {
		n.origin, n.changed = old.origin, old.changed
	}
	p.t.active.nodes[ino] = n
	if m := p.touched[p.t]; m != nil {
		m[ino] = false
	}
	p.t.changed = n.attr.Ctime
	for _, e := range changed {
		n.put(e)
	}
	if f := p.t.files[ino]; f != nil {
		at := uint64(0)
		for _, s := range uncut {
			f.erase(at, s.from)
			at = max(at, s.to)
		}
		f.erase(at, SizeMax)
	}
	return nil
}

func (p *replay) gone(ino Ino) {
	p.t.active.gone[ino] = struct{}{}
	delete(p.t.active.nodes, ino)
	delete(p.t.active.paths, ino)
	delete(p.t.active.names, ino)
	delete(p.touched[p.t], ino)
	p.drop(p.t, ino)
}

func (p *replay) bytes(ino Ino, off uint64, data []byte) {
	if p.touched[p.t] == nil {
		return // of an archive that was removed
	}
	f := p.t.file(ino, 0)
	p.r.writer.charge(len(data))
	f.insert(off, data)
}

func (p *replay) drop(t *Tree, ino Ino) {
	if f := t.files[ino]; f != nil {
		f.erase(0, SizeMax)
		delete(t.files, ino)
	}
}

// finish completes a tree's nodes and removes what no name leads to.
func (p *replay) finish(t *Tree) error {
	for ino := range p.touched[t] {
		if _, err := p.baseOf(t, ino); err != nil {
			return err
		}
	}
	for ino, n := range t.active.nodes {
		if n.attr.Nlink > 0 {
			continue
		}
		if n.shared {
			t.active.gone[ino] = struct{}{}
		}
		delete(t.active.nodes, ino)
		delete(t.active.paths, ino)
		delete(t.active.names, ino)
		p.drop(t, ino)
	}
	for ino, f := range t.files {
		if len(f.segments) == 0 || t.active.nodes[ino] == nil {
			p.drop(t, ino)
		}
	}
	return nil
}

// baseOf returns a node with its base parts: from the overlay if it was
// replayed, else from the base.
func (p *replay) baseOf(t *Tree, ino Ino) (*node, error) {
	n := t.active.nodes[ino]
	if n != nil && p.touched[t][ino] {
		return n, nil
	}
	var old *node
	var err error
	switch at := p.origin(t, ino, n); {
	case ino == RootIno:
		old = t.base.root
	case at.dir != 0:
		var dir *node
		if dir, err = p.baseOf(t, at.dir); err == nil {
			old, err = p.baseEntry(t, dir, at.cookie, ino)
		}
	case n != nil && n.shared:
		old, err = t.fetchShared(p.ctx, ino, t.base.inodes)
		if errors.Is(err, ErrStale) {
			old, err = nil, nil // made since
		}
	}
	if err != nil {
		return nil, err
	}
	if n == nil {
		if old == nil {
			return nil, damaged(fmt.Sprintf("journal: inode %d is unknown", ino), nil)
		}
		return old, nil
	}
	if old != nil {
		n.entries, n.content = old.entries, old.content
	}
	p.touched[t][ino] = true
	return n, nil
}

func (p *replay) origin(t *Tree, ino Ino, n *node) place {
	if n != nil {
		return n.origin
	}
	return t.active.paths[ino]
}

func (p *replay) baseEntry(t *Tree, dir *node, cookie uint64, ino Ino) (*node, error) {
	e, ok, err := p.r.chunks.entry(p.ctx, dir.attr.Ino, dir.entries, cookie)
	if err != nil || !ok || e.ino != ino {
		return nil, damaged(fmt.Sprintf("replay: directory %d", dir.attr.Ino), err)
	}
	if e.node == nil {
		return t.fetchShared(p.ctx, ino, t.base.inodes)
	}
	return e.node, nil
}

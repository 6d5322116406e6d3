package archive

import (
	"context"
	"encoding/binary"
	"fmt"
	"slices"

	"bkfs/archive/page"
)

// A fold writes a frozen overlay into pages. It reads the frozen overlay and
// the base, which nobody changes meanwhile, without any lock.
type fold struct {
	chunks *chunks
	base   base
	o      *overlay
	// touched is, by directory, the entries whose node changed.
	touched map[Ino]map[uint64]struct{}

	// What came out: the next base, and the new content of every directory and
	// file that was written, for the nodes of the younger overlay.
	root   *node
	inodes page.Root
	folded map[Ino]foldedContent
}

type foldedContent struct {
	entries directory
	content extents
}

// newFold prepares the fold of a tree's frozen overlay; f.base has the counters
// of the next base.
func newFold(t *Tree) (*fold, error) {
	o := t.frozen
	f := &fold{chunks: t.repo.chunks, base: t.base, o: o, touched: make(map[Ino]map[uint64]struct{}), folded: make(map[Ino]foldedContent)}
	f.base.nextIno, f.base.usage = t.frozenIno, t.frozenUsage
	for ino, n := range o.nodes {
		if n.attr.Nlink > 0 && !n.shared {
			if err := f.touch(ino); err != nil {
				return nil, err
			}
		}
	}
	for dir := range o.names {
		if n := o.nodes[dir]; n != nil && n.attr.Nlink == 0 {
			continue
		}
		if f.touched[dir] == nil {
			f.touched[dir] = make(map[uint64]struct{})
		}
		if err := f.touch(dir); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// touch notes the entries from an inode's up to the root's.
func (f *fold) touch(ino Ino) error {
	for ino != RootIno {
		p, ok := f.o.paths[ino]
		if !ok {
			return fmt.Errorf("fold: no way to inode %d: %w", ino, ErrDamaged)
		}
		m := f.touched[p.dir]
		if m == nil {
			m = make(map[uint64]struct{})
			f.touched[p.dir] = m
		} else if _, done := m[p.cookie]; done {
			return nil
		}
		m[p.cookie] = struct{}{}
		ino = p.dir
	}
	return nil
}

func (f *fold) run(ctx context.Context) error {
	root := f.o.nodes[RootIno]
	if root == nil {
		root = f.base.root
	}
	if err := f.foldShared(ctx); err != nil {
		return err
	}
	root, err := f.foldDir(ctx, root)
	f.root = root
	return err
}

// foldDir writes a directory with all that changed below, and returns its new
// node.
func (f *fold) foldDir(ctx context.Context, n *node) (*node, error) {
	dir := n.attr.Ino
	touched, changed := f.touched[dir]
	if !changed {
		return n, nil
	}
	edits := f.nameEdits(dir, touched)
	for cookie := range touched {
		edit, err := f.entryEdit(ctx, n, cookie)
		if err != nil {
			return nil, err
		}
		edits = append(edits, edit)
	}
	entries, err := f.chunks.apply(ctx, dir, n.entries, edits)
	if err != nil {
		return nil, err
	}
	c := *n
	c.entries = entries
	f.folded[dir] = foldedContent{entries: entries}
	return &c, nil
}

// nameEdits turns a directory's changed names into edits, but for those whose
// node changed too. What remains is names that went and names of shared nodes.
func (f *fold) nameEdits(dir Ino, touched map[uint64]struct{}) (edits []entryEdit) {
	names := f.o.names[dir]
	if names == nil {
		return nil
	}
	names.Scan(func(cookie uint64, e dirEntry) bool {
		if e.ino == 0 {
			delete(touched, cookie)
			edits = append(edits, entryEdit{cookie, nil})
		} else if _, ok := touched[cookie]; !ok {
			e.node = nil
			edits = append(edits, entryEdit{cookie, &e})
		}
		return true
	})
	return edits
}

// entryEdit writes the entry of a node that changed, or below which something
// did.
func (f *fold) entryEdit(ctx context.Context, dir *node, cookie uint64) (entryEdit, error) {
	e, ok := f.o.name(dir.attr.Ino, cookie)
	if !ok {
		var err error
		if e, ok, err = f.chunks.entry(ctx, dir.attr.Ino, dir.entries, cookie); err != nil {
			return entryEdit{}, err
		}
		if !ok {
			return entryEdit{}, damaged(fmt.Sprintf("directory %d lacks entry %d", dir.attr.Ino, cookie), nil)
		}
	}
	n := f.o.nodes[e.ino]
	if n == nil {
		n = e.node
	}
	if n == nil {
		return entryEdit{}, damaged(fmt.Sprintf("inode %d has no node", e.ino), nil)
	}
	n, err := f.foldNode(ctx, n)
	if err != nil {
		return entryEdit{}, err
	}
	e.node = n
	return entryEdit{cookie, &e}, nil
}

// foldNode writes what a node refers to and returns it with its new content.
func (f *fold) foldNode(ctx context.Context, n *node) (*node, error) {
	switch {
	case n.isDir():
		return f.foldDir(ctx, n)
	case n.isFile():
		return f.foldFile(ctx, n)
	}
	return n, nil
}

// foldShared brings the inode tree up to date.
func (f *fold) foldShared(ctx context.Context) error {
	var edits []page.Edit
	for ino, n := range f.o.nodes {
		if !n.shared || n.attr.Nlink == 0 {
			continue
		}
		n, err := f.foldNode(ctx, n)
		if err != nil {
			return err
		}
		edits = append(edits, page.Edit{Key: inoKey(ino), Value: appendNode(nil, n)})
	}
	for ino := range f.o.gone {
		if n := f.o.nodes[ino]; n == nil || n.attr.Nlink == 0 {
			edits = append(edits, page.Edit{Key: inoKey(ino), Delete: true})
		}
	}
	slices.SortFunc(edits, func(a, b page.Edit) int { return slices.Compare(a.Key, b.Key) })
	inodes, err := page.Apply(ctx, f.chunks, f.chunks, f.base.inodes, edits)
	if err != nil {
		return fmt.Errorf("write inode tree: %w", asDamage(err))
	}
	f.inodes = inodes
	return nil
}

// foldFile merges a file's changed extents into its content.
func (f *fold) foldFile(ctx context.Context, n *node) (*node, error) {
	if n.changed == nil {
		return n, nil
	}
	var content extents
	var err error
	if n.content.isPaged() {
		content, err = f.foldPaged(ctx, n)
	} else {
		content, err = f.foldInline(ctx, n)
	}
	if err != nil {
		return nil, fmt.Errorf("write extents of inode %d: %w", n.attr.Ino, asDamage(err))
	}
	c := *n
	c.content, c.changed = content, nil
	f.folded[n.attr.Ino] = foldedContent{content: content}
	return &c, nil
}

func (f *fold) foldInline(ctx context.Context, n *node) (extents, error) {
	list, err := f.collect(ctx, n, 0, n.attr.Size)
	if err != nil || len(list) <= maxInline {
		return extents{inline: list}, err
	}
	edits := make([]page.Edit, len(list))
	for i, e := range list {
		edits[i] = page.Edit{Key: offsetKey(e.Off), Value: appendExtent(nil, e)}
	}
	root, err := page.Apply(ctx, f.chunks, f.chunks, page.Root{}, edits)
	return extents{paged: root}, err
}

// collect returns the extents of [from, to) without holes, each as long as it
// can be within one chunk.
func (f *fold) collect(ctx context.Context, n *node, from, to uint64) (list []extent, err error) {
	if from >= to {
		return nil, nil
	}
	err = f.chunks.extents(ctx, n.view(from, to), from, to, func(e extent) error {
		if e.isHole() {
			return nil
		}
		if k := len(list) - 1; k >= 0 && list[k].Chunk == e.Chunk && list[k].end() == e.Off &&
			uint64(list[k].Start)+list[k].Len == uint64(e.Start) {
			list[k].Len += e.Len
			return nil
		}
		list = append(list, e)
		return nil
	})
	return list, err
}

// foldPaged edits a long list of extents around what changed.
func (f *fold) foldPaged(ctx context.Context, n *node) (extents, error) {
	var clusters []span
	n.changed.overlaps(0, SizeMax, func(e extent) {
		if k := len(clusters) - 1; k >= 0 && e.Off <= clusters[k].to {
			clusters[k].to = max(clusters[k].to, e.end())
			return
		}
		clusters = append(clusters, span{e.Off, e.end()})
	})
	edits := make(map[uint64]page.Edit)
	for _, c := range clusters {
		// All base extents that the cluster touches are replaced.
		first := c.from - min(c.from, f.chunks.maxChunk)
		err := page.Scan(ctx, f.chunks, n.content.paged, offsetKey(first), func(key, value []byte) (bool, error) {
			e, err := decodePagedExtent(key, value)
			if err != nil {
				return false, err
			}
			if e.Off >= c.to {
				return false, nil
			}
			if e.end() > c.from {
				edits[e.Off] = page.Edit{Key: offsetKey(e.Off), Delete: true}
				c.from, c.to = min(c.from, e.Off), max(c.to, e.end())
			}
			return true, nil
		})
		if err != nil {
			return extents{}, err
		}
		list, err := f.collect(ctx, n, c.from, min(c.to, n.attr.Size))
		if err != nil {
			return extents{}, err
		}
		for _, e := range list {
			edits[e.Off] = page.Edit{Key: offsetKey(e.Off), Value: appendExtent(nil, e)}
		}
	}
	sorted := make([]page.Edit, 0, len(edits))
	for _, e := range edits {
		sorted = append(sorted, e)
	}
	slices.SortFunc(sorted, func(a, b page.Edit) int { return slices.Compare(a.Key, b.Key) })
	root, err := page.Apply(ctx, f.chunks, f.chunks, n.content.paged, sorted)
	return extents{paged: root}, err
}

// freeze puts a new overlay on top; the old one isn't changed any more. gate
// is held alone, no file has segments or flights, and nothing is unsaved. It
// tells whether there was anything to freeze.
func (t *Tree) freeze() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.active.isEmpty() {
		t.base.nextIno = t.nextIno
		return false
	}
	t.frozen, t.active = t.active, newOverlay()
	t.unsaved = newUnsaved()
	for ino := range t.orphans {
		if n := t.frozen.nodes[ino]; n != nil {
			// The next base has nothing of it, so the next journal gets it all.
			n.origin = place{}
			if n.shared {
				t.frozen.gone[ino] = struct{}{}
			}
			t.unsaved.node(ino)
			if n.changed != nil {
				n.changed.m.Scan(func(_ uint64, e extent) bool { t.unsaved.extent(ino, e); return true })
			}
			t.active.nodes[ino] = n
			delete(t.frozen.nodes, ino)
		}
		delete(t.frozen.names, ino)
	}
	t.frozenIno, t.frozenUsage = t.nextIno, t.usage
	return true
}

// rebase makes a finished fold the base.
func (t *Tree) rebase(f *fold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.base = base{root: f.root, inodes: f.inodes, nextIno: f.base.nextIno, usage: f.base.usage}
	for ino, n := range t.active.nodes {
		n.beneath = nil
		if c, ok := f.folded[ino]; ok {
			n.entries, n.content = c.entries, c.content
		}
	}
	t.frozen = nil
	t.gen++
}

// appendTree appends what a root or a snapshot record says of a tree.
func appendTree(b []byte, t base) []byte {
	b = appendBytes(b, appendNode(nil, t.root))
	b = appendRoot(b, t.inodes)
	b = binary.AppendUvarint(b, uint64(t.nextIno))
	b = binary.AppendUvarint(b, t.usage.Inodes)
	return binary.AppendUvarint(b, t.usage.Bytes)
}

func (d *decoder) tree() (t base) {
	n := decoder{b: d.bytes(1 << 20)}
	t.root = n.node()
	n.end()
	if n.err != nil {
		d.fail(n.err)
	}
	t.inodes = d.root()
	t.nextIno = Ino(d.uvarint())
	t.usage = Usage{Inodes: d.uvarint(), Bytes: d.uvarint()}
	return t
}

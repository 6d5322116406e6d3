package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
)

// Lookup finds a name in a directory and gives out a reference to its inode.
func (t *Tree) Lookup(ctx context.Context, dir Ino, name string) (a Attr, err error) {
	if err := checkName(name); err != nil {
		return Attr{}, err
	}
	h := t.repo.cookie(name)
	for {
		var entries directory
		var gen uint64
		isDir := false
		if err := t.read(ctx, dir, func(n *node) {
			entries, isDir, gen = n.entries, n.isDir(), t.gen
		}); err != nil {
			return Attr{}, err
		}
		if !isDir {
			return Attr{}, ErrNotDir
		}
		window, err := t.baseWindow(ctx, dir, entries, h)
		if err != nil {
			return Attr{}, err
		}
		a, err = t.refEntry(dir, gen, func() (dirEntry, uint64, bool) { return t.search(dir, name, h, window) })
		if errors.Is(err, errOldBase) {
			continue
		}
		if err != nil || a.Ino == 0 {
			return a, err
		}
		return t.filled(ctx, a)
	}
}

// refEntry finds an entry and refers to its inode under one lock. The
// attributes are complete when the node is at hand, else only Ino is set.
func (t *Tree) refEntry(dir Ino, gen uint64, find func() (dirEntry, uint64, bool)) (Attr, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.gen != gen {
		return Attr{}, errOldBase
	}
	e, cookie, ok := find()
	if !ok {
		return Attr{}, ErrNotExist
	}
	n := t.known(e.ino)
	if n == nil && e.node != nil {
		n = e.node
		t.repo.nodes.Set(nodeKey{t.number, gen, e.ino}, n)
	}
	if n == nil || n.shared {
		t.refer(e.ino, place{})
	} else {
		t.refer(e.ino, place{dir, cookie})
	}
	if n == nil {
		return Attr{Ino: e.ino}, nil
	}
	return n.stat(), nil
}

// filled completes attributes of which only the inode number is known, and
// takes the reference back when it can't.
func (t *Tree) filled(ctx context.Context, a Attr) (Attr, error) {
	if a.Mode != 0 {
		return a, nil
	}
	full, err := t.Attr(ctx, a.Ino)
	if err != nil {
		t.Forget(a.Ino, 1)
	}
	return full, err
}

// LookupParent gives out a reference to a directory's own directory; that of
// the root is the root.
func (t *Tree) LookupParent(ctx context.Context, dir Ino) (Attr, error) {
	parent := RootIno
	if err := t.read(ctx, dir, func(n *node) {
		if n.isDir() && dir != RootIno {
			parent = n.parent
		}
	}); err != nil {
		return Attr{}, err
	}
	t.mu.Lock()
	if parent != RootIno {
		p, ok := t.place(parent)
		if !ok {
			t.mu.Unlock()
			return Attr{}, fmt.Errorf("inode %d: %w", parent, ErrStale)
		}
		t.refer(parent, p)
	}
	t.mu.Unlock()
	return t.filled(ctx, Attr{Ino: parent})
}

// Attr returns an inode's attributes.
func (t *Tree) Attr(ctx context.Context, ino Ino) (a Attr, err error) {
	err = t.read(ctx, ino, func(n *node) { a = n.stat() })
	return a, err
}

// Readlink returns a symbolic link's target.
func (t *Tree) Readlink(ctx context.Context, ino Ino) (target string, err error) {
	link := false
	err = t.read(ctx, ino, func(n *node) {
		target, link = n.target, n.attr.Mode&ModeType == ModeSymlink
	})
	if err == nil && !link {
		err = ErrInvalid
	}
	return target, err
}

// Getxattr returns an extended attribute's value.
func (t *Tree) Getxattr(ctx context.Context, ino Ino, name string) (value []byte, err error) {
	ok := false
	err = t.read(ctx, ino, func(n *node) { value, ok = n.xattrs[name] })
	if err == nil && !ok {
		err = ErrNoAttr
	}
	return value, err
}

// Listxattr returns the names of the extended attributes, sorted.
func (t *Tree) Listxattr(ctx context.Context, ino Ino) (names []string, err error) {
	err = t.read(ctx, ino, func(n *node) { names = slices.Sorted(maps.Keys(n.xattrs)) })
	return names, err
}

const (
	readBatch        = 512            // how many entries ReadDir takes from a layer at a time
	allRead   uint64 = math.MaxUint64 // the horizon when every layer was read to its end
)

// ReadDir calls fn for every entry of a directory with a cookie greater than
// after, in the order of cookies, until fn returns false: that entry isn't
// consumed. "." and ".." are not among them. With attributes, every entry that
// is consumed gave out a reference.
func (t *Tree) ReadDir(ctx context.Context, dir Ino, after uint64, attributes bool, fn func(Entry) bool) error {
	for {
		batch, horizon, err := t.entriesAfter(ctx, dir, after)
		if err != nil {
			return err
		}
		for _, b := range batch {
			e := Entry{Name: b.name, Ino: b.ino, Mode: b.typ, Cookie: b.cookie}
			if attributes {
				a, err := t.referListed(ctx, dir, b)
				if errors.Is(err, ErrNotExist) || errors.Is(err, ErrStale) {
					continue
				}
				if err != nil {
					return err
				}
				e.Attr = &a
			}
			if !fn(e) {
				if attributes {
					t.Forget(b.ino, 1)
				}
				return nil
			}
		}
		if horizon == allRead {
			return nil
		}
		after = horizon
	}
}

// referListed refers to an entry that was listed, if it is still there.
func (t *Tree) referListed(ctx context.Context, dir Ino, b baseEntry) (Attr, error) {
	t.mu.RLock()
	gen := t.gen
	t.mu.RUnlock()
	for {
		a, err := t.refEntry(dir, gen, func() (dirEntry, uint64, bool) {
			e, ok := t.active.name(dir, b.cookie)
			if !ok {
				e, ok = t.frozen.name(dir, b.cookie)
			}
			if !ok {
				return b.dirEntry, b.cookie, true
			}
			return e, b.cookie, e.ino == b.ino
		})
		if !errors.Is(err, errOldBase) {
			if err != nil {
				return Attr{}, err
			}
			return t.filled(ctx, a)
		}
		// The base is another one; the entry, if it came from there, may be old.
		b.node = nil
		t.mu.RLock()
		gen = t.gen
		t.mu.RUnlock()
	}
}

// entriesAfter merges base and overlays into the next entries after a cookie.
// The list is complete up to the horizon, where the next call goes on.
func (t *Tree) entriesAfter(ctx context.Context, dir Ino, after uint64) (list []baseEntry, horizon uint64, err error) {
	for {
		var entries directory
		var gen uint64
		isDir := false
		if err := t.read(ctx, dir, func(n *node) {
			entries, isDir, gen = n.entries, n.isDir(), t.gen
		}); err != nil {
			return nil, 0, err
		}
		if !isDir {
			return nil, 0, ErrNotDir
		}
		below, err := t.repo.chunks.entries(ctx, dir, entries, after+1, math.MaxUint64, readBatch)
		if err != nil {
			return nil, 0, err
		}
		t.mu.RLock()
		if t.gen != gen {
			t.mu.RUnlock()
			continue
		}
		list, horizon = mergeLayers(below, t.frozen.listed(dir, after), t.active.listed(dir, after))
		t.mu.RUnlock()
		return list, horizon, nil
	}
}

// mergeLayers merges what layers, oldest first, say of a directory; a younger
// layer overrides an older one. A layer of readBatch entries may have more.
func mergeLayers(layers ...[]baseEntry) (list []baseEntry, horizon uint64) {
	horizon = allRead
	for _, l := range layers {
		if len(l) == readBatch {
			horizon = min(horizon, l[readBatch-1].cookie)
		}
	}
	for {
		next, from := allRead, -1
		for i, l := range layers {
			if len(l) > 0 && l[0].cookie <= horizon && l[0].cookie <= next {
				next, from = l[0].cookie, i
			}
		}
		if from < 0 {
			return list, horizon
		}
		if e := layers[from][0]; e.ino != 0 {
			list = append(list, e)
		}
		for i, l := range layers {
			if len(l) > 0 && l[0].cookie == next {
				layers[i] = l[1:]
			}
		}
	}
}

// listed returns the next changed names after a cookie, removals included.
func (o *overlay) listed(dir Ino, after uint64) []baseEntry {
	if o == nil || o.names[dir] == nil {
		return nil
	}
	var list []baseEntry
	o.names[dir].Ascend(after+1, func(cookie uint64, e dirEntry) bool {
		list = append(list, baseEntry{cookie, e})
		return len(list) < readBatch
	})
	return list
}

// Path returns the names from the root down to a directory.
func (t *Tree) Path(ctx context.Context, dir Ino) ([]string, error) {
	var path []string
	for dir != RootIno {
		t.mu.RLock()
		gen := t.gen
		p, ok := t.place(dir)
		e, changed := t.active.name(p.dir, p.cookie)
		if !changed {
			e, changed = t.frozen.name(p.dir, p.cookie)
		}
		t.mu.RUnlock()
		if !ok || p.dir == 0 {
			return nil, fmt.Errorf("path of inode %d: %w", dir, ErrStale)
		}
		if !changed {
			var err error
			if e, err = t.baseEntry(ctx, p, gen); errors.Is(err, errOldBase) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		path = append(path, e.name)
		dir = p.dir
	}
	slices.Reverse(path)
	return path, nil
}

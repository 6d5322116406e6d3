package archive

import (
	"context"
	"errors"
	"fmt"
)

// A change is one atomic change of a live tree: a function that runs under the
// tree's lock, sees everything and does everything or nothing. What it needs
// from the base is read outside the lock, and the function is run again: so it
// looks at all it needs before it changes anything.
type change struct {
	t       *Tree
	gen     uint64
	windows map[windowKey][]baseEntry
	nodes   map[Ino]*node
	need    func(context.Context) error
	time    Time
}

// A window is the few cookies that a name may have.
type windowKey struct {
	dir  Ino
	hash uint64
}

// cookieTries is how many cookies, from its hash on, a name may take when
// others have the same hash.
const cookieTries = 16

var errNeed = errors.New("more of the base tree is needed")

// update runs fn as one change.
func (t *Tree) update(ctx context.Context, fn func(*change) error) error {
	if t.ReadOnly() {
		return ErrReadOnly
	}
	t.gate.RLock()
	defer t.gate.RUnlock()
	return t.apply(ctx, fn)
}

// apply is update for callers that hold gate.
func (t *Tree) apply(ctx context.Context, fn func(*change) error) error {
	c := change{t: t, time: now()}
	for {
		t.mu.Lock()
		if c.gen != t.gen {
			c.gen, c.windows, c.nodes = t.gen, nil, nil
		}
		err := fn(&c)
		if err == nil {
			t.changed = c.time
		}
		t.mu.Unlock()
		if !errors.Is(err, errNeed) {
			return err
		}
		if err := c.need(ctx); err != nil && !errors.Is(err, errOldBase) {
			return err
		}
	}
}

// look returns the node of an inode for reading.
func (c *change) look(ino Ino) (*node, error) {
	if n := c.t.known(ino); n != nil {
		return n, nil
	}
	if n := c.nodes[ino]; n != nil {
		return n, nil
	}
	gen := c.gen
	c.need = func(ctx context.Context) error {
		n, err := c.t.fetch(ctx, ino, gen)
		if err != nil {
			return err
		}
		c.remember(n)
		return nil
	}
	return nil, errNeed
}

func (c *change) remember(n *node) {
	if c.nodes == nil {
		c.nodes = make(map[Ino]*node)
	}
	c.nodes[n.attr.Ino] = n
}

// dir is look for an inode that has to be a directory in use.
func (c *change) dir(ino Ino) (*node, error) {
	n, err := c.look(ino)
	switch {
	case err != nil:
		return nil, err
	case !n.isDir():
		return nil, ErrNotDir
	case n.attr.Nlink == 0:
		return nil, ErrNotExist
	}
	return n, nil
}

// own returns the node of an inode that look has found, for changing.
func (c *change) own(n *node) *node {
	t, ino := c.t, n.attr.Ino
	t.unsaved.node(ino)
	if mine := t.active.nodes[ino]; mine != nil {
		return mine
	}
	n = n.clone()
	n.origin, _ = t.place(ino)
	t.active.nodes[ino] = n
	if !n.shared {
		t.pin(ino)
	}
	return n
}

// pin notes the way from the root to ino in the active overlay.
func (t *Tree) pin(ino Ino) {
	for ino != RootIno {
		if _, ok := t.active.paths[ino]; ok {
			return
		}
		p, ok := t.place(ino)
		if !ok || p.dir == 0 {
			return
		}
		t.setPath(ino, p)
		ino = p.dir
	}
}

func (t *Tree) setPath(ino Ino, p place) {
	t.active.paths[ino] = p
	t.unsaved.paths[ino] = struct{}{}
}

// find looks a name up. When it isn't there, cookie is the one to give it.
func (c *change) find(dir *node, name string) (e dirEntry, cookie uint64, ok bool, err error) {
	if err := checkName(name); err != nil {
		return dirEntry{}, 0, false, err
	}
	t, ino := c.t, dir.attr.Ino
	h := t.repo.cookie(name)
	window, err := c.window(dir, h)
	if err != nil {
		return dirEntry{}, 0, false, err
	}
	e, cookie, ok = t.search(ino, name, h, window)
	if !ok && cookie == 0 {
		return dirEntry{}, 0, false, fmt.Errorf("%d names with one hash: %w", cookieTries, ErrNoSpace)
	}
	return e, cookie, ok, nil
}

func (c *change) window(dir *node, h uint64) ([]baseEntry, error) {
	ino, entries := dir.attr.Ino, dir.entries
	if entries.isEmpty() {
		return nil, nil
	}
	key := windowKey{ino, h}
	if w, ok := c.windows[key]; ok {
		return w, nil
	}
	c.need = func(ctx context.Context) error {
		w, err := c.t.baseWindow(ctx, ino, entries, h)
		if err != nil {
			return err
		}
		if c.windows == nil {
			c.windows = make(map[windowKey][]baseEntry)
		}
		c.windows[key] = w
		return nil
	}
	return nil, errNeed
}

// baseWindow reads the base's entries with cookies in [h, h+cookieTries).
func (t *Tree) baseWindow(ctx context.Context, dir Ino, entries directory, h uint64) ([]baseEntry, error) {
	return t.repo.chunks.entries(ctx, dir, entries, h, h+cookieTries, cookieTries)
}

// search finds a name among its possible cookies. Without a hit, cookie is the
// first free one, or 0. mu is held.
func (t *Tree) search(dir Ino, name string, h uint64, window []baseEntry) (dirEntry, uint64, bool) {
	var free uint64
	for c := h; c < h+cookieTries; c++ {
		e, ok := t.active.name(dir, c)
		if !ok {
			e, ok = t.frozen.name(dir, c)
		}
		if !ok {
			for _, b := range window {
				if b.cookie == c {
					e = b.dirEntry
				}
			}
		}
		if e.ino == 0 {
			if free == 0 {
				free = c
			}
			continue
		}
		if e.name == name {
			return e, c, true
		}
	}
	return dirEntry{}, free, false
}

// bind gives a node the name at a free cookie of a directory.
func (c *change) bind(dir *node, cookie uint64, name string, n *node) {
	t, d := c.t, dir.attr.Ino
	t.active.setName(d, cookie, dirEntry{name: name, ino: n.attr.Ino, typ: n.attr.Mode & ModeType})
	t.unsaved.names[place{d, cookie}] = struct{}{}
	if !n.shared {
		p := place{d, cookie}
		t.move(n.attr.Ino, p)
		t.setPath(n.attr.Ino, p)
		t.pin(d)
	}
	c.touchDir(dir, 1)
	if n.isDir() {
		dir.attr.Nlink++
		n.parent = d
	}
}

// unbind takes a name away.
func (c *change) unbind(dir *node, cookie uint64, e dirEntry) {
	t, d := c.t, dir.attr.Ino
	_, beneath := t.frozen.name(d, cookie)
	if dir.entries.isEmpty() && !beneath {
		t.active.names[d].Delete(cookie)
	} else {
		t.active.setName(d, cookie, dirEntry{})
	}
	t.unsaved.names[place{d, cookie}] = struct{}{}
	c.touchDir(dir, -1)
	if e.typ == ModeDir {
		dir.attr.Nlink--
	}
}

// touchDir counts entries and sets the times of a directory that is owned.
func (c *change) touchDir(dir *node, entries int) {
	dir.attr.Size += uint64(entries)
	dir.attr.Mtime, dir.attr.Ctime = c.time, c.time
}

func checkName(name string) error {
	switch {
	case len(name) > NameMax:
		return ErrNameTooLong
	case name == "", name == ".", name == "..":
		return ErrInvalid
	}
	for i := range len(name) {
		if name[i] == '/' || name[i] == 0 {
			return ErrInvalid
		}
	}
	return nil
}

package archive

import (
	"context"
	"fmt"
	"maps"
	"strings"
)

// Mknod makes a file, directory, device, fifo or socket and gives out a
// reference to it.
func (t *Tree) Mknod(ctx context.Context, dir Ino, name string, c Creation) (Attr, error) {
	switch c.Mode & ModeType {
	case ModeFile, ModeDir, ModeFIFO, ModeSocket, ModeChar, ModeBlock:
	default:
		return Attr{}, ErrInvalid
	}
	return t.create(ctx, dir, name, c, "")
}

// Symlink makes a symbolic link and gives out a reference to it.
func (t *Tree) Symlink(ctx context.Context, dir Ino, name, target string, c Creation) (Attr, error) {
	if target == "" || len(target) >= 4096 || strings.IndexByte(target, 0) >= 0 {
		return Attr{}, ErrInvalid
	}
	c.Mode = ModeSymlink | 0o777
	return t.create(ctx, dir, name, c, target)
}

func (t *Tree) create(ctx context.Context, dir Ino, name string, cr Creation, target string) (a Attr, err error) {
	if err := t.repo.space.reserve(metadataCost); err != nil {
		return Attr{}, err
	}
	err = t.update(ctx, func(c *change) error {
		d, err := c.dir(dir)
		if err != nil {
			return err
		}
		_, cookie, ok, err := c.find(d, name)
		if err != nil {
			return err
		}
		if ok {
			return ErrExist
		}
		n, err := c.newNode(cr, target)
		if err != nil {
			return err
		}
		n.attr.Nlink = 1
		if n.isDir() {
			n.attr.Nlink = 2
		}
		c.bind(c.own(d), cookie, name, n)
		t.refer(n.attr.Ino, place{dir, cookie})
		a = n.stat()
		return nil
	})
	return a, err
}

// newNode puts a new inode, without a name yet, into the active overlay.
func (c *change) newNode(cr Creation, target string) (*node, error) {
	t := c.t
	if t.nextIno > MaxIno {
		return nil, ErrNoSpace
	}
	n := &node{target: target, xattrs: maps.Clone(cr.Xattrs), attr: Attr{
		Ino: t.nextIno, Mode: cr.Mode & 0o177777, UID: cr.UID, GID: cr.GID, Rdev: cr.Rdev,
		Atime: c.time, Mtime: c.time, Ctime: c.time, Btime: c.time,
	}}
	t.nextIno++
	t.active.nodes[n.attr.Ino] = n
	t.unsaved.node(n.attr.Ino)
	t.usage.Inodes++
	return n, nil
}

// Tmpfile makes a file without a name in a directory (O_TMPFILE) and gives out
// a reference to it.
func (t *Tree) Tmpfile(ctx context.Context, dir Ino, cr Creation) (a Attr, err error) {
	if err := t.repo.space.reserve(metadataCost); err != nil {
		return Attr{}, err
	}
	cr.Mode = cr.Mode&0o7777 | ModeFile
	err = t.update(ctx, func(c *change) error {
		if _, err := c.dir(dir); err != nil {
			return err
		}
		n, err := c.newNode(cr, "")
		if err != nil {
			return err
		}
		t.usage.Inodes--
		t.orphans[n.attr.Ino] = struct{}{}
		t.refer(n.attr.Ino, place{})
		a = n.stat()
		return nil
	})
	return a, err
}

// Link gives an inode another name, and gives out a reference to it.
func (t *Tree) Link(ctx context.Context, ino, dir Ino, name string) (a Attr, err error) {
	if err := t.repo.space.reserve(metadataCost); err != nil {
		return Attr{}, err
	}
	err = t.update(ctx, func(c *change) error {
		n, err := c.look(ino)
		if err != nil {
			return err
		}
		if n.isDir() {
			return ErrPermission
		}
		if n.attr.Nlink >= LinkMax {
			return ErrTooManyLinks
		}
		d, err := c.dir(dir)
		if err != nil {
			return err
		}
		_, cookie, ok, err := c.find(d, name)
		if err != nil {
			return err
		}
		if ok {
			return ErrExist
		}
		var first dirEntry
		p, embedded := t.place(ino)
		embedded = embedded && !n.shared && n.attr.Nlink > 0
		if embedded {
			if first, err = c.entryAt(p); err != nil {
				return err
			}
		}
		n = c.own(n)
		if embedded {
			c.share(n, p, first)
		}
		if n.attr.Nlink == 0 {
			t.usage.Inodes++
			t.usage.Bytes += n.attr.Size
		}
		delete(t.orphans, ino)
		n.attr.Nlink++
		n.attr.Ctime = c.time
		t.refer(ino, place{})
		c.bind(c.own(d), cookie, name, n)
		a = n.stat()
		return nil
	})
	return a, err
}

// share moves an owned node out of its entry e at p into the inode tree: the
// entry has to be written again without it.
func (c *change) share(n *node, p place, e dirEntry) {
	t := c.t
	n.shared = true
	e.node = nil
	t.active.setName(p.dir, p.cookie, e)
	t.unsaved.names[p] = struct{}{}
	t.pin(p.dir)
	delete(t.active.paths, n.attr.Ino)
	t.move(n.attr.Ino, place{})
}

// entryAt returns the entry at a place that is in use.
func (c *change) entryAt(p place) (dirEntry, error) {
	if e, ok := c.t.active.name(p.dir, p.cookie); ok {
		return e, nil
	}
	if e, ok := c.t.frozen.name(p.dir, p.cookie); ok {
		return e, nil
	}
	dir, err := c.look(p.dir)
	if err != nil {
		return dirEntry{}, err
	}
	window, err := c.window(dir, p.cookie)
	if err != nil {
		return dirEntry{}, err
	}
	for _, b := range window {
		if b.cookie == p.cookie {
			return b.dirEntry, nil
		}
	}
	return dirEntry{}, damaged(fmt.Sprintf("directory %d", p.dir), nil)
}

// Unlink takes away the name of anything but a directory.
func (t *Tree) Unlink(ctx context.Context, dir Ino, name string) error {
	return t.update(ctx, func(c *change) error {
		d, e, cookie, n, err := c.victim(dir, name)
		if err != nil {
			return err
		}
		if n.isDir() {
			return ErrIsDir
		}
		n = c.ownAt(n, place{dir, cookie})
		c.unbind(c.own(d), cookie, e)
		c.dropLink(n)
		return nil
	})
}

// Rmdir removes an empty directory.
func (t *Tree) Rmdir(ctx context.Context, dir Ino, name string) error {
	return t.update(ctx, func(c *change) error {
		d, e, cookie, n, err := c.victim(dir, name)
		if err != nil {
			return err
		}
		if !n.isDir() {
			return ErrNotDir
		}
		if n.attr.Size > 0 {
			return ErrNotEmpty
		}
		n = c.ownAt(n, place{dir, cookie})
		c.unbind(c.own(d), cookie, e)
		c.dropLink(n)
		return nil
	})
}

// victim finds a name and the node behind it.
func (c *change) victim(dir Ino, name string) (d *node, e dirEntry, cookie uint64, n *node, err error) {
	if d, err = c.dir(dir); err != nil {
		return
	}
	var ok bool
	if e, cookie, ok, err = c.find(d, name); err != nil {
		return
	}
	if !ok {
		err = ErrNotExist
		return
	}
	n, err = c.lookEntry(e)
	return
}

// ownAt is own for the node of an entry that nobody may refer to.
func (c *change) ownAt(n *node, p place) *node {
	if _, ok := c.t.place(n.attr.Ino); !ok && !n.shared {
		c.t.setPath(n.attr.Ino, p)
	}
	return c.own(n)
}

// lookEntry is look for an inode that an entry names, and that nobody may have
// a reference to. An entry without a node is one of a known or a shared inode.
func (c *change) lookEntry(e dirEntry) (*node, error) {
	if n := c.t.known(e.ino); n != nil {
		return n, nil
	}
	if e.node != nil {
		return e.node, nil
	}
	if n := c.nodes[e.ino]; n != nil {
		return n, nil
	}
	t, inodes := c.t, c.t.base.inodes
	c.need = func(ctx context.Context) error {
		n, err := t.fetchShared(ctx, e.ino, inodes)
		if err != nil {
			return err
		}
		c.remember(n)
		return nil
	}
	return nil, errNeed
}

// dropLink counts a name less of an owned node; one without any is an orphan.
func (c *change) dropLink(n *node) {
	t := c.t
	n.attr.Ctime = c.time
	if n.isDir() {
		n.attr.Nlink = 0
	} else {
		n.attr.Nlink--
	}
	if n.attr.Nlink > 0 {
		return
	}
	t.usage.Inodes--
	if n.isFile() {
		t.usage.Bytes -= n.attr.Size
	}
	t.orphans[n.attr.Ino] = struct{}{}
	t.dispose(n.attr.Ino)
}

package archive

import (
	"context"
	"errors"
	"fmt"
)

// Rename moves a name, as renameat2(2) does.
func (t *Tree) Rename(ctx context.Context, oldDir Ino, oldName string, newDir Ino, newName string, flags uint32) error {
	if flags&^(RenameNoReplace|RenameExchange) != 0 || flags == RenameNoReplace|RenameExchange {
		return ErrInvalid
	}
	if err := t.repo.space.reserve(metadataCost); err != nil {
		return err
	}
	if flags&RenameExchange == 0 {
		if err := t.settleReplacement(ctx, oldDir, oldName, newDir, newName); err != nil {
			return err
		}
	}
	return t.update(ctx, func(c *change) error {
		from, e, cookie, n, err := c.victim(oldDir, oldName)
		if err != nil {
			return err
		}
		to, err := c.dir(newDir)
		if err != nil {
			return err
		}
		old, newCookie, exists, err := c.find(to, newName)
		if err != nil {
			return err
		}
		if n.isDir() {
			if err := c.checkCycle(n.attr.Ino, to); err != nil {
				return err
			}
		}
		if !exists {
			if flags&RenameExchange != 0 {
				return ErrNotExist
			}
			c.moveName(c.own(from), c.own(to), c.ownAt(n, place{oldDir, cookie}), e, cookie, newCookie, newName)
			return nil
		}
		if flags&RenameNoReplace != 0 {
			return ErrExist
		}
		if old.ino == e.ino {
			return nil // two names of one inode: POSIX says to do nothing
		}
		victim, err := c.lookEntry(old)
		if err != nil {
			return err
		}
		if flags&RenameExchange != 0 {
			if victim.isDir() {
				if err := c.checkCycle(victim.attr.Ino, from); err != nil {
					return err
				}
			}
			n, victim = c.ownAt(n, place{oldDir, cookie}), c.ownAt(victim, place{newDir, newCookie})
			c.exchange(c.own(from), c.own(to), n, victim, e, old, cookie, newCookie)
			return nil
		}
		switch {
		case victim.isDir() && !n.isDir():
			return ErrIsDir
		case !victim.isDir() && n.isDir():
			return ErrNotDir
		case victim.isDir() && victim.attr.Size > 0:
			return ErrNotEmpty
		}
		from, to = c.own(from), c.own(to)
		n, victim = c.ownAt(n, place{oldDir, cookie}), c.ownAt(victim, place{newDir, newCookie})
		c.unbind(to, newCookie, old)
		c.dropLink(victim)
		c.moveName(from, to, n, e, cookie, newCookie, newName)
		return nil
	})
}

// moveName moves an owned node to a free cookie.
func (c *change) moveName(from, to, n *node, e dirEntry, cookie, newCookie uint64, newName string) {
	c.unbind(from, cookie, e)
	n.attr.Ctime = c.time
	c.bind(to, newCookie, newName, n)
}

func (c *change) exchange(from, to, a, b *node, ea, eb dirEntry, ca, cb uint64) {
	c.unbind(from, ca, ea)
	c.unbind(to, cb, eb)
	a.attr.Ctime, b.attr.Ctime = c.time, c.time
	c.bind(to, cb, eb.name, a)
	c.bind(from, ca, ea.name, b)
}

// checkCycle refuses to move directory ino below itself.
func (c *change) checkCycle(ino Ino, to *node) error {
	for depth := 0; ; depth++ {
		if to.attr.Ino == ino {
			return ErrInvalid
		}
		if to.attr.Ino == RootIno {
			return nil
		}
		if depth > 1<<16 {
			return damaged(fmt.Sprintf("way up from directory %d", ino), nil)
		}
		next, err := c.look(to.parent)
		if err != nil {
			return err
		}
		to = next
	}
}

// settleReplacement stores the bytes of a file that is about to replace
// another: whoever replaces by renaming expects the old content or the new.
func (t *Tree) settleReplacement(ctx context.Context, oldDir Ino, oldName string, newDir Ino, newName string) error {
	old, err := t.Lookup(ctx, newDir, newName)
	if errors.Is(err, ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	t.Forget(old.Ino, 1)
	a, err := t.Lookup(ctx, oldDir, oldName)
	if err != nil {
		return err
	}
	defer t.Forget(a.Ino, 1)
	t.mu.RLock()
	f := t.files[a.Ino]
	t.mu.RUnlock()
	if f == nil {
		return nil
	}
	if err := f.cut(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	return f.err
}

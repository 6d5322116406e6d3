package archive

import (
	"context"
	"maps"
	"slices"
)

// Flags of Setxattr, as of setxattr(2).
const (
	XattrCreate  = 1
	XattrReplace = 2
)

// SetAttr changes attributes. A change of size is done as ftruncate(2) does it.
func (t *Tree) SetAttr(ctx context.Context, ino Ino, ch Change) (a Attr, err error) {
	if ch.Size != nil {
		if err := t.truncate(ctx, ino, *ch.Size); err != nil {
			return Attr{}, err
		}
	}
	err = t.update(ctx, func(c *change) error {
		n, err := c.look(ino)
		if err != nil {
			return err
		}
		n = c.own(n)
		if ch.Mode != nil {
			n.attr.Mode = n.attr.Mode&ModeType | *ch.Mode&0o7777
		}
		if ch.KillSUIDGID {
			n.killSUIDGID()
		}
		set(&n.attr.UID, ch.UID)
		set(&n.attr.GID, ch.GID)
		set(&n.attr.Atime, ch.Atime)
		set(&n.attr.Mtime, ch.Mtime)
		n.attr.Ctime = c.time
		set(&n.attr.Ctime, ch.Ctime)
		a = n.stat()
		return nil
	})
	return a, err
}

func set[T any](to *T, v *T) {
	if v != nil {
		*to = *v
	}
}

// killSUIDGID drops what a write or a change of owner takes from all but
// directories: the set-user-ID bit, and the set-group-ID bit unless it means
// mandatory locking.
func (n *node) killSUIDGID() {
	if n.isDir() {
		return
	}
	n.attr.Mode &^= modeSetUID
	if n.attr.Mode&modeGroupRun != 0 {
		n.attr.Mode &^= modeSetGID
	}
}

// Setxattr sets an extended attribute; flags are XattrCreate, XattrReplace or 0.
func (t *Tree) Setxattr(ctx context.Context, ino Ino, name string, value []byte, flags uint32) error {
	if len(name) > XattrNameMax || name == "" {
		return ErrRange
	}
	if len(value) > XattrValueMax {
		return ErrTooBig
	}
	if err := t.repo.space.reserve(metadataCost + int64(len(value))); err != nil {
		return err
	}
	return t.update(ctx, func(c *change) error {
		n, err := c.look(ino)
		if err != nil {
			return err
		}
		_, exists := n.xattrs[name]
		switch {
		case exists && flags&XattrCreate != 0:
			return ErrExist
		case !exists && flags&XattrReplace != 0:
			return ErrNoAttr
		}
		total := len(name) + len(value)
		for k, v := range n.xattrs {
			if k != name {
				total += len(k) + len(v)
			}
		}
		if total > xattrTotalMax {
			return ErrNoSpace
		}
		n = c.own(n)
		// A new map: the old one may be in a frozen node or with a reader.
		m := make(map[string][]byte, len(n.xattrs)+1)
		maps.Copy(m, n.xattrs)
		m[name] = slices.Clone(value)
		n.xattrs = m
		n.attr.Ctime = c.time
		return nil
	})
}

// Removexattr removes an extended attribute.
func (t *Tree) Removexattr(ctx context.Context, ino Ino, name string) error {
	return t.update(ctx, func(c *change) error {
		n, err := c.look(ino)
		if err != nil {
			return err
		}
		if _, ok := n.xattrs[name]; !ok {
			return ErrNoAttr
		}
		n = c.own(n)
		m := maps.Clone(n.xattrs)
		delete(m, name)
		n.xattrs = m
		n.attr.Ctime = c.time
		return nil
	})
}

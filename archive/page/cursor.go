package page

import (
	"bytes"
	"context"

	"bkfs/archive/chunk"
)

// cursor walks over the pages of one level, ahead only. It holds the pages
// above the current one, so a step along costs no descent from the root.
type cursor struct {
	ctx   context.Context
	src   Source
	root  Root
	level int
	path  []step // from the root down to level+1; empty when the root is at level
}

type step struct {
	page raw
	i    int
}

// seek goes to the page that holds key or would: the first whose last key is
// not below it, else the last page.
func (c *cursor) seek(key []byte) error {
	for len(c.path) > 0 {
		top := &c.path[len(c.path)-1]
		i, err := top.page.search(key)
		if err != nil {
			return err
		}
		if i < top.page.n || len(c.path) == 1 {
			top.i = min(i, top.page.n-1)
			break
		}
		c.path = c.path[:len(c.path)-1]
	}
	return c.descend(key)
}

// next goes to the following page; false if there is none.
func (c *cursor) next() (bool, error) {
	for len(c.path) > 0 {
		top := &c.path[len(c.path)-1]
		if top.i++; top.i < top.page.n {
			return true, c.descend(nil)
		}
		c.path = c.path[:len(c.path)-1]
	}
	return false, nil
}

// descend completes the path below its last page, towards key.
func (c *cursor) descend(key []byte) error {
	for level := int(c.root.Height) - 1 - len(c.path); level > c.level; level-- {
		id, err := c.id()
		if err != nil {
			return err
		}
		p, err := load(c.ctx, c.src, id, level)
		if err != nil {
			return err
		}
		i, err := p.search(key)
		if err != nil {
			return err
		}
		c.path = append(c.path, step{p, min(i, p.n-1)})
	}
	return nil
}

// id is that of the page the path leads to.
func (c *cursor) id() (chunk.ID, error) {
	if len(c.path) == 0 {
		return c.root.ID, nil
	}
	top := c.path[len(c.path)-1]
	_, id, err := top.page.child(top.i)
	return id, err
}

// before says whether the current page, which isn't the root, ends below key.
func (c *cursor) before(key []byte) (bool, error) {
	top := c.path[len(c.path)-1]
	last, _, err := top.page.child(top.i)
	return bytes.Compare(last, key) < 0, err
}

// first says whether the current page is its level's first.
func (c *cursor) first() bool {
	for _, s := range c.path {
		if s.i != 0 {
			return false
		}
	}
	return true
}

func (c *cursor) load() (raw, error) {
	id, err := c.id()
	if err != nil {
		return raw{}, err
	}
	return load(c.ctx, c.src, id, c.level)
}

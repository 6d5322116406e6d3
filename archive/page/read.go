package page

import (
	"bytes"
	"context"
	"fmt"

	"bkfs/archive/chunk"
)

// Get finds one key. The value is part of the page's bytes.
func Get(ctx context.Context, s Source, r Root, key []byte) (value []byte, ok bool, err error) {
	if err := r.check(); err != nil {
		return nil, false, err
	}
	id := r.ID
	for level := int(r.Height) - 1; level >= 0; level-- {
		p, err := load(ctx, s, id, level)
		if err != nil {
			return nil, false, err
		}
		i, err := p.search(key)
		if err != nil || i == p.n {
			return nil, false, err
		}
		if level > 0 {
			if _, id, err = p.child(i); err != nil {
				return nil, false, err
			}
			continue
		}
		k, v, err := p.entry(i)
		if err != nil || !bytes.Equal(k, key) {
			return nil, false, err
		}
		return v, true, nil
	}
	return nil, false, nil
}

// Scan calls fn for the entries in ascending order, from the first whose key is
// not below from, until fn wants no more or fails. Keys and values are parts of
// the pages' bytes.
func Scan(ctx context.Context, s Source, r Root, from []byte, fn func(key, value []byte) (more bool, err error)) error {
	if err := r.check(); err != nil || r.Height == 0 {
		return err
	}
	_, err := scan(ctx, s, r.ID, int(r.Height)-1, from, fn)
	return err
}

func scan(ctx context.Context, s Source, id chunk.ID, level int, from []byte, fn func(key, value []byte) (bool, error)) (more bool, err error) {
	p, err := load(ctx, s, id, level)
	if err != nil {
		return false, err
	}
	i, err := p.search(from)
	if err != nil {
		return false, err
	}
	for ; i < p.n; i++ {
		if level > 0 {
			_, child, err := p.child(i)
			if err != nil {
				return false, err
			}
			if more, err = scan(ctx, s, child, level-1, from, fn); err != nil || !more {
				return false, err
			}
			from = nil // only the first child begins before it
			continue
		}
		key, value, err := p.entry(i)
		if err != nil {
			return false, err
		}
		if more, err = fn(key, value); err != nil || !more {
			return false, err
		}
	}
	return true, nil
}

// Pages calls fn for every page, parents first and in order, until fn fails. A
// page is read only to find its children: never a leaf, and nothing below a
// page whose descend is false.
func Pages(ctx context.Context, s Source, r Root, fn func(id chunk.ID, leaf bool) (descend bool, err error)) error {
	if err := r.check(); err != nil || r.Height == 0 {
		return err
	}
	return pages(ctx, s, r.ID, int(r.Height)-1, fn)
}

func pages(ctx context.Context, s Source, id chunk.ID, level int, fn func(id chunk.ID, leaf bool) (bool, error)) error {
	descend, err := fn(id, level == 0)
	if err != nil || !descend || level == 0 {
		return err
	}
	p, err := load(ctx, s, id, level)
	if err != nil {
		return err
	}
	for i := range p.n {
		_, child, err := p.child(i)
		if err != nil {
			return err
		}
		if err := pages(ctx, s, child, level-1, fn); err != nil {
			return err
		}
	}
	return nil
}

// check bounds what a root read from a store may ask for.
func (r Root) check() error {
	if r.Height > maxHeight {
		return fmt.Errorf("%w: a map of height %d", ErrDamaged, r.Height)
	}
	return nil
}

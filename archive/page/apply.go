package page

import (
	"bytes"
	"context"
	"fmt"

	"bkfs/archive/chunk"
)

// Apply makes the map that r becomes by edits, which are ascending by key and
// name each key once. It reads and puts only the pages the edits touch. Edits
// that change nothing give r again, and put nothing.
func Apply(ctx context.Context, s Source, d Sink, r Root, edits []Edit) (Root, error) {
	if err := r.check(); err != nil {
		return Root{}, err
	}
	if err := checkEdits(edits); err != nil {
		return Root{}, err
	}
	a := apply{ctx: ctx, src: s, sink: d, old: r, count: r.Count}
	for level := 0; len(edits) > 0; level++ {
		l, err := a.rewrite(level, edits)
		if err != nil {
			return Root{}, err
		}
		switch {
		case l.whole && l.only != nil:
			return a.collapse(*l.only, level-1)
		case l.whole && len(l.made) == 0:
			return Root{}, nil
		case l.whole && len(l.made) == 1:
			return Root{l.made[0].id, uint8(level + 1), a.count}, nil
		}
		edits = l.edits(level+1 < int(r.Height))
	}
	return r, nil
}

func checkEdits(edits []Edit) error {
	for i, e := range edits {
		if len(e.Key) > MaxKey || len(e.Value) > MaxValue {
			return fmt.Errorf("%w: a key of %d and a value of %d bytes", ErrEdits, len(e.Key), len(e.Value))
		}
		if i > 0 && bytes.Compare(edits[i-1].Key, e.Key) >= 0 {
			return fmt.Errorf("%w: keys don't ascend at %d", ErrEdits, i)
		}
	}
	return nil
}

type apply struct {
	ctx   context.Context
	src   Source
	sink  Sink
	old   Root
	count uint64
}

// rewritten is what became of one level.
type rewritten struct {
	gone  []made // pages replaced, ascending
	made  []made // what replaces them, ascending
	whole bool   // no other page is on this level
	only  *chunk.ID
	// only: the level would be a single page with this single child. Nothing
	// was put, as the root is further down.
}

// rewrite applies edits to one level of the old map. It works from the first
// page an edit falls into until a new page ends where an old one did: there the
// pages that follow are as they were, up to the next edit's.
func (a *apply) rewrite(level int, edits []Edit) (rewritten, error) {
	b := builder{ctx: a.ctx, sink: a.sink, level: level}
	out := rewritten{whole: true}
	if level >= int(a.old.Height) {
		if _, err := a.merge(&b, raw{}, edits, true); err != nil {
			return out, err
		}
		return a.finish(&b, out)
	}
	c := cursor{ctx: a.ctx, src: a.src, root: a.old, level: level}
	if err := c.seek(edits[0].Key); err != nil {
		return out, err
	}
	out.whole = c.first()
	for more := true; more; {
		p, err := c.load()
		if err != nil {
			return out, err
		}
		last, _, err := p.entry(p.n - 1)
		if err != nil {
			return out, err
		}
		out.gone = append(out.gone, made{last, p.id})
		b.old = p
		if more, err = c.next(); err != nil {
			return out, err
		}
		if edits, err = a.merge(&b, p, edits, !more); err != nil {
			return out, err
		}
		if !more || !b.empty() {
			continue
		}
		if len(edits) == 0 {
			out.whole = false
			break
		}
		skip, err := c.before(edits[0].Key)
		if err != nil {
			return out, err
		}
		if skip {
			out.whole = false
			if err := c.seek(edits[0].Key); err != nil {
				return out, err
			}
		}
	}
	return a.finish(&b, out)
}

// finish ends the level's last page, unless that would be a root with one child.
func (a *apply) finish(b *builder, out rewritten) (rewritten, error) {
	if out.whole && b.level > 0 && len(b.made) == 0 && len(b.starts) == 1 {
		id := chunk.ID(b.entries[len(b.entries)-len(chunk.ID{}):])
		out.only = &id
		return out, nil
	}
	if err := b.finish(); err != nil {
		return out, err
	}
	out.made = b.made
	return out, nil
}

// merge feeds b the page's entries with the edits up to its last key, or with
// all edits, and returns the edits left over.
func (a *apply) merge(b *builder, p raw, edits []Edit, all bool) ([]Edit, error) {
	for i := range p.n {
		key, value, err := p.entry(i)
		if err != nil {
			return nil, err
		}
		edited := false
		for len(edits) > 0 && !edited {
			order := bytes.Compare(edits[0].Key, key)
			if order > 0 {
				break
			}
			if edited = order == 0; edited {
				a.tally(b.level, ^uint64(0))
			}
			if err := a.add(b, edits[0]); err != nil {
				return nil, err
			}
			edits = edits[1:]
		}
		if !edited {
			if err := b.add(key, value); err != nil {
				return nil, err
			}
		}
	}
	for all && len(edits) > 0 {
		if err := a.add(b, edits[0]); err != nil {
			return nil, err
		}
		edits = edits[1:]
	}
	return edits, nil
}

func (a *apply) add(b *builder, e Edit) error {
	if e.Delete {
		return nil
	}
	a.tally(b.level, 1)
	return b.add(e.Key, e.Value)
}

func (a *apply) tally(level int, n uint64) {
	if level == 0 {
		a.count += n
	}
}

// edits is what a level's change means for the level above. There, if it
// exists, a page that stayed the same needs no edit.
func (l *rewritten) edits(above bool) []Edit {
	var edits []Edit
	gone := l.gone
	for _, m := range l.made {
		same := false
		for len(gone) > 0 && bytes.Compare(gone[0].last, m.last) <= 0 {
			if bytes.Equal(gone[0].last, m.last) {
				same = gone[0].id == m.id
			} else {
				edits = append(edits, Edit{Key: gone[0].last, Delete: true})
			}
			gone = gone[1:]
		}
		if !same || !above {
			edits = append(edits, Edit{Key: m.last, Value: m.id[:]})
		}
	}
	for _, g := range gone {
		edits = append(edits, Edit{Key: g.last, Delete: true})
	}
	return edits
}

// collapse makes the root of the only page on a level, which is one of the old
// pages: a page with a single child isn't a root.
func (a *apply) collapse(id chunk.ID, level int) (Root, error) {
	for ; level > 0; level-- {
		p, err := load(a.ctx, a.src, id, level)
		if err != nil {
			return Root{}, err
		}
		if p.n > 1 {
			break
		}
		if _, id, err = p.child(0); err != nil {
			return Root{}, err
		}
	}
	return Root{id, uint8(level + 1), a.count}, nil
}

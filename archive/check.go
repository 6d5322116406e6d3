package archive

import (
	"context"
	"crypto/hmac"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
	"bkfs/archive/page"
	"bkfs/archive/store"
)

// CheckOptions says how thorough a check is.
type CheckOptions struct {
	// ReadData reads and verifies every byte of every pack; without it the
	// trees are read, and packs are only looked for.
	ReadData bool
	// Progress, if given, is told what is being done and how far it is; the
	// unit is that of the phase: bytes of packs, inodes of trees.
	Progress func(phase string, done, total uint64)
}

// A Damage is something that can't be read. Archive, Snapshot and Path say
// whose it is, as far as that applies; Snapshot is "" for the live tree.
type Damage struct {
	Archive  string `json:"archive,omitempty"`
	Snapshot string `json:"snapshot,omitempty"`
	Path     string `json:"path,omitempty"`
	What     string `json:"what"`
}

func (d Damage) String() string {
	where := d.Archive
	if d.Snapshot != "" {
		where += "@" + d.Snapshot
	}
	if d.Path != "" {
		where += ":" + d.Path
	}
	if where == "" {
		return d.What
	}
	return where + ": " + d.What
}

// A Report is what a check has found.
type Report struct {
	Packs  int      `json:"packs"`
	Bytes  uint64   `json:"bytes"`  // of packs that were read
	Inodes uint64   `json:"inodes"` // that were visited, in all trees
	Damage []Damage `json:"damage"`
}

// Check looks for damage. It returns an error only when it can't go on: damage
// is in the report.
func (r *Repository) Check(ctx context.Context, o CheckOptions) (*Report, error) {
	if err := r.Sync(ctx); err != nil && !errors.Is(err, ErrClosed) {
		return nil, err
	}
	c := &checker{r: r, o: o, rep: &Report{Damage: []Damage{}},
		left: make(map[pack.ID]map[chunk.ID]struct{}), whole: make(map[directory]struct{})}
	if o.Progress == nil {
		c.o.Progress = func(string, uint64, uint64) {}
	}
	for _, step := range []func(context.Context) error{c.header, c.roots, c.packs, c.trees} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return c.rep, nil
}

type checker struct {
	r     *Repository
	o     CheckOptions
	rep   *Report
	left  map[pack.ID]map[chunk.ID]struct{} // what damaged packs still have; nil for missing ones
	whole map[directory]struct{}            // snapshots' directories that are sound with all below
	total uint64
}

func (c *checker) found(d Damage) { c.rep.Damage = append(c.rep.Damage, d) }

// header checks both copies of the config.
func (c *checker) header(ctx context.Context) error {
	for _, name := range []string{configName, configCopy} {
		data, err := readWhole(ctx, c.r.store, name, configMax)
		if err == nil {
			var b configBytes
			if b, err = splitConfig(name, data); err == nil {
				want := c.r.keys.ConfigMAC(b.body)
				if !hmac.Equal(want[:], b.mac) {
					err = errors.New("its MAC is wrong")
				}
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.found(Damage{What: fmt.Sprintf("%s: %v", name, err)})
		}
	}
	return nil
}

// roots checks the newest roots.
func (c *checker) roots(ctx context.Context) error {
	list, err := rootGenerations(ctx, c.r.store)
	if err != nil {
		return err
	}
	for _, g := range list {
		_, err := readRoot(ctx, c.r.store, c.r.keys, g)
		if errors.Is(err, store.ErrNotExist) {
			continue // superseded meanwhile
		}
		if errors.Is(err, ErrDamaged) {
			c.found(Damage{What: err.Error()})
		} else if err != nil {
			return err
		}
	}
	return nil
}

// packs looks for every pack, or reads all of them.
func (c *checker) packs(ctx context.Context) error {
	c.r.chunks.mu.Lock()
	var list []packRecord
	for id, info := range c.r.chunks.packs {
		list = append(list, packRecord{id, info})
		c.total += uint64(info.size)
	}
	c.r.chunks.mu.Unlock()
	slices.SortFunc(list, func(a, b packRecord) int { return strings.Compare(a.id.Name(), b.id.Name()) })
	phase := "looking for packs"
	if c.o.ReadData {
		phase = "reading packs"
	}
	var done uint64
	for _, p := range list {
		c.o.Progress(phase, done, c.total)
		if err := c.pack(ctx, p); err != nil {
			return err
		}
		done += uint64(p.size)
	}
	c.o.Progress(phase, done, c.total)
	return nil
}

func (c *checker) pack(ctx context.Context, p packRecord) error {
	c.rep.Packs++
	info, err := c.r.store.Stat(ctx, p.id.Name())
	switch {
	case errors.Is(err, store.ErrNotExist):
		c.left[p.id] = nil
		c.found(Damage{What: fmt.Sprintf("pack %s is missing", p.id)})
		return nil
	case err != nil:
		return fmt.Errorf("look for pack %s: %w", p.id, asDamage(err))
	case info.Size != int64(p.size):
		c.found(Damage{What: fmt.Sprintf("pack %s has %d bytes, not %d", p.id, info.Size, p.size)})
	}
	if !c.o.ReadData {
		return nil
	}
	c.rep.Bytes += uint64(p.size)
	left := make(map[chunk.ID]struct{})
	err = c.r.chunks.reader.Walk(ctx, p.id, func(e pack.Entry, data []byte) error {
		if data != nil {
			left[e.Chunk] = struct{}{}
		}
		return ctx.Err()
	})
	switch err = asDamage(err); {
	case errors.Is(err, ErrDamaged), errors.Is(err, pack.ErrFormat):
		c.left[p.id] = left
		c.found(Damage{What: err.Error()})
	case err != nil:
		return fmt.Errorf("read pack %s: %w", p.id, err)
	}
	return nil
}

// trees reads every tree: all pages, and for every file whether its chunks are
// there.
func (c *checker) trees(ctx context.Context) error {
	infos := c.r.Archives()
	c.total = 0
	for _, i := range infos {
		c.total += i.Usage.Inodes
		snapshots, err := c.r.Snapshots(i.Name)
		if err != nil {
			return err
		}
		for _, s := range snapshots {
			c.total += s.Usage.Inodes
		}
	}
	for _, i := range infos {
		if !i.Removed {
			t, err := c.r.Live(i.Name)
			if err != nil {
				return err
			}
			if err := c.tree(ctx, t, Damage{Archive: i.Name}); err != nil {
				return err
			}
		}
		snapshots, err := c.r.Snapshots(i.Name)
		if err != nil {
			return err
		}
		for _, s := range snapshots {
			t, err := c.r.SnapshotTree(ctx, i.Name, s.Name)
			if errors.Is(err, ErrNotExist) {
				continue // deleted meanwhile
			}
			if err != nil {
				return err
			}
			if err := c.tree(ctx, t, Damage{Archive: i.Name, Snapshot: s.Name}); err != nil {
				return err
			}
		}
	}
	c.o.Progress("reading trees", c.total, c.total)
	return nil
}

func (c *checker) tree(ctx context.Context, t *Tree, at Damage) error {
	_, err := c.directory(ctx, t, RootIno, at)
	return err
}

// directory checks a directory with all below; sound says that there was no
// damage.
func (c *checker) directory(ctx context.Context, t *Tree, dir Ino, at Damage) (sound bool, err error) {
	var entries directory
	if err := t.read(ctx, dir, func(n *node) { entries = n.entries }); err != nil {
		return false, c.damage(at, err)
	}
	// An empty directory has no page; the live tree's may differ from its page.
	known := t.readOnly && !entries.isEmpty()
	if _, ok := c.whole[entries]; ok && known {
		return true, nil
	}
	before := len(c.rep.Damage)
	if !entries.isEmpty() {
		if err := c.damage(at, errors.Join(c.pages(ctx, entries.names), c.pages(ctx, entries.stamps))); err != nil {
			return false, err
		}
	}
	var children []Entry
	err = t.ReadDir(ctx, dir, 0, false, func(e Entry) bool { children = append(children, e); return true })
	if err := c.damage(at, err); err != nil {
		return false, err
	}
	for _, e := range children {
		if err := c.entry(ctx, t, dir, e, at); err != nil {
			return false, err
		}
	}
	sound = len(c.rep.Damage) == before
	if sound && known {
		c.whole[entries] = struct{}{}
	}
	return sound, nil
}

func (c *checker) entry(ctx context.Context, t *Tree, dir Ino, e Entry, at Damage) error {
	at.Path += "/" + e.Name
	if c.rep.Inodes++; c.rep.Inodes%1024 == 0 {
		c.o.Progress("reading trees", min(c.rep.Inodes, c.total), c.total)
	}
	a, err := t.Lookup(ctx, dir, e.Name)
	if errors.Is(err, ErrNotExist) {
		return nil // removed meanwhile
	}
	if err != nil {
		return c.damage(at, err)
	}
	defer t.Forget(a.Ino, 1)
	switch a.Mode & ModeType {
	case ModeDir:
		_, err = c.directory(ctx, t, a.Ino, at)
		return err
	case ModeFile:
		return c.damage(at, c.file(ctx, t, a.Ino))
	}
	return nil
}

// damage notes err when it is damage, and returns it when it is not.
func (c *checker) damage(at Damage, err error) error {
	if err = asDamage(err); errors.Is(err, ErrDamaged) {
		at.What = err.Error()
		c.found(at)
		return nil
	}
	return err
}

// pages looks for damaged pages of a map.
func (c *checker) pages(ctx context.Context, root page.Root) error {
	return page.Pages(ctx, c.r.chunks, root, func(id chunk.ID, leaf bool) (bool, error) {
		return !leaf, c.chunk(ctx, chunk.KindPage, id)
	})
}

// file checks that all chunks of a file are there.
func (c *checker) file(ctx context.Context, t *Tree, ino Ino) error {
	var v view
	if err := t.read(ctx, ino, func(n *node) { v = n.view(0, n.attr.Size) }); err != nil {
		return err
	}
	if v.base.isPaged() {
		if err := c.pages(ctx, v.base.paged); err != nil {
			return err
		}
	}
	return c.r.chunks.extents(ctx, v, 0, v.size, func(e extent) error {
		if e.isHole() {
			return nil
		}
		if err := c.chunk(ctx, chunk.KindData, e.Chunk); err != nil {
			return fmt.Errorf("bytes %d to %d: %w", e.Off, e.end(), err)
		}
		return nil
	})
}

func (c *checker) chunk(ctx context.Context, kind chunk.Kind, id chunk.ID) error {
	place, data, err := c.r.chunks.locate(ctx, kind, id)
	if err != nil || data != nil {
		return err
	}
	left, bad := c.left[place.Pack]
	if _, ok := left[id]; bad && !ok {
		return damaged(fmt.Sprintf("chunk %s is in pack %s, which is damaged or missing", id, place.Pack), nil)
	}
	return nil
}

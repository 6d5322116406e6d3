package archive

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A liveArchive is an archive with its live tree; tree is nil when it was
// removed and only snapshots are left.
type liveArchive struct {
	archiveRecord
	tree *Tree
}

// Info describes an archive.
type Info struct {
	Name             string
	Number           uint32
	Created, Changed time.Time
	Removed          bool // only its snapshots are left
	Usage            Usage
}

// An Event tells that archives or snapshots came, went or were renamed.
type Event struct{ Archive string }

// OnChange has fn called, from any goroutine, after every Event.
func (r *Repository) OnChange(fn func(Event)) {
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	r.onChange = fn
}

func (r *Repository) tell(name string) {
	r.catalogMu.Lock()
	fn := r.onChange
	r.catalogMu.Unlock()
	if fn != nil {
		fn(Event{name})
	}
}

// Archives lists the archives by name, the removed ones among them.
func (r *Repository) Archives() []Info {
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	list := make([]Info, 0, len(r.archives))
	for _, a := range r.archives {
		i := Info{
			Name: a.name, Number: a.number, Removed: a.removed, Usage: a.base.usage,
			Created: a.created.Time(), Changed: a.changed.Time(),
		}
		if a.tree != nil {
			a.tree.mu.RLock()
			i.Changed, i.Usage = a.tree.changed.Time(), a.tree.usage
			a.tree.mu.RUnlock()
		}
		list = append(list, i)
	}
	slices.SortFunc(list, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	return list
}

// Live returns an archive's live tree.
func (r *Repository) Live(name string) (*Tree, error) {
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	if a := r.archiveNamed(name); a != nil && a.tree != nil {
		return a.tree, nil
	}
	return nil, fmt.Errorf("archive %q: %w", name, ErrNotExist)
}

// archiveNamed finds an archive by name. catalogMu is held.
func (r *Repository) archiveNamed(name string) *liveArchive {
	for _, a := range r.archives {
		if a.name == name {
			return a
		}
	}
	return nil
}

// CreateArchive makes an empty archive. One that was removed and has snapshots
// goes on with its history.
func (r *Repository) CreateArchive(ctx context.Context, name string, c Creation) (*Tree, error) {
	if r.readOnly {
		return nil, ErrReadOnly
	}
	if err := checkName(name); err != nil {
		return nil, err
	}
	if err := r.space.reserve(metadataCost); err != nil {
		return nil, err
	}
	r.catalogMu.Lock()
	old := r.archiveNamed(name)
	again := old != nil && old.tree == nil
	r.catalogMu.Unlock()
	if again {
		// The journal may speak of the tree that was removed, under the number
		// that the new one gets: a root has to stand between them.
		if err := r.checkpoint(ctx, nil); err != nil {
			return nil, err
		}
	}
	t := now()
	dir := &node{parent: RootIno, xattrs: c.Xattrs, attr: Attr{
		Ino: RootIno, Mode: ModeDir | c.Mode&0o7777, Nlink: 2, UID: c.UID, GID: c.GID,
		Atime: t, Mtime: t, Ctime: t, Btime: t,
	}}
	r.catalogMu.Lock()
	a := r.archiveNamed(name)
	switch {
	case a == nil:
		a = &liveArchive{archiveRecord: archiveRecord{number: r.nextNumber, name: name, base: base{nextIno: RootIno + 1}}}
		r.archives[a.number] = a
		r.nextNumber++
	case a.tree != nil:
		r.catalogMu.Unlock()
		return nil, ErrExist
	}
	a.created, a.changed, a.removed = t, t, false
	a.base = base{root: dir, nextIno: a.base.nextIno, usage: Usage{Inodes: 1}}
	a.tree = newTree(r, a.number, a.base, false)
	a.tree.changed = t
	r.renamed[a.number] = struct{}{}
	tree := a.tree
	r.catalogMu.Unlock()
	r.tell(name)
	return tree, nil
}

// RenameArchive renames an archive with its snapshots. The name of an archive
// of which only snapshots are left is free when it is the same archive's.
func (r *Repository) RenameArchive(_ context.Context, old, name string) error {
	if r.readOnly {
		return ErrReadOnly
	}
	if err := checkName(name); err != nil {
		return err
	}
	r.catalogMu.Lock()
	a := r.archiveNamed(old)
	switch {
	case a == nil || a.tree == nil:
		r.catalogMu.Unlock()
		return ErrNotExist
	case old == name:
		r.catalogMu.Unlock()
		return nil
	case r.archiveNamed(name) != nil:
		r.catalogMu.Unlock()
		return ErrExist
	}
	a.name = name
	r.renamed[a.number] = struct{}{}
	r.catalogMu.Unlock()
	r.tell(old)
	r.tell(name)
	return nil
}

// RemoveArchive removes an empty archive; its snapshots stay.
func (r *Repository) RemoveArchive(ctx context.Context, name string) error {
	t, err := r.Live(name)
	if err != nil {
		return err
	}
	// No commit may see the one without the other.
	r.commitMu.Lock()
	defer r.commitMu.Unlock()
	if err := t.update(ctx, func(c *change) error {
		n, err := c.look(RootIno)
		if err != nil {
			return err
		}
		if n.attr.Size > 0 {
			return ErrNotEmpty
		}
		c.own(n).attr.Nlink = 0
		return nil
	}); err != nil {
		return err
	}
	r.catalogMu.Lock()
	a := r.archives[t.number]
	t.mu.RLock()
	a.base.nextIno = t.nextIno
	t.mu.RUnlock()
	a.tree, a.removed, a.base.usage = nil, true, Usage{}
	a.changed = now()
	r.renamed[a.number] = struct{}{}
	r.catalogMu.Unlock()
	r.tell(name)
	return nil
}

// dropEmpty forgets archives that have neither tree nor snapshot. catalogMu is
// held.
func (r *Repository) dropEmpty() {
	for number, a := range r.archives {
		if a.tree == nil && !r.hasSnapshots(number) {
			delete(r.archives, number)
		}
	}
}

func (r *Repository) hasSnapshots(archive uint32) bool {
	for _, s := range r.snapshots {
		if s.archive == archive {
			return true
		}
	}
	return false
}

// liveTrees lists the trees that can change.
func (r *Repository) liveTrees() []*Tree {
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	list := make([]*Tree, 0, len(r.archives))
	for _, a := range r.archives {
		if a.tree != nil {
			list = append(list, a.tree)
		}
	}
	slices.SortFunc(list, func(a, b *Tree) int { return int(a.number) - int(b.number) })
	return list
}

// archiveRecords returns the archives as a root holds them. catalogMu is held.
func (r *Repository) archiveRecords() []archiveRecord {
	r.dropEmpty()
	list := make([]archiveRecord, 0, len(r.archives))
	for _, a := range r.archives {
		list = append(list, a.record())
	}
	slices.SortFunc(list, func(a, b archiveRecord) int { return int(a.number) - int(b.number) })
	return list
}

// record returns the archive with its tree's base: what isn't folded yet is in
// the journal.
func (a *liveArchive) record() archiveRecord {
	rec := a.archiveRecord
	if a.tree != nil {
		a.tree.mu.RLock()
		rec.base, rec.changed = a.tree.base, a.tree.changed
		a.tree.mu.RUnlock()
	}
	return rec
}

// restoreArchive makes an archive what a root or the journal says.
func (r *Repository) restoreArchive(rec archiveRecord) {
	a := r.archives[rec.number]
	if a == nil {
		a = &liveArchive{}
		r.archives[rec.number] = a
	}
	r.nextNumber = max(r.nextNumber, rec.number+1)
	fresh := a.tree == nil || a.created != rec.created
	a.archiveRecord = rec
	switch {
	case rec.removed:
		a.tree = nil
	case fresh:
		a.tree = newTree(r, rec.number, rec.base, false)
		a.tree.changed = rec.changed
	}
}

// captureArchives appends the archives that the journal doesn't know as they
// are.
func (r *Repository) captureArchives(b []byte) []byte {
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	for number := range r.renamed {
		if a := r.archives[number]; a != nil {
			b = appendArchive(append(b, recordArchive), a.record())
		}
	}
	clear(r.renamed)
	return b
}

func (r *Repository) setFailure(err error) {
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	r.failure = err
}

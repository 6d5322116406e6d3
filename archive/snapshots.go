package archive

import (
	"context"
	"fmt"
	"slices"
	"time"

	"bkfs/archive/page"
)

// A Snapshot is an archive's frozen state.
type Snapshot struct {
	Archive, Name string
	Number        uint32
	Time          time.Time
	Auto          bool // made by itself, and may go by itself
	Usage         Usage
}

// snapshotName is how a snapshot is called that gets no other name: the time
// in UTC, without colons.
const snapshotName = "2006-01-02T150405Z"

// loadSnapshots reads the list that the root names.
func (r *Repository) loadSnapshots(ctx context.Context) error {
	if r.root.snapshots.Count == 0 {
		return nil
	}
	err := page.Scan(ctx, r.chunks, r.root.snapshots, nil, func(_, value []byte) (bool, error) {
		s, err := decodeSnapshot(value)
		if err != nil {
			return false, damaged("snapshot", err)
		}
		if r.archives[s.archive] == nil {
			return false, damaged(fmt.Sprintf("snapshot %d is of no archive", s.number), nil)
		}
		r.snapshots[s.number] = &s
		r.nextNumber = max(r.nextNumber, s.number+1)
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("read snapshots: %w", asDamage(err))
	}
	for n, s := range r.snapshots {
		r.stored[n] = *s
	}
	return nil
}

// foldSnapshots brings the paged list up to date.
func (r *Repository) foldSnapshots(ctx context.Context) (page.Root, map[uint32]snapshotRecord, error) {
	r.catalogMu.Lock()
	var edits []page.Edit
	next := make(map[uint32]snapshotRecord, len(r.snapshots))
	for n, s := range r.snapshots {
		next[n] = *s
		if old, ok := r.stored[n]; !ok || old != *s {
			edits = append(edits, page.Edit{Key: s.key(), Value: s.encode()})
		}
	}
	for n, s := range r.stored {
		if r.snapshots[n] == nil {
			edits = append(edits, page.Edit{Key: s.key(), Delete: true})
		}
	}
	r.catalogMu.Unlock()
	sortEdits(edits)
	list, err := page.Apply(ctx, r.chunks, r.chunks, r.root.snapshots, edits)
	if err != nil {
		return page.Root{}, nil, fmt.Errorf("write snapshots: %w", asDamage(err))
	}
	return list, next, nil
}

// Snapshots lists an archive's snapshots, oldest first; also of one that was
// removed.
func (r *Repository) Snapshots(archive string) ([]Snapshot, error) {
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	a := r.archiveNamed(archive)
	if a == nil {
		return nil, fmt.Errorf("archive %q: %w", archive, ErrNotExist)
	}
	var list []Snapshot
	for _, s := range r.snapshots {
		if s.archive == a.number {
			list = append(list, s.public(a.name))
		}
	}
	slices.SortFunc(list, func(a, b Snapshot) int { return int(a.Number) - int(b.Number) })
	return list, nil
}

func (s *snapshotRecord) public(archive string) Snapshot {
	return Snapshot{Archive: archive, Name: s.name, Number: s.number, Time: s.time.Time(), Auto: s.auto, Usage: s.base.usage}
}

// snapshotNamed finds a snapshot. catalogMu is held.
func (r *Repository) snapshotNamed(archive, name string) (*liveArchive, *snapshotRecord, error) {
	a := r.archiveNamed(archive)
	if a == nil {
		return nil, nil, fmt.Errorf("archive %q: %w", archive, ErrNotExist)
	}
	for _, s := range r.snapshots {
		if s.archive == a.number && s.name == name {
			return a, s, nil
		}
	}
	return a, nil, fmt.Errorf("snapshot %q of %q: %w", name, archive, ErrNotExist)
}

// TakeSnapshot freezes an archive as it is: every write that has returned is
// in it, and it is durable. Without a name it gets the time's.
func (r *Repository) TakeSnapshot(ctx context.Context, archive, name string, auto bool) (Snapshot, error) {
	if r.readOnly {
		return Snapshot{}, ErrReadOnly
	}
	byTime := name == ""
	if byTime {
		name = time.Now().UTC().Format(snapshotName)
	}
	if err := checkSnapshotName(name); err != nil {
		return Snapshot{}, err
	}
	t, err := r.Live(archive)
	if err != nil {
		return Snapshot{}, err
	}
	var taken *snapshotRecord
	err = r.checkpoint(ctx, func() error {
		r.catalogMu.Lock()
		defer r.catalogMu.Unlock()
		a := r.archives[t.number]
		if a == nil || a.tree != t {
			return ErrNotExist
		}
		for i := 1; ; i++ {
			free := name
			if i > 1 {
				free = fmt.Sprintf("%s-%d", name, i)
			}
			if _, s, _ := r.snapshotNamed(a.name, free); s == nil {
				name = free
				break
			}
			if !byTime {
				return ErrExist
			}
		}
		t.mu.RLock()
		taken = &snapshotRecord{number: r.nextNumber, archive: t.number, name: name, time: now(), auto: auto, base: t.base}
		t.mu.RUnlock()
		r.nextNumber++
		r.snapshots[taken.number] = taken
		return nil
	})
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	if err != nil {
		if taken != nil {
			delete(r.snapshots, taken.number)
		}
		return Snapshot{}, err
	}
	defer func(fn func(Event), a string) {
		if fn != nil {
			go fn(Event{a})
		}
	}(r.onChange, archive)
	return taken.public(archive), nil
}

func checkSnapshotName(name string) error {
	if name == "latest" {
		return fmt.Errorf("snapshot name %q is taken by the link to the newest one: %w", name, ErrExist)
	}
	return checkName(name)
}

// DeleteSnapshot deletes a snapshot.
func (r *Repository) DeleteSnapshot(ctx context.Context, archive, name string) error {
	if r.readOnly {
		return ErrReadOnly
	}
	r.catalogMu.Lock()
	_, s, err := r.snapshotNamed(archive, name)
	if err == nil {
		delete(r.snapshots, s.number)
		delete(r.views, s.number)
	}
	r.catalogMu.Unlock()
	if err != nil {
		return err
	}
	if err := r.checkpoint(ctx, nil); err != nil {
		r.catalogMu.Lock()
		r.snapshots[s.number] = s
		r.catalogMu.Unlock()
		return err
	}
	r.tell(archive)
	return nil
}

// RenameSnapshot renames a snapshot; one that was automatic no longer is.
func (r *Repository) RenameSnapshot(ctx context.Context, archive, old, name string) error {
	if r.readOnly {
		return ErrReadOnly
	}
	if err := checkSnapshotName(name); err != nil {
		return err
	}
	r.catalogMu.Lock()
	_, s, err := r.snapshotNamed(archive, old)
	if err == nil && old != name {
		if _, taken, _ := r.snapshotNamed(archive, name); taken != nil {
			err = ErrExist
		}
	}
	if err != nil || old == name {
		r.catalogMu.Unlock()
		return err
	}
	renamed := *s
	renamed.name, renamed.auto = name, false
	r.snapshots[s.number] = &renamed
	r.catalogMu.Unlock()
	if err := r.checkpoint(ctx, nil); err != nil {
		r.catalogMu.Lock()
		r.snapshots[s.number] = s
		r.catalogMu.Unlock()
		return err
	}
	r.tell(archive)
	return nil
}

// SnapshotTree opens a snapshot for reading.
func (r *Repository) SnapshotTree(_ context.Context, archive, name string) (*Tree, error) {
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	_, s, err := r.snapshotNamed(archive, name)
	if err != nil {
		return nil, err
	}
	if t := r.views[s.number]; t != nil {
		return t, nil
	}
	t := newTree(r, s.number, s.base, true)
	r.views[s.number] = t
	return t, nil
}

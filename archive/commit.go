package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"bkfs/archive/chunk"
	"bkfs/archive/journal"

	"golang.org/x/sys/unix"
)

const (
	// journalChunks is how many bytes of chunks a commit puts into the journal
	// rather than into a pack of their own.
	journalChunks = 2 << 20
	// journalUncut is how many uncut bytes, of one file and of all, a commit
	// puts into the journal; more are cut.
	journalUncutFile = cutAt + 2<<20
	journalUncut     = 16 << 20
	// A root is written when the journal or an overlay has grown this large.
	journalLimit = 96 << 20
	overlayLimit = 100_000
)

// Sync makes everything durable that was done before the call: one commit
// serves all who wait.
func (r *Repository) Sync(ctx context.Context) error {
	if r.readOnly {
		return nil
	}
	return r.committer.sync(ctx)
}

// commit appends what is unsaved to the journal. Only the committer and those
// who stop it call it.
func (r *Repository) commit(ctx context.Context) error {
	r.commitMu.Lock()
	defer r.commitMu.Unlock()
	if r.stale {
		return errStaleJournal
	}
	trees := r.liveTrees()
	if err := r.settle(ctx, trees); err != nil {
		return err
	}
	batch := r.captureArchives(nil)
	for _, t := range trees {
		t.gate.Lock()
		batch = t.capture(batch)
		t.gate.Unlock()
	}
	return r.appendBatch(ctx, batch)
}

// errStaleJournal says that a record was lost on its way to the journal: only
// a root can make the state durable now.
var errStaleJournal = errors.New("the journal lacks a record; a root is needed")

// settle sees to it that few bytes are uncut and that none are in flight that
// were when it was called.
func (r *Repository) settle(ctx context.Context, trees []*Tree) error {
	total := int64(0)
	for _, f := range r.writer.holding() {
		n := f.held.Load()
		if total += n; n <= journalUncutFile && total <= journalUncut {
			continue
		}
		total -= n
		if err := f.cut(ctx); err != nil {
			return err
		}
	}
	for _, t := range trees {
		for _, f := range t.openFiles() {
			f.mu.Lock()
			f.settle()
			f.mu.Unlock()
		}
	}
	return nil
}

// appendBatch makes the chunks durable that a captured batch names, and then
// the batch. When it fails, what was captured is durable only with the next
// root.
func (r *Repository) appendBatch(ctx context.Context, batch []byte) (err error) {
	defer func() {
		if err != nil {
			r.stale = true
		}
	}()
	ids, n := r.chunks.data.takeUnjournaled()
	var parts [][]byte
	if n > journalChunks {
		if err := r.chunks.data.flush(ctx); err != nil {
			return err
		}
	} else {
		for _, id := range ids {
			if _, _, unsaved := r.chunks.data.unsaved(id); !unsaved {
				continue
			}
			data, err := r.chunks.get(ctx, chunk.KindData, id)
			if err != nil {
				return fmt.Errorf("journal chunk: %w", err)
			}
			parts = append(parts, appendChunk(nil, chunk.KindData, data))
		}
	}
	if fresh := r.chunks.takeFresh(); len(fresh) > 0 {
		parts = slices.Insert(parts, 0, appendPacks(nil, fresh))
	}
	if len(batch) > 0 {
		parts = append(parts, batch)
	}
	if len(parts) == 0 {
		return nil
	}
	if err := r.journal.Append(parts); err != nil {
		return fmt.Errorf("write journal: %w", asNoSpace(err))
	}
	return nil
}

// checkpoint writes a root. edit, if given, changes the catalog in the moment
// that the root stands for; what it gets back from the fold is in the trees'
// bases. Everything done before the call is durable when it returns.
func (r *Repository) checkpoint(ctx context.Context, edit func() error) error {
	r.checkpointMu.Lock()
	defer r.checkpointMu.Unlock()
	if r.pending != nil { // an earlier one failed half-way
		if err := r.finishCheckpoint(ctx, nil); err != nil {
			return err
		}
	}
	if err := r.beginCheckpoint(ctx); err != nil {
		return err
	}
	return r.finishCheckpoint(ctx, edit)
}

// A checkpointState is a checkpoint between the freeze and the root.
type checkpointState struct {
	trees []*Tree         // those with a frozen overlay
	old   *journal.Writer // superfluous once there is a root
	gap   bool            // old lacks a record, so nothing behind it can be replayed
}

// beginCheckpoint commits, freezes the overlays, and turns to a new journal.
func (r *Repository) beginCheckpoint(ctx context.Context) error {
	if err := r.commit(ctx); err != nil && !errors.Is(err, errStaleJournal) && !r.isStale() {
		return err
	}
	r.commitMu.Lock()
	defer r.commitMu.Unlock()
	trees := r.liveTrees()
	for _, t := range trees {
		t.gate.Lock()
		defer t.gate.Unlock()
	}
	for _, t := range trees {
		if err := t.cutEverything(ctx); err != nil {
			return err
		}
	}
	batch := r.captureArchives(nil)
	for _, t := range trees {
		batch = t.capture(batch)
	}
	if !r.stale {
		// When this fails the root alone will hold what was captured; nobody
		// has been told that it is durable.
		if err := r.appendBatch(ctx, batch); err != nil {
			r.log.Warn("journal not written", "err", err)
		}
	}
	link := r.journal.Link()
	next, err := journal.Create(r.journalDir, r.keys, link.Generation+1, &link)
	if err != nil {
		r.stale = true
		return fmt.Errorf("new journal: %w", asNoSpace(err))
	}
	r.pending = &checkpointState{old: r.journal, gap: r.stale}
	r.journal = next
	for _, t := range trees {
		if t.freeze() {
			r.pending.trees = append(r.pending.trees, t)
		}
	}
	return nil
}

func (r *Repository) isStale() bool {
	r.commitMu.Lock()
	defer r.commitMu.Unlock()
	return r.stale
}

// cutEverything makes chunks of all bytes of all files. gate is held alone.
func (t *Tree) cutEverything(ctx context.Context) error {
	for _, f := range t.openFiles() {
		f.mu.Lock()
		err := f.cutAll(ctx)
		f.settle()
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// finishCheckpoint folds what is frozen and writes the root.
func (r *Repository) finishCheckpoint(ctx context.Context, edit func() error) error {
	p := r.pending
	for _, t := range p.trees {
		if t.frozen == nil {
			continue // folded in an earlier attempt
		}
		f, err := newFold(t)
		if err == nil {
			err = f.run(ctx)
		}
		if err != nil {
			return fmt.Errorf("write tree %d: %w", t.number, err)
		}
		t.rebase(f)
	}
	if edit != nil {
		if err := edit(); err != nil {
			return err
		}
	}
	if err := r.putRoot(ctx); err != nil {
		return err
	}
	r.pending = nil
	if p.gap { // nothing was appended since
		r.commitMu.Lock()
		r.stale = false
		r.commitMu.Unlock()
	}
	if err := errors.Join(p.old.Close(), r.removeJournals(r.root.journal)); err != nil {
		r.log.Warn("old journals not removed", "err", err)
	}
	if err := dropOldRoots(ctx, r.store); err != nil {
		r.log.Warn("old roots not removed", "err", err)
	}
	return nil
}

// putRoot writes the root that the bases, the catalog and the newest journal
// make up.
func (r *Repository) putRoot(ctx context.Context) error {
	if err := r.settleUnsure(ctx); err != nil {
		return err
	}
	snapshots, stored, err := r.foldSnapshots(ctx)
	if err != nil {
		return err
	}
	if err := r.chunks.flush(ctx); err != nil {
		return err
	}
	next := &root{
		generation: r.root.generation + 1, previous: r.root.hash, time: now(),
		journal: r.journal.Generation(), journalID: r.journal.ID(),
		snapshots: snapshots, packs: r.root.packs, places: r.root.places,
	}
	r.catalogMu.Lock()
	next.nextNumber, next.archives = r.nextNumber, r.archiveRecords()
	r.catalogMu.Unlock()

	recent := r.chunks.recentFrom(0)
	moved := 0
	if next.recent = recent; len(recent) > packsInline {
		moved = len(recent)
		if err := next.movePacks(ctx, r.chunks, recent); err != nil {
			return err
		}
		next.recent = r.chunks.recentFrom(moved)
	}
	if err := next.put(ctx, r.store, r.keys); err != nil {
		r.unsure, r.unsureStored = next, stored
		return err
	}
	r.chunks.moved(moved)
	r.catalogMu.Lock()
	r.root, r.stored = next, stored
	r.catalogMu.Unlock()
	return nil
}

// settleUnsure puts a root again whose put failed, and may have happened: no
// other bytes can have its generation then.
func (r *Repository) settleUnsure(ctx context.Context) error {
	if r.unsure == nil {
		return nil
	}
	if err := r.unsure.store(ctx, r.store); err != nil {
		return err
	}
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	r.root, r.stored = r.unsure, r.unsureStored
	r.unsure, r.unsureStored = nil, nil
	return nil
}

// asNoSpace turns the system's errors of a full disk into ErrNoSpace.
func asNoSpace(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return fmt.Errorf("%w: %w", ErrNoSpace, err)
	}
	return asDamage(err)
}

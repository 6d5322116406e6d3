package archive

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"

	"bkfs/archive/chunk"
	"bkfs/archive/index"
	"bkfs/archive/journal"
	"bkfs/archive/pack"
	"bkfs/archive/seal"
	"bkfs/archive/store"

	"github.com/maypok86/otter/v2"
)

// nodeCache is how many clean nodes are kept decoded.
const nodeCache = 1 << 16

// Options says how to open a repository.
type Options struct {
	Dir        string // local directory of lock, journal and, unless IndexDir says else, index
	Store      store.Store
	Key        *seal.Key // the repository key; not kept
	ReadOnly   bool      // beside a writer, or without any change to the store
	IndexDir   string    // "" is Dir/index
	Mountpoint string    // for those who find the repository locked
	Log        *slog.Logger
}

// A Repository is an open repository. Its methods may be called side by side.
type Repository struct {
	store      store.Store
	dir        string
	journalDir string
	readOnly   bool
	log        *slog.Logger
	config     *Config
	keys       *seal.Keys
	lock       *lockFile
	index      *index.Index
	chunks     *chunks
	writer     *writer
	space      *spaceGuard
	committer  *committer // nil when read-only
	nodes      *otter.Cache[nodeKey, *node]

	// checkpointMu is held while a root is made; commitMu while the journal is
	// written. Order: checkpointMu, commitMu, gates, file.mu, Tree.mu.
	checkpointMu sync.Mutex
	pending      *checkpointState
	unsure       *root // its put failed, and may have happened
	unsureStored map[uint32]snapshotRecord
	commitMu     sync.Mutex
	journal      *journal.Writer
	stale        bool // the journal lacks a record

	catalogMu  sync.Mutex // guards all below
	root       *root
	nextNumber uint32
	archives   map[uint32]*liveArchive
	renamed    map[uint32]struct{} // archives that the journal doesn't know as they are
	snapshots  map[uint32]*snapshotRecord
	stored     map[uint32]snapshotRecord // as the root has them
	views      map[uint32]*Tree          // opened snapshots
	onChange   func(Event)
	failures   map[lostFile]lostBytes // what couldn't be stored
	failure    error                  // of the last commit
	closed     bool
}

// Open opens a repository and replays what its journal holds. Errors are
// ErrNoRepository, ErrFormat, ErrDamaged, ErrBadKey, and a *LockedError when
// somebody else has it open for writing.
func Open(ctx context.Context, o Options) (*Repository, error) {
	for {
		r, generation, err := open(ctx, o)
		if err == nil || !o.ReadOnly || !errors.Is(err, ErrDamaged) {
			return r, err
		}
		// Beside a writer, the root that was read may have been superseded and
		// its journal removed: then there is a newer one.
		list, lerr := rootGenerations(ctx, o.Store)
		if lerr != nil || len(list) == 0 || list[len(list)-1] <= generation {
			return nil, err
		}
	}
}

// open is one attempt of Open; it also tells which root it has read.
func open(ctx context.Context, o Options) (_ *Repository, generation uint64, err error) {
	cfg, err := ReadConfig(ctx, o.Store)
	if err != nil {
		return nil, 0, err
	}
	if err := cfg.Verify(o.Key); err != nil {
		return nil, 0, err
	}
	r := &Repository{
		store: o.Store, dir: o.Dir, journalDir: filepath.Join(o.Dir, "journal"), readOnly: o.ReadOnly,
		log: o.Log, config: cfg,
		archives: make(map[uint32]*liveArchive), renamed: make(map[uint32]struct{}),
		snapshots: make(map[uint32]*snapshotRecord), views: make(map[uint32]*Tree), stored: make(map[uint32]snapshotRecord),
		failures: make(map[lostFile]lostBytes), nextNumber: 1,
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.shut())
		}
	}()
	if !r.readOnly {
		if r.lock, err = takeLock(o.Dir, o.Mountpoint); err != nil {
			return nil, 0, err
		}
		if err := os.MkdirAll(r.journalDir, 0o700); err != nil {
			return nil, 0, fmt.Errorf("open repository: %w", err)
		}
		if s, ok := o.Store.(interface{ RemoveTemporary() error }); ok {
			if err := s.RemoveTemporary(); err != nil {
				r.log.Warn("what an interrupted write left isn't removed", "err", err)
			}
		}
	}
	if r.keys, err = seal.NewKeys(o.Key, cfg.ID); err != nil {
		return nil, 0, fmt.Errorf("open repository: %w", err)
	}
	splitter, err := chunk.NewSplitter(cfg.Chunker, r.keys.ChunkerSeed())
	if err != nil {
		return nil, 0, fmt.Errorf("open repository: %w: %w", ErrFormat, err)
	}
	indexDir := o.IndexDir
	if indexDir == "" {
		indexDir = filepath.Join(o.Dir, "index")
	}
	if r.index, err = index.Open(indexDir, r.keys, r.log); err != nil {
		return nil, 0, fmt.Errorf("open repository: %w", asNoSpace(err))
	}
	r.nodes = otter.Must(&otter.Options[nodeKey, *node]{MaximumSize: nodeCache})
	r.chunks = newChunks(o.Store, r.keys, r.index, cfg.Chunker.Max, cfg.Epoch, r.log)
	r.chunks.data.keep, r.chunks.meta.keep = r.readOnly, r.readOnly
	r.writer = newWriter(r.chunks, splitter)
	r.space = &spaceGuard{st: o.Store, writer: r.writer}
	if err := r.load(ctx); err != nil {
		return nil, r.root.generation, err
	}
	if !r.readOnly {
		r.committer = newCommitter(r)
	}
	return r, r.root.generation, nil
}

// load brings the state of the newest root and of the journals after it.
func (r *Repository) load(ctx context.Context) error {
	r.root = &root{}
	latest, err := latestRoot(ctx, r.store, r.keys)
	if err != nil {
		return err
	}
	if latest == nil {
		if err := r.checkFresh(ctx); err != nil {
			return err
		}
	}
	var tail *journal.Tail
	generation := uint64(1)
	if latest != nil {
		r.root = latest
		if err := r.loadRoot(ctx); err != nil {
			return err
		}
		if tail, generation, err = r.replayJournals(ctx); err != nil {
			return err
		}
	}
	if r.readOnly {
		return nil
	}
	// What was replayed goes into a root of its own: a journal is never
	// written to again.
	var link *journal.Link
	if tail != nil {
		link = &tail.Link
	} else if err := r.removeJournals(math.MaxUint64); err != nil {
		// They are of a creation that was interrupted before its first root,
		// which comes before anything is acknowledged.
		return err
	}
	if r.journal, err = journal.Create(r.journalDir, r.keys, generation, link); err != nil {
		return fmt.Errorf("new journal: %w", asNoSpace(err))
	}
	return r.checkpoint(ctx, nil)
}

// checkFresh makes sure that a repository without a root never had one.
func (r *Repository) checkFresh(ctx context.Context) error {
	err := r.store.List(ctx, pack.Prefix, "", func(store.Info) error {
		return damaged("there are packs, and no root to say what is in them", nil)
	})
	if err != nil {
		return asDamage(err)
	}
	files, err := journal.List(r.journalDir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("list journals: %w", err)
	}
	if n := len(files); n > 0 && files[n-1].Generation > 1 {
		return damaged("there is a journal, and no root before it", nil)
	}
	return nil
}

// loadRoot takes over what the root says.
func (r *Repository) loadRoot(ctx context.Context) error {
	packs, err := r.root.packSet(ctx, r.chunks)
	if err != nil {
		return err
	}
	for _, p := range packs {
		r.chunks.packs[p.id] = p.packInfo
	}
	r.chunks.recent, r.chunks.named = r.root.recent, len(r.root.recent)
	if err := r.index.Retain(func(id pack.ID) bool { _, ok := r.chunks.packs[id]; return ok }); err != nil {
		return fmt.Errorf("open index: %w", asNoSpace(err))
	}
	for _, p := range packs {
		if err := r.chunks.indexPack(ctx, p); err != nil {
			return err
		}
	}
	r.nextNumber = max(1, r.root.nextNumber)
	for _, a := range r.root.archives {
		r.restoreArchive(a)
	}
	return r.loadSnapshots(ctx)
}

// removeJournals removes all journals before a generation.
func (r *Repository) removeJournals(before uint64) error {
	files, err := journal.List(r.journalDir)
	if err != nil {
		return fmt.Errorf("list journals: %w", err)
	}
	for _, f := range files {
		if f.Generation < before {
			err = errors.Join(err, os.Remove(f.Path))
		}
	}
	return err
}

// isLarge tells whether a root is due.
func (r *Repository) isLarge() bool {
	r.commitMu.Lock()
	size := r.journal.Size()
	r.commitMu.Unlock()
	if size > journalLimit {
		return true
	}
	for _, t := range r.liveTrees() {
		t.mu.RLock()
		n := len(t.active.nodes)
		t.mu.RUnlock()
		if n > overlayLimit {
			return true
		}
	}
	return false
}

// Close makes everything durable, writes a last root and lets the repository
// go. Its error tells of what couldn't be stored.
func (r *Repository) Close(ctx context.Context) error {
	r.catalogMu.Lock()
	closed := r.closed
	r.closed = true
	r.catalogMu.Unlock()
	if closed {
		return nil
	}
	var err error
	if r.committer != nil {
		r.committer.close()
		r.lostFiles(ctx) // their names: the fold in a checkpoint forgets them
		if err = r.checkpoint(ctx, nil); err != nil {
			err = fmt.Errorf("close repository: %w", err)
		}
		err = errors.Join(err, r.lost(ctx))
	}
	return errors.Join(err, r.shut())
}

// shut lets go of everything that Open got.
func (r *Repository) shut() (err error) {
	if r.writer != nil {
		r.writer.close()
		r.chunks.close()
	}
	if r.journal != nil {
		err = r.journal.Close()
	}
	if r.index != nil {
		err = errors.Join(err, r.index.Close())
	}
	if r.keys != nil {
		r.keys.Destroy()
	}
	return errors.Join(err, r.lock.release())
}

// cookie is a name's place in its directory if it is free: in
// [16, 1<<63-cookieTries).
func (r *Repository) cookie(name string) uint64 {
	const lowest, highest = 16, 1<<63 - cookieTries
	return lowest + r.keys.NameHash(0, name)%(highest-lowest)
}

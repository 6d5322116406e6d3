package archive

import (
	"context"
	"encoding/hex"

	"bkfs/archive/pack"
	"bkfs/archive/store"
)

// Status is what a repository is doing.
type Status struct {
	Generation uint64 // of the newest root
	RootHash   string // SHA-256 of the newest root, in hexadecimal
	// Problems says what couldn't be stored: one line a file, or why the last
	// commit failed.
	Problems []string
	Waiting  uint64 // bytes that were written and are in no pack yet
	Journal  uint64 // bytes in the journal
}

// Status tells without touching the store, unless there are files to be named.
func (r *Repository) Status() Status {
	var s Status
	if !r.readOnly {
		r.commitMu.Lock()
		s.Journal = uint64(r.journal.Size())
		r.commitMu.Unlock()
	}
	r.writer.mu.Lock()
	s.Waiting = uint64(r.writer.dirty)
	r.writer.mu.Unlock()
	for _, err := range r.lostFiles(context.Background()) {
		s.Problems = append(s.Problems, err.Error())
	}
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	s.Generation, s.RootHash = r.root.generation, hex.EncodeToString(r.root.hash[:])
	if r.failure != nil {
		s.Problems = append(s.Problems, "last commit: "+r.failure.Error())
	}
	return s
}

// Space is what the backing store has room for, less what bkfs keeps free.
func (r *Repository) Space(ctx context.Context) (store.Space, error) {
	s, err := r.store.Space(ctx)
	if err != nil {
		return s, asDamage(err)
	}
	s.Available -= min(s.Available, spaceReserve, s.Total/16)
	return s, nil
}

// Stats is what a repository holds and what it costs. Sizes are in bytes.
type Stats struct {
	Archives  int    `json:"archives"`
	Snapshots int    `json:"snapshots"`
	Inodes    uint64 `json:"inodes"`  // of the live trees
	Logical   uint64 `json:"logical"` // sum of the files' sizes, live trees and snapshots
	Live      uint64 `json:"live"`    // of these, those of the live trees
	Stored    uint64 `json:"stored"`  // all packs
	Data      uint64 `json:"data"`    // of these, packs with file content
	Metadata  uint64 `json:"metadata"`
	Journal   uint64 `json:"journal"` // waits in the journal for a pack
	Packs     int    `json:"packs"`
	Chunks    uint64 `json:"chunks"`
	// Written and New count, since the repository was opened, bytes that were
	// cut into chunks, and those of them that weren't there before.
	Written uint64 `json:"written"`
	New     uint64 `json:"new"`
}

// Stats adds up. What is written and not in a pack yet isn't in Stored.
func (r *Repository) Stats(ctx context.Context) (Stats, error) {
	if err := r.Sync(ctx); err != nil {
		return Stats{}, err
	}
	s := Stats{Journal: r.Status().Journal}
	for _, a := range r.Archives() {
		s.Archives++
		s.Inodes += a.Usage.Inodes
		s.Live += a.Usage.Bytes
	}
	s.Logical = s.Live
	r.catalogMu.Lock()
	s.Snapshots = len(r.snapshots)
	for _, n := range r.snapshots {
		s.Logical += n.base.usage.Bytes
	}
	r.catalogMu.Unlock()
	c := r.chunks
	c.mu.Lock()
	for _, p := range c.packs {
		s.Packs++
		s.Stored += uint64(p.size)
		if p.kind == pack.KindData {
			s.Data += uint64(p.size)
		} else {
			s.Metadata += uint64(p.size)
		}
	}
	s.Written, s.New = c.bytes.offered, c.bytes.new
	c.mu.Unlock()
	for p := range r.index.Packs {
		s.Chunks += uint64(p.Chunks)
	}
	return s, nil
}

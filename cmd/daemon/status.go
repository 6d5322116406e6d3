package daemon

import (
	"context"
	"fmt"
	"time"

	"bkfs/archive"
)

// Status is the result of OpStatus.
type Status struct {
	Generation uint64          `json:"generation"` // of the newest root
	Archives   []ArchiveStatus `json:"archives"`
	Problems   []string        `json:"problems"`  // what couldn't be stored
	Waiting    uint64          `json:"waiting"`   // bytes written and in no pack yet
	Total      uint64          `json:"total"`     // bytes, of the backing store
	Available  uint64          `json:"available"` // bytes, to this user
	Lock       *LockStatus     `json:"lock,omitempty"`
}

// ArchiveStatus describes one archive.
type ArchiveStatus struct {
	Name         string     `json:"name"`
	Created      time.Time  `json:"created"`
	Changed      time.Time  `json:"changed"`
	Removed      bool       `json:"removed"` // only snapshots are left
	Bytes        uint64     `json:"bytes"`   // logical
	Inodes       uint64     `json:"inodes"`
	Snapshots    int        `json:"snapshots"`
	LastSnapshot *time.Time `json:"last_snapshot,omitempty"`
}

func statusOf(ctx context.Context, repo *archive.Repository) (Status, error) {
	space, err := repo.Space(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("look at the store: %w", err)
	}
	s := repo.Status()
	out := Status{
		Generation: s.Generation, Archives: []ArchiveStatus{}, Problems: append([]string{}, s.Problems...), Waiting: s.Waiting,
		Total: space.Total, Available: space.Available,
	}
	for _, a := range repo.Archives() {
		snapshots, err := repo.Snapshots(a.Name)
		if err != nil {
			return out, fmt.Errorf("list the snapshots of %q: %w", a.Name, err)
		}
		row := ArchiveStatus{
			Name: a.Name, Created: a.Created, Changed: a.Changed, Removed: a.Removed,
			Bytes: a.Usage.Bytes, Inodes: a.Usage.Inodes, Snapshots: len(snapshots),
		}
		if n := len(snapshots); n > 0 {
			row.LastSnapshot = &snapshots[n-1].Time
		}
		out.Archives = append(out.Archives, row)
	}
	return out, nil
}

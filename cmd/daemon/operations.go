package daemon

import (
	"context"
	"fmt"
	"time"

	"bkfs/archive"
)

// Snapshot is a snapshot as commands show it.
type Snapshot struct {
	Archive   string    `json:"archive"`
	Name      string    `json:"name"`
	Time      time.Time `json:"time"`
	Automatic bool      `json:"automatic"`
}

// Done is the result of what has nothing to tell.
type Done struct{}

// Execute runs a request on an open repository. It doesn't know OpUnmount,
// which only a daemon can do.
func Execute(ctx context.Context, repo *archive.Repository, req Request, progress func(Progress)) (any, error) {
	switch req.Op {
	case OpStatus:
		return statusOf(ctx, repo)
	case OpSync:
		return Done{}, repo.Sync(ctx)
	case OpStats:
		return repo.Stats(ctx)
	case OpCheck:
		return check(ctx, repo, req, progress)
	case OpSnapshotList:
		return listSnapshots(repo, req.Archive)
	case OpSnapshotCreate:
		s, err := repo.TakeSnapshot(ctx, req.Archive, req.Name, false)
		if err != nil {
			return nil, fmt.Errorf("take a snapshot of %s: %w", req.Archive, err)
		}
		return describeSnapshot(s), nil
	case OpSnapshotDelete:
		return deleteSnapshots(ctx, repo, req), nil
	case OpSnapshotRename:
		if err := repo.RenameSnapshot(ctx, req.Archive, req.Name, req.NewName); err != nil {
			return nil, fmt.Errorf("rename snapshot %s of %s to %s: %w", req.Name, req.Archive, req.NewName, err)
		}
		return Done{}, nil
	}
	return nil, fmt.Errorf("the request %.40q is unknown here", string(req.Op))
}

func describeSnapshot(s archive.Snapshot) Snapshot {
	return Snapshot{s.Archive, s.Name, s.Time, s.Auto}
}

// listSnapshots lists one archive's snapshots, or all archives' in their order.
func listSnapshots(repo *archive.Repository, name string) ([]Snapshot, error) {
	names := []string{name}
	if name == "" {
		names = nil
		for _, a := range repo.Archives() {
			names = append(names, a.Name)
		}
	}
	out := []Snapshot{}
	for _, n := range names {
		snapshots, err := repo.Snapshots(n)
		if err != nil {
			return nil, fmt.Errorf("list the snapshots of %s: %w", n, err)
		}
		for _, s := range snapshots {
			out = append(out, describeSnapshot(s))
		}
	}
	return out, nil
}

// Deleted is the result of OpSnapshotDelete.
type Deleted struct {
	Deleted []string `json:"deleted"`
	Failed  []Undone `json:"failed,omitempty"`
}

// Undone is what couldn't be done, and why.
type Undone struct {
	Name  string `json:"name"`
	Error string `json:"error"`
}

func deleteSnapshots(ctx context.Context, repo *archive.Repository, req Request) Deleted {
	out := Deleted{Deleted: []string{}}
	for _, name := range req.Names {
		if err := repo.DeleteSnapshot(ctx, req.Archive, name); err != nil {
			err = fmt.Errorf("delete snapshot %q of %q: %w", name, req.Archive, err)
			out.Failed = append(out.Failed, Undone{name, err.Error()})
			continue
		}
		out.Deleted = append(out.Deleted, name)
	}
	return out
}

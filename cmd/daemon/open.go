package daemon

import (
	"context"
	"errors"
	"fmt"

	"bkfs/archive"
	"bkfs/archive/index"
)

// maxReaders is how many readers of one repository may run at a time on a host.
const maxReaders = 16

// Open opens a repository. Each reader needs an index of its own; beside
// others it takes the next free directory after o.IndexDir.
func Open(ctx context.Context, o archive.Options) (*archive.Repository, error) {
	repo, err := archive.Open(ctx, o)
	dir := o.IndexDir
	for n := 2; o.ReadOnly && dir != "" && n <= maxReaders && errors.Is(err, index.ErrInUse); n++ {
		o.IndexDir = fmt.Sprintf("%s-%d", dir, n)
		repo, err = archive.Open(ctx, o)
	}
	if err != nil {
		return nil, fmt.Errorf("open the repository: %w", err)
	}
	return repo, nil
}

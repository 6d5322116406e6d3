package daemon

import (
	"bkfs/archive"
	"context"
)

func check(ctx context.Context, repo *archive.Repository, req Request, progress func(Progress)) (any, error) {
	return nil, nil
}

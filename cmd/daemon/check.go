package daemon

import (
	"context"
	"fmt"
	"sync"
	"time"

	"bkfs/archive"
)

// progressInterval bounds how often progress crosses a socket.
const progressInterval = 100 * time.Millisecond

func check(ctx context.Context, repo *archive.Repository, req Request, progress func(Progress)) (*archive.Report, error) {
	report, err := repo.Check(ctx, archive.CheckOptions{ReadData: req.ReadData, Progress: throttle(progress)})
	if err != nil {
		return nil, fmt.Errorf("check the repository: %w", err)
	}
	return report, nil
}

// throttle passes on a few calls a second, and each first of a phase.
func throttle(progress func(Progress)) func(phase string, done, total uint64) {
	var mu sync.Mutex
	var last time.Time
	var doing string
	return func(phase string, done, total uint64) {
		mu.Lock()
		defer mu.Unlock()
		if phase == doing && time.Since(last) < progressInterval {
			return
		}
		doing, last = phase, time.Now()
		progress(Progress{Doing: phase, Done: done, Total: total})
	}
}

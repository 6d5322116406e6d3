package archive

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// commitInterval is how long written data may stay undurable without fsync.
const commitInterval = 5 * time.Second

// A committer is the goroutine that commits: when somebody waits for it, and
// every few seconds. All who came before a commit began are served by it.
type committer struct {
	r *Repository

	mu      sync.Mutex
	wake    sync.Cond
	waiting *commitRound // those whom the next commit serves
	closed  bool
	rooting atomic.Bool // a root is being written
	done    sync.WaitGroup
}

type commitRound struct {
	over chan struct{}
	err  error
}

func newCommitter(r *Repository) *committer {
	c := &committer{r: r}
	c.wake.L = &c.mu
	c.done.Go(c.run)
	return c
}

func (c *committer) sync(ctx context.Context) error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return ErrClosed
	}
	if c.waiting == nil {
		c.waiting = &commitRound{over: make(chan struct{})}
	}
	round := c.waiting
	c.wake.Broadcast()
	c.mu.Unlock()
	select {
	case <-round.over:
		return round.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *committer) run() {
	ticks := time.NewTicker(commitInterval)
	defer ticks.Stop()
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-ticks.C:
				c.mu.Lock()
				if c.waiting == nil && !c.closed {
					c.waiting = &commitRound{over: make(chan struct{})}
				}
				c.wake.Broadcast()
				c.mu.Unlock()
			}
		}
	}()
	for {
		c.mu.Lock()
		for c.waiting == nil && !c.closed {
			c.wake.Wait()
		}
		round := c.waiting
		c.waiting = nil
		closed := c.closed
		c.mu.Unlock()
		if round != nil {
			round.err = c.round()
			close(round.over)
		}
		if closed {
			return
		}
	}
}

// round commits. A root is written too where it is due, beside the commits
// that follow, or where it is the only way left to make things durable.
func (c *committer) round() error {
	ctx := context.Background()
	err := c.r.commit(ctx)
	switch {
	case err != nil:
		c.r.log.Warn("journal not written", "err", err)
		if err = c.r.checkpoint(ctx, nil); err != nil {
			c.r.log.Error("nothing can be made durable", "err", err)
		}
	case c.r.isLarge() && c.rooting.CompareAndSwap(false, true):
		c.done.Go(func() {
			defer c.rooting.Store(false)
			if err := c.r.checkpoint(ctx, nil); err != nil {
				c.r.log.Warn("root not written; the journal goes on", "err", err)
			}
		})
	}
	c.r.setFailure(err)
	return err
}

func (c *committer) close() {
	c.mu.Lock()
	c.closed = true
	c.wake.Broadcast()
	c.mu.Unlock()
	c.done.Wait()
}

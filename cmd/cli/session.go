package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"

	"bkfs/archive"
	"bkfs/cmd/daemon"
)

// run carries a request out: in the daemon that has the repository mounted,
// without another unlock, or else here, after unlocking and opening it.
func (a *app) run(ctx context.Context, req daemon.Request, into any) error {
	r, err := a.repository(ctx)
	if err != nil {
		return err
	}
	return a.runOn(ctx, r, req, into)
}

func (a *app) runOn(ctx context.Context, r *repository, req daemon.Request, into any) error {
	defer a.term.progressDone()
	if c, err := a.daemonFor(r); err == nil {
		return c.Call(ctx, req, a.term.progress, into)
	}
	u, err := a.unlock(ctx, r)
	if err != nil {
		return err
	}
	defer u.key.Destroy()
	o := archive.Options{Dir: r.path, Store: r.store, Key: u.key, ReadOnly: req.ReadOnly(), Log: a.log()}
	if o.ReadOnly {
		o.IndexDir = filepath.Join(a.cacheDir(), r.config.ID.String())
	}
	repo, err := daemon.Open(ctx, o)
	if err != nil {
		return err
	}
	if err := a.rememberOpened(r.config.ID, repo); err != nil {
		a.term.warning(err)
	}
	result, err := daemon.Execute(ctx, repo, req, a.term.progress)
	// What was done is made durable even when Ctrl-C came meanwhile.
	err = errors.Join(err, repo.Close(context.WithoutCancel(ctx)))
	if err != nil {
		return err
	}
	if !req.ReadOnly() {
		if err := a.rememberOpened(r.config.ID, repo); err != nil {
			a.term.warning(err)
		}
	}
	return convert(result, into)
}

// convert gives a result the form it would have coming from a daemon.
func convert(result, into any) error {
	if into == nil {
		return nil
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("read the result: %w", err)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return fmt.Errorf("read the result: %w", err)
	}
	return nil
}

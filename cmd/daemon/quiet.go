package daemon

import (
	"context"
	"errors"
	"fmt"
	"time"

	"bkfs/archive"
)

// minLook and maxLook bound how often the daemon looks whether an archive has
// become quiet.
const (
	minLook = time.Second
	maxLook = 15 * time.Second
)

// snapshotWhenQuiet takes a snapshot of every archive that was changed and then
// left alone for a while, until ctx ends.
func (d *mounted) snapshotWhenQuiet(ctx context.Context) {
	quiet := d.SnapshotWhenQuiet
	if quiet <= 0 || d.Job.Options.ReadOnly {
		return
	}
	tick := time.NewTicker(min(max(quiet/4, minLook), maxLook))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := d.snapshotChanged(ctx, quiet); err != nil && ctx.Err() == nil {
			d.Log.Error("automatic snapshot", "error", err)
		}
	}
}

// snapshotChanged takes an automatic snapshot of every archive that has changed
// since its last snapshot and been quiet for so long, and thins out the older
// automatic ones. One archive's failure doesn't keep another from its snapshot.
func (d *mounted) snapshotChanged(ctx context.Context, quiet time.Duration) error {
	var errs []error
	for _, a := range d.repo.Archives() {
		if a.Removed || time.Since(a.Changed) < quiet {
			continue
		}
		snapshots, err := d.repo.Snapshots(a.Name)
		if err != nil {
			errs = append(errs, fmt.Errorf("snapshots of %q: %w", a.Name, err))
			continue
		}
		if !changedSince(a, snapshots) {
			continue
		}
		s, err := d.repo.TakeSnapshot(ctx, a.Name, "", true)
		if err != nil {
			errs = append(errs, fmt.Errorf("automatic snapshot of %q: %w", a.Name, err))
			continue
		}
		d.Log.Info("automatic snapshot", "number", s.Number)
		errs = append(errs, d.thin(ctx, a.Name))
	}
	return errors.Join(errs...)
}

// changedSince tells whether an archive differs from its newest snapshot.
func changedSince(a archive.Info, snapshots []archive.Snapshot) bool {
	if len(snapshots) == 0 {
		return true
	}
	return a.Changed.After(snapshots[len(snapshots)-1].Time)
}

func (d *mounted) thin(ctx context.Context, name string) error {
	snapshots, err := d.repo.Snapshots(name)
	if err != nil {
		return fmt.Errorf("snapshots of %q: %w", name, err)
	}
	for _, s := range expired(time.Now(), snapshots) {
		if err := d.repo.DeleteSnapshot(ctx, s.Archive, s.Name); err != nil {
			return fmt.Errorf("thin out snapshot %q of %q: %w", s.Name, s.Archive, err)
		}
	}
	return nil
}

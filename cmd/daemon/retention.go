package daemon

import (
	"time"

	"bkfs/archive"
)

// Automatic snapshots are kept hourly for a day, daily for a month and monthly
// after that, counted back from now. Buckets are UTC hours, days and months.
const (
	hourlyFor = 24 * time.Hour
	dailyFor  = 30 * 24 * time.Hour
)

// expired returns the automatic snapshots of one archive that the schedule no
// longer keeps. In every bucket the newest one stays, so that what one pass
// keeps is never what a later, coarser pass has already lost. The newest of
// all stays whatever its age. Snapshots taken by name are never returned, nor
// do they stand in for an automatic one.
func expired(now time.Time, snapshots []archive.Snapshot) []archive.Snapshot {
	newest := newestPerBucket(snapshots)
	var out []archive.Snapshot
	for _, s := range snapshots {
		if !s.Auto {
			continue
		}
		if number, ok := newest[bucketFor(now, s.Time)]; ok && number != s.Number {
			out = append(out, s)
		}
	}
	return out
}

// newestPerBucket maps every hour, day and month that has an automatic
// snapshot to the number of its newest one.
func newestPerBucket(snapshots []archive.Snapshot) map[string]uint32 {
	newest := map[string]uint32{}
	times := map[string]time.Time{}
	for _, s := range snapshots {
		if !s.Auto {
			continue
		}
		for _, b := range []string{hourOf(s.Time), dayOf(s.Time), monthOf(s.Time)} {
			// Later entries win ties: the list is in the order they were taken.
			if t, ok := times[b]; !ok || !s.Time.Before(t) {
				newest[b], times[b] = s.Number, s.Time
			}
		}
	}
	return newest
}

// bucketFor names the bucket in which a snapshot of that age competes.
// A time in the future (the clock was set back) competes in its hour.
func bucketFor(now, t time.Time) string {
	switch age := now.Sub(t); {
	case age < hourlyFor:
		return hourOf(t)
	case age < dailyFor:
		return dayOf(t)
	default:
		return monthOf(t)
	}
}

func hourOf(t time.Time) string  { return t.UTC().Format("2006-01-02T15") }
func dayOf(t time.Time) string   { return t.UTC().Format("2006-01-02") }
func monthOf(t time.Time) string { return t.UTC().Format("2006-01") }

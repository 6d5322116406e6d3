package daemon

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bkfs/archive"
)

func automatic(number uint32, t string) archive.Snapshot {
	at, err := time.Parse(time.RFC3339, t)
	if err != nil {
		panic(err)
	}
	return archive.Snapshot{Archive: "a", Name: t, Number: number, Time: at, Auto: true}
}

func named(number uint32, t string) archive.Snapshot {
	s := automatic(number, t)
	s.Auto = false
	return s
}

func TestExpired(t *testing.T) {
	now := time.Date(2026, 11, 23, 14, 5, 9, 0, time.UTC)
	tests := []struct {
		name      string
		snapshots []archive.Snapshot
		want      []uint32
	}{
		{"none", nil, nil},
		{"one old one stays", []archive.Snapshot{automatic(1, "2020-01-01T00:00:00Z")}, nil},
		{"same hour keeps the newest", []archive.Snapshot{
			automatic(1, "2026-11-23T13:00:00Z"), automatic(2, "2026-11-23T13:59:59Z"), automatic(3, "2026-11-23T14:00:00Z"),
		}, []uint32{1}},
		{"same day a week ago", []archive.Snapshot{
			automatic(1, "2026-11-16T01:00:00Z"), automatic(2, "2026-11-16T23:00:00Z"), automatic(3, "2026-11-17T00:00:00Z"),
		}, []uint32{1}},
		{"same month last year", []archive.Snapshot{
			automatic(1, "2025-10-01T00:00:00Z"), automatic(2, "2025-10-31T00:00:00Z"), automatic(3, "2025-11-01T00:00:00Z"),
		}, []uint32{1}},
		{"named ones are untouched and don't count", []archive.Snapshot{
			automatic(1, "2025-10-01T00:00:00Z"), named(2, "2025-10-02T00:00:00Z"), named(3, "2025-10-03T00:00:00Z"),
		}, nil},
		{"a day that is partly within the last 24 hours", []archive.Snapshot{
			automatic(1, "2026-11-22T08:00:00Z"), automatic(2, "2026-11-22T20:00:00Z"), automatic(3, "2026-11-22T21:00:00Z"),
		}, []uint32{1}},
		{"same second, later number wins", []archive.Snapshot{
			automatic(1, "2026-11-23T13:00:00Z"), automatic(2, "2026-11-23T13:00:00Z"),
		}, []uint32{1}},
		{"clock was set back", []archive.Snapshot{
			automatic(1, "2027-01-01T00:10:00Z"), automatic(2, "2027-01-01T00:20:00Z"), automatic(3, "2026-11-23T14:00:00Z"),
		}, []uint32{1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []uint32
			for _, s := range expired(now, tt.snapshots) {
				got = append(got, s.Number)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("expired numbers (-want +got):\n%s", d)
			}
		})
	}
}

// TestExpiredIsStable lives through two years of hourly snapshots: thinning
// every hour must leave the same set as thinning once at the end would be
// judged by, and never more than 24 + 31 + 24 + 3 snapshots.
func TestExpiredIsStable(t *testing.T) {
	now := time.Date(2024, 1, 1, 0, 30, 0, 0, time.UTC)
	var kept []archive.Snapshot
	for n := uint32(1); n <= 2*365*24; n++ {
		now = now.Add(time.Hour)
		kept = append(kept, archive.Snapshot{Number: n, Time: now, Auto: true})
		gone := map[uint32]bool{}
		for _, s := range expired(now, kept) {
			gone[s.Number] = true
		}
		next := kept[:0]
		for _, s := range kept {
			if !gone[s.Number] {
				next = append(next, s)
			}
		}
		kept = next
		if kept[len(kept)-1].Number != n {
			t.Fatalf("hour %d: the newest snapshot was thinned out", n)
		}
	}
	if len(kept) < 24+29+23 || len(kept) > 24+31+24+3 {
		t.Errorf("after two years got %d snapshots kept, want about 78", len(kept))
	}
	for i := 1; i < len(kept); i++ {
		if gap := kept[i].Time.Sub(kept[i-1].Time); gap > 32*24*time.Hour {
			t.Errorf("gap of %v before %v: a month has no snapshot left", gap, kept[i].Time)
		}
	}
}

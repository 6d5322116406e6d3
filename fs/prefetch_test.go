package fs

import (
	"slices"
	"testing"
)

// ids are the node ids of n files of a directory.
func ids(dir nodeID, n int) []nodeID {
	out := make([]nodeID, n)
	for i := range out {
		out[i] = dir<<16 + nodeID(i)
	}
	return out
}

func takeAll(p *prefetcher) (got []nodeID) {
	for id, ok := p.take(); ok; id, ok = p.take() {
		got = append(got, id)
	}
	return got
}

func TestPrefetcher(t *testing.T) {
	p := newPrefetcher()
	files := ids(1, 3*prefetchAhead)
	p.listed(1, files[:10])
	p.listed(1, files[10:])

	p.opened(files[0])
	if got := takeAll(p); got != nil {
		t.Errorf("the first file of a directory that was opened has %d others fetched", len(got))
	}
	p.opened(files[1])
	if got, want := takeAll(p), files[2:2+prefetchAhead]; !slices.Equal(got, want) {
		t.Errorf("fetched %v, want %v", got, want)
	}
	p.opened(files[2])
	if got := takeAll(p); got != nil {
		t.Errorf("fetched %v although enough is ahead", got)
	}
	last := 3 + prefetchAhead/2
	for _, id := range files[3:last] {
		p.opened(id)
	}
	if got := takeAll(p); len(got) == 0 || got[0] != files[2+prefetchAhead] {
		t.Errorf("fetched %v when half was opened, want what comes next", got)
	}

	// It was of use: the next directory's first file is enough.
	p.listed(2, ids(2, 4))
	p.opened(ids(2, 4)[3])
	if got, want := takeAll(p), ids(2, 4)[:3]; !slices.Equal(got, want) {
		t.Errorf("fetched %v, want %v", got, want)
	}
	p.listed(2, ids(2, 4))
	p.opened(ids(2, 4)[0])
	if got := takeAll(p); got != nil {
		t.Errorf("fetched %v once more after the directory was listed again", got)
	}
}

func TestPrefetcherForgets(t *testing.T) {
	p := newPrefetcher()
	first := ids(1, 8)
	p.listed(1, first)
	p.opened(first[0])
	p.opened(first[1])
	takeAll(p)
	for d := range nodeID(2 * prefetchDirs) {
		p.listed(d+2, ids(d+2, 8))
	}
	if n := len(p.files); n != 8*prefetchDirs || len(p.dirs) != prefetchDirs {
		t.Errorf("%d files of %d directories are remembered, want %d of %d", n, len(p.dirs), 8*prefetchDirs, prefetchDirs)
	}
	if p.trust >= 0 {
		t.Errorf("trust is %d after files were fetched that nobody opened", p.trust)
	}
	p.opened(first[2])
	if got := takeAll(p); got != nil {
		t.Errorf("fetched %v of a directory that is forgotten", got)
	}
}

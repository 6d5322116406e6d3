package index

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"bkfs/archive/pack"
)

func TestAddAndGet(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	if !x.Fresh() {
		t.Error("a new index isn't fresh")
	}
	f.want(x, 1, -1)
	f.add(x, 0, 1, 2, 3)
	f.add(x, 1, 4)
	f.add(x, 1, 4) // again
	for range 2 {  // the second time from memory
		f.want(x, 1, 0)
		f.want(x, 4, 1)
		f.want(x, 5, -1)
	}
	if !x.HasPack(packID(0)) || x.HasPack(packID(2)) {
		t.Errorf("HasPack = %t, %t, want true, false", x.HasPack(packID(0)), x.HasPack(packID(2)))
	}
	x = f.reopen(x)
	if x.Fresh() {
		t.Error("an index opened again is fresh")
	}
	f.want(x, 3, 0)
	f.want(x, 4, 1)
	for p := range x.Packs {
		if p.ID == packID(0) && (p.Chunks != 3 || p.Size != 1<<24 || p.Kind != pack.KindData || !p.Live) {
			t.Errorf("Packs gives %+v", p)
		}
	}
	if s := x.Stats(); s.Packs != 2 || s.LivePacks != 2 {
		t.Errorf("Stats = %+v, want two live packs", s)
	}
}

func TestNotLiveUntilRetain(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	f.add(x, 0, 1)
	f.add(x, 1, 2)
	f.add(x, 2, 3)
	f.close(x)
	x = f.open()
	f.want(x, 1, -1)
	f.add(x, 0, 1) // known; live by this
	f.want(x, 1, 0)
	if err := x.Retain(func(id pack.ID) bool { return id == packID(1) }); err != nil {
		t.Fatal(err)
	}
	f.want(x, 1, -1)
	f.want(x, 2, 1)
	if x.HasPack(packID(2)) {
		t.Error("a pack that isn't retained is still known")
	}
	x = f.reopen(x)
	f.want(x, 1, -1)
	f.want(x, 2, 1)
	f.want(x, 3, -1)
}

// The newest copy is found; when its pack goes, the older one is.
func TestSeveralCopies(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	f.add(x, 0, 1, 2)
	f.want(x, 1, 0)
	f.add(x, 1, 1)
	f.want(x, 1, 1)
	if err := x.Forget(packID(1)); err != nil {
		t.Fatal(err)
	}
	f.want(x, 1, 0)
	f.add(x, 1, 1)
	f.want(x, 1, 1)
	x = f.reopen(x)
	f.want(x, 1, 1)
	f.want(x, 2, 0)
	for n := 2; n < 10; n++ {
		f.add(x, n, 1)
	}
	f.want(x, 1, 9)
}

func TestAddPackRefuses(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	if err := x.AddPack(packID(1), pack.KindData, 1, entries(2, 1)); err == nil {
		t.Error("entries of another pack are accepted")
	}
	f.want(x, 1, -1)
	f.add(x, 0, 1)
	twin := packID(0)
	twin[31] ^= 1 // same number
	if err := x.AddPack(twin, pack.KindData, 1, nil); err == nil {
		t.Error("a second pack of the same number is accepted")
	}
	f.want(x, 1, 0)
}

func TestClosed(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	f.close(x)
	f.close(x)
	_, _, getErr := x.Get(chunkID(1))
	for what, err := range map[string]error{
		"Get":     getErr,
		"AddPack": x.AddPack(packID(0), pack.KindData, 1, nil),
		"Retain":  x.Retain(func(pack.ID) bool { return true }),
		"Forget":  x.Forget(packID(0)),
		"Sweep":   x.Sweep(t.Context()),
		"Reset":   x.Reset(),
	} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", what, err)
		}
	}
}

func TestReset(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	f.add(x, 0, 1)
	x = f.reopen(x)
	f.want(x, 1, 0)
	if err := x.Reset(); err != nil || !x.Fresh() {
		t.Fatalf("Reset: %v, fresh %t", err, x.Fresh())
	}
	f.want(x, 1, -1)
	f.add(x, 1, 1)
	x = f.reopen(x)
	f.want(x, 1, 1)
}

func TestSweep(t *testing.T) {
	f := newFixture(t)
	x := f.open()
	many := make([]int, 2*step+10)
	for i := range many {
		many[i] = i
	}
	f.add(x, 0, many...)
	f.add(x, 1, many[:100]...)
	f.add(x, 2, many[50:]...)
	if err := errors.Join(x.Forget(packID(0)), x.Forget(packID(1)), x.Sweep(t.Context())); err != nil {
		t.Fatal(err)
	}
	left := 0
	_, err := x.walk([]byte{chunkPrefix}, -1, func(_ []byte, places []place) error {
		left += len(places)
		return nil
	})
	if want := len(many) - 50; err != nil || left != want {
		t.Errorf("after Sweep there are %d places, %v, want %d", left, err, want)
	}
	f.want(x, 10, -1)
	f.want(x, 60, 2)
}

// The index does what a map does, over any sequence of changes, reopening,
// crashes and lack of space.
func TestModel(t *testing.T) {
	f := newFixture(t)
	f.free = 1 << 40
	x := f.open()
	rapid.Check(t, func(r *rapid.T) {
		f.free = 1 << 40
		if err := x.Retain(func(pack.ID) bool { return false }); err != nil {
			r.Fatal(err)
		}
		packs := map[int]bool{} // known and live
		places := map[int][]int{}
		n := rapid.IntRange(0, 7)
		r.Repeat(map[string]func(*rapid.T){
			"add": func(r *rapid.T) {
				p := n.Draw(r, "pack")
				chunks := []int{p, p/2 + 8, 20} // a pack's contents never change
				if !packs[p] {
					for _, c := range chunks {
						places[c] = slices.Insert(slices.DeleteFunc(places[c], func(q int) bool { return q == p }), 0, p)
					}
				}
				f.add(x, p, chunks...)
				packs[p] = true
			},
			"forget": func(r *rapid.T) {
				p := n.Draw(r, "pack")
				if err := x.Forget(packID(p)); err != nil {
					r.Fatal(err)
				}
				delete(packs, p)
			},
			"reopen": func(r *rapid.T) {
				seldom(r)
				f.free = 1 << 40
				x = f.reopen(x)
			},
			"space": func(r *rapid.T) {
				seldom(r)
				f.free = rapid.SampledFrom([]uint64{1, 1 << 40}).Draw(r, "free")
			},
			"sweep": func(r *rapid.T) {
				if err := x.Sweep(t.Context()); err != nil {
					r.Fatal(err)
				}
			},
			"": func(r *rapid.T) {
				for c := range 21 {
					got, ok, err := x.Get(chunkID(c))
					if err != nil {
						r.Fatalf("Get(chunk %d): %v", c, err)
					}
					var live []int
					for _, p := range places[c] {
						if packs[p] {
							live = append(live, p)
						}
					}
					switch {
					case ok && !slices.ContainsFunc(live, func(p int) bool { return got == placeOf(p, c) }):
						r.Fatalf("Get(chunk %d) = %+v, live in %v", c, got, live)
					case ok != (len(live) > 0) && len(places[c]) <= maxPlaces:
						r.Fatalf("Get(chunk %d) = %t, live in %v", c, ok, live)
					}
				}
				for p := range 8 {
					if packs[p] && !x.HasPack(packID(p)) {
						r.Fatalf("pack %d isn't known; known are %v", p, slices.Sorted(maps.Keys(packs)))
					}
				}
			},
		})
	})
}

// seldom skips three of four steps that open a database: they take long.
func seldom(r *rapid.T) {
	if rapid.IntRange(0, 3).Draw(r, "seldom") > 0 {
		r.Skip("not this time")
	}
}

// For the race detector: lookups beside changes and beside a swap of the
// database. What was live throughout is found throughout.
func TestConcurrent(t *testing.T) {
	f := newFixture(t)
	var free atomic.Uint64
	free.Store(1 << 40)
	x, err := open(f.dir, f.keys, f.log, func() (uint64, error) { return free.Load(), nil })
	if err != nil {
		t.Fatal(err)
	}
	defer x.Close()
	f.add(x, 0, 0, 1, 2, 3)
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				x.cache.Invalidate(chunkID(i % 4))
				f.want(x, i%4, 0)
				x.HasPack(packID(i))
				x.Stats()
			}
		})
	}
	for n := 1; n < 60; n++ {
		switch n % 20 {
		case 5:
			free.Store(1)
		case 15:
			free.Store(1 << 40)
		}
		f.add(x, n, 100+n)
		if n%7 == 0 {
			if err := errors.Join(x.Forget(packID(n)), x.Sweep(t.Context())); err != nil {
				t.Error(err)
			}
		}
	}
	close(done)
	wg.Wait()
	for n := 1; n < 60; n++ {
		if n%7 != 0 {
			f.want(x, 100+n, n)
		}
	}
}

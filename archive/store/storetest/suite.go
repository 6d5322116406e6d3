package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"bkfs/archive/store"
)

// Run tests the stores that open gives, each empty and used by one test.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	tests := []struct {
		name string
		run  func(t *testing.T, s store.Store)
	}{
		{"PutGet", testPutGet},
		{"PutCreatesOnly", testPutCreatesOnly},
		{"PutKeepsNoSlice", testPutKeepsNoSlice},
		{"PutRace", testPutRace},
		{"Replace", testReplace},
		{"ReplaceIsWhole", testReplaceIsWhole},
		{"GetShort", testGetShort},
		{"NotExist", testNotExist},
		{"DeleteTwice", testDeleteTwice},
		{"ListOrder", testListOrder},
		{"ListStops", testListStops},
		{"Names", testNames},
		{"Cancelled", testCancelled},
		{"Space", testSpace},
		{"LargeObjects", testLargeObjects},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { tt.run(t, open(t)) })
	}
	t.Run("Model", func(t *testing.T) { testModel(t, open) })
}

func testPutGet(t *testing.T, s store.Store) {
	before := time.Now().Add(-time.Minute) // clocks of file systems are coarse
	data := []byte("0123456789")
	put(t, s, "packs/ab/abcd", data)
	for _, r := range [][2]int{{0, 10}, {0, 1}, {9, 10}, {3, 7}, {0, 0}, {10, 10}} {
		if got := get(t, s, "packs/ab/abcd", r[0], r[1]-r[0]); !bytes.Equal(got, data[r[0]:r[1]]) {
			t.Errorf("Get [%d:%d] = %q, want %q", r[0], r[1], got, data[r[0]:r[1]])
		}
	}
	info, err := s.Stat(t.Context(), "packs/ab/abcd")
	if err != nil || info.Name != "packs/ab/abcd" || info.Size != 10 {
		t.Errorf("Stat = %+v, %v, want size 10", info, err)
	}
	if info.ModTime.Before(before) {
		t.Errorf("Stat: modified at %v, want after %v", info.ModTime, before)
	}
	put(t, s, "empty", nil)
	if info, err := s.Stat(t.Context(), "empty"); err != nil || info.Size != 0 {
		t.Errorf("Stat of an empty object = %+v, %v", info, err)
	}
}

func testPutCreatesOnly(t *testing.T, s store.Store) {
	put(t, s, "roots/1", []byte("first"))
	put(t, s, "roots/1", []byte("first"))
	for _, other := range []string{"", "firs", "first!", "fIrst"} {
		wantKind(t, s.Put(t.Context(), "roots/1", []byte(other)), store.ErrExist)
	}
	if got := get(t, s, "roots/1", 0, 5); string(got) != "first" {
		t.Errorf("after refused Puts the object is %q, want first", got)
	}
}

func testPutKeepsNoSlice(t *testing.T, s store.Store) {
	data := []byte("before")
	put(t, s, "a", data)
	copy(data, "after!")
	if got := get(t, s, "a", 0, 6); string(got) != "before" {
		t.Errorf("Get = %q, want before: Put kept the caller's slice", got)
	}
}

// Of several Puts of one name with different bytes exactly one wins.
func testPutRace(t *testing.T, s store.Store) {
	const n = 8
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = s.Put(t.Context(), "packs/aa/race", bytes.Repeat([]byte{byte(i)}, 1000+i)) })
	}
	wg.Wait()
	winner := slices.Index(errs, nil)
	if winner < 0 {
		t.Fatalf("no Put succeeded: %v", errs)
	}
	for i, err := range errs {
		if i != winner {
			wantKind(t, err, store.ErrExist)
		}
	}
	if got := get(t, s, "packs/aa/race", 0, 1000+winner); !bytes.Equal(got, bytes.Repeat([]byte{byte(winner)}, 1000+winner)) {
		t.Errorf("the object isn't what the one successful Put gave")
	}
}

func testReplace(t *testing.T, s store.Store) {
	for _, data := range []string{"one", "the second, longer", ""} {
		if err := s.Replace(t.Context(), "config", []byte(data)); err != nil {
			t.Fatalf("Replace: %v", err)
		}
		if got := get(t, s, "config", 0, len(data)); string(got) != data {
			t.Errorf("after Replace Get = %q, want %q", got, data)
		}
		if info, err := s.Stat(t.Context(), "config"); err != nil || info.Size != int64(len(data)) {
			t.Errorf("after Replace Stat = %+v, %v, want size %d", info, err, len(data))
		}
	}
}

// A reader beside a writer sees one version or the other.
func testReplaceIsWhole(t *testing.T, s store.Store) {
	const size, rounds = 10_000, 30
	version := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, size) }
	if err := s.Replace(t.Context(), "config", version(0)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() {
		for i := range rounds {
			if err := s.Replace(t.Context(), "config", version(i)); err != nil {
				t.Errorf("Replace: %v", err)
			}
		}
	})
	p := make([]byte, size)
	for range rounds {
		if err := s.Get(t.Context(), "config", 0, p); err != nil {
			t.Errorf("Get beside Replace: %v", err)
		} else if bytes.Count(p, p[:1]) != size {
			t.Errorf("Get beside Replace saw a mixture")
		}
	}
}

func testGetShort(t *testing.T, s store.Store) {
	put(t, s, "a", []byte("0123456789"))
	for _, r := range [][2]int64{{0, 11}, {10, 1}, {5, 6}, {1 << 40, 1}} {
		wantKind(t, s.Get(t.Context(), "a", r[0], make([]byte, r[1])), store.ErrCorrupt)
	}
	if err := s.Get(t.Context(), "a", -1, make([]byte, 1)); err == nil {
		t.Error("Get at a negative offset succeeds")
	}
}

func testNotExist(t *testing.T, s store.Store) {
	put(t, s, "a/b", nil)
	for _, name := range []string{"a", "a/c", "a/b/c", "b"} {
		wantKind(t, s.Get(t.Context(), name, 0, make([]byte, 1)), store.ErrNotExist)
		_, err := s.Stat(t.Context(), name)
		wantKind(t, err, store.ErrNotExist)
		if err := s.Delete(t.Context(), name); err != nil {
			t.Errorf("Delete of %s, which isn't there: %v", name, err)
		}
	}
	if got := list(t, s, "", ""); !cmp.Equal(got, []string{"a/b"}) {
		t.Errorf("List = %q, want a/b", got)
	}
}

func testDeleteTwice(t *testing.T, s store.Store) {
	put(t, s, "a", []byte("old"))
	for range 2 {
		if err := s.Delete(t.Context(), "a"); err != nil {
			t.Fatalf("Delete: %v", err)
		}
	}
	put(t, s, "a", []byte("new"))
	if got := get(t, s, "a", 0, 3); string(got) != "new" {
		t.Errorf("Get = %q, want new", got)
	}
}

// The names are such that a walk of directories must sort "a-b" before "a/b".
func testListOrder(t *testing.T, s store.Store) {
	names := []string{"a-b", "a.b", "a/a", "a/b-c/d", "a/b/c", "a/b/d", "a0", "a_/x", "b/a", "b/b"}
	for _, name := range []string{"b/b", "a_/x", "a/b/d", "a/b/c", "a0", "a/b-c/d", "a/a", "b/a", "a.b", "a-b"} {
		put(t, s, name, []byte(name))
	}
	after := append([]string{"", "a", "a/", "a/b/", "a/b/c0", "b/", "z", "a/b/c/d"}, names...)
	for _, prefix := range []string{"", "a", "a/", "a/b", "a/b/", "a/b/c", "b/", "c", "c/d/", "a-"} {
		for _, after := range after {
			var want []string
			for _, name := range names {
				if strings.HasPrefix(name, prefix) && name > after {
					want = append(want, name)
				}
			}
			if diff := cmp.Diff(want, list(t, s, prefix, after)); diff != "" {
				t.Errorf("List(%q, after %q) (-want +got):\n%s", prefix, after, diff)
			}
		}
	}
	err := s.List(t.Context(), "", "", func(i store.Info) error {
		if i.Size != int64(len(i.Name)) || i.ModTime.IsZero() {
			return fmt.Errorf("List gives %+v", i)
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func testListStops(t *testing.T, s store.Store) {
	for i := range 5 {
		put(t, s, fmt.Sprintf("a/%d", i), nil)
	}
	enough := errors.New("enough")
	seen := 0
	err := s.List(t.Context(), "a/", "", func(i store.Info) error {
		seen++
		if err := s.Delete(t.Context(), i.Name); err != nil { // the store can be used meanwhile
			return err
		}
		if seen == 2 {
			return enough
		}
		return nil
	})
	if !errors.Is(err, enough) || seen != 2 {
		t.Errorf("List = %v after %d objects, want fn's error after 2", err, seen)
	}
}

func testNames(t *testing.T, s store.Store) {
	for _, name := range []string{"", "/a", "../a", "a/../b", "a//b", "a/", ".a", "a/.b", "A", "a b", "a\x00"} {
		if err := s.Put(t.Context(), name, nil); err == nil {
			t.Errorf("Put(%q) succeeds", name)
		}
		if err := s.Replace(t.Context(), name, nil); err == nil {
			t.Errorf("Replace(%q) succeeds", name)
		}
		if err := s.Get(t.Context(), name, 0, nil); err == nil {
			t.Errorf("Get(%q) succeeds", name)
		}
		if _, err := s.Stat(t.Context(), name); err == nil {
			t.Errorf("Stat(%q) succeeds", name)
		}
		if err := s.Delete(t.Context(), name); err == nil {
			t.Errorf("Delete(%q) succeeds", name)
		}
	}
	for _, prefix := range []string{"../", "/", "a/../"} {
		if err := s.List(t.Context(), prefix, "", func(store.Info) error { return nil }); err == nil {
			t.Errorf("List(%q) succeeds", prefix)
		}
	}
}

func testCancelled(t *testing.T, s store.Store) {
	put(t, s, "a", []byte("a"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, statErr := s.Stat(ctx, "a")
	_, spaceErr := s.Space(ctx)
	for what, err := range map[string]error{
		"Put":     s.Put(ctx, "b", nil),
		"Replace": s.Replace(ctx, "b", nil),
		"Get":     s.Get(ctx, "a", 0, make([]byte, 1)),
		"Stat":    statErr,
		"List":    s.List(ctx, "", "", func(store.Info) error { return nil }),
		"Delete":  s.Delete(ctx, "a"),
		"Space":   spaceErr,
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v, want context.Canceled", what, err)
		}
	}
	if got := list(t, s, "", ""); !cmp.Equal(got, []string{"a"}) {
		t.Errorf("afterwards List = %q, want a", got)
	}
}

func testSpace(t *testing.T, s store.Store) {
	sp, err := s.Space(t.Context())
	if err != nil || sp.Total == 0 || sp.Free > sp.Total || sp.Available > sp.Free {
		t.Errorf("Space = %+v, %v, want 0 < total, available ≤ free ≤ total", sp, err)
	}
}

// The largest packs, several at once, each read back in pieces.
func testLargeObjects(t *testing.T, s store.Store) {
	const size, n = 32 << 20, 2
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			data := make([]byte, size)
			_, _ = rand.NewChaCha8([32]byte{byte(i)}).Read(data)
			name := fmt.Sprintf("packs/0%d/large", i)
			if err := s.Put(t.Context(), name, data); err != nil {
				t.Errorf("Put: %v", err)
				return
			}
			p := make([]byte, 5<<20)
			for off := 0; off < size; off += len(p) {
				p = p[:min(len(p), size-off)]
				if err := s.Get(t.Context(), name, int64(off), p); err != nil {
					t.Errorf("Get: %v", err)
				} else if !bytes.Equal(p, data[off:off+len(p)]) {
					t.Errorf("%s differs in [%d:%d]", name, off, off+len(p))
				}
			}
		})
	}
	wg.Wait()
}

// Any sequence of operations gives what it gives on a map.
func testModel(t *testing.T, open func(t *testing.T) store.Store) {
	rapid.Check(t, func(r *rapid.T) {
		s, model := open(t), map[string]string{}
		name := rapid.SampledFrom([]string{"a", "b/a", "b/b", "b/c/d", "c.d"})
		r.Repeat(map[string]func(*rapid.T){
			"put": func(r *rapid.T) {
				n, data := name.Draw(r, "name"), rapid.StringN(0, 3, -1).Draw(r, "data")
				old, there := model[n]
				err := s.Put(t.Context(), n, []byte(data))
				switch {
				case there && old != data:
					if !errors.Is(err, store.ErrExist) {
						r.Fatalf("Put of other bytes: %v, want ErrExist", err)
					}
				case err != nil:
					r.Fatalf("Put: %v", err)
				default:
					model[n] = data
				}
			},
			"delete": func(r *rapid.T) {
				n := name.Draw(r, "name")
				if err := s.Delete(t.Context(), n); err != nil {
					r.Fatalf("Delete: %v", err)
				}
				delete(model, n)
			},
			"": func(r *rapid.T) {
				got := map[string]string{}
				err := s.List(t.Context(), "", "", func(i store.Info) error {
					p := make([]byte, i.Size)
					err := s.Get(t.Context(), i.Name, 0, p)
					got[i.Name] = string(p)
					return err
				})
				if err != nil {
					r.Fatalf("List and Get: %v", err)
				}
				if diff := cmp.Diff(model, got); diff != "" {
					r.Fatalf("contents (-want +got):\n%s", diff)
				}
			},
		})
	})
}

package page

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A map that shrinks gets lower, down to nothing, and its root is that of the
// same content built at once.
func TestShrink(t *testing.T) {
	const n = 600000
	all := numbered(n)
	m := newMemory()
	full, err := Apply(t.Context(), m, m, Root{}, all)
	if err != nil {
		t.Fatal(err)
	}
	for _, keep := range [][2]int{{0, 0}, {0, 1}, {0, 300}, {n - 1, n}, {n - 300, n}, {n - 20000, n}, {1000, 1300}, {5, n / 2}, {n / 2, n}} {
		remove := make([]Edit, 0, n)
		for i := range all {
			if i < keep[0] || i >= keep[1] {
				remove = append(remove, Edit{Key: all[i].Key, Delete: true})
			}
		}
		got, err := Apply(t.Context(), m, m, full, remove)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Apply(t.Context(), m, newMemory(), Root{}, all[keep[0]:keep[1]])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keep %v: %s", keep, diff)
		}
	}
	// One by one from the front, so that short last pages are left alone on
	// every level.
	root := full
	for from := 0; from < n; {
		to := min(n, from+max(1, (n-from)*9/10))
		remove := make([]Edit, 0, to-from)
		for _, e := range all[from:to] {
			remove = append(remove, Edit{Key: e.Key, Delete: true})
		}
		if root, err = Apply(t.Context(), m, m, root, remove); err != nil {
			t.Fatal(err)
		}
		from = to
		want, err := Apply(t.Context(), m, newMemory(), Root{}, all[from:])
		if err != nil || root != want {
			t.Fatalf("from %d: %+v, want %+v, %v", from, root, want, err)
		}
	}
}

// Deleting all in front of a page that is its level's last leaves that page's
// single child as the root.
func TestCollapseToOldPage(t *testing.T) {
	m := newMemory()
	all := numbered(300000)
	full, err := Apply(t.Context(), m, m, Root{}, all)
	if err != nil {
		t.Fatal(err)
	}
	top, err := load(t.Context(), m, full.ID, 2)
	if err != nil {
		t.Fatal(err)
	}
	first, _, err := top.child(0)
	if err != nil {
		t.Fatal(err)
	}
	n := 1 // entries in front of the level's second page
	for ; !bytes.Equal(all[n-1].Key, first); n++ {
	}
	if full, err = Apply(t.Context(), m, m, Root{}, all[:n+1]); err != nil || full.Height != 3 {
		t.Fatalf("%+v, %v; want height 3", full, err)
	}
	remove := make([]Edit, n)
	for i := range remove {
		remove[i] = Edit{Key: all[i].Key, Delete: true}
	}
	got, err := Apply(t.Context(), m, m, full, remove)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Apply(t.Context(), m, newMemory(), Root{}, all[n:n+1])
	if err != nil || got != want {
		t.Fatalf("%+v, want %+v, %v", got, want, err)
	}
}

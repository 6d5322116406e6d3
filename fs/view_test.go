package fs

import (
	"slices"
	"testing"

	"bkfs/archive"
)

func TestViewTable(t *testing.T) {
	table := newViewTable()
	tree := &archive.Tree{}
	w := way{live: 1, dir: 7, snapshot: tree.Number()}
	v, err := table.enterBy(w, tree, 7, "a")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := table.enterBy(w, tree, 7, "a"); again != v {
		t.Error("the same way leads to two views")
	}
	if other, _ := table.enterBy(way{1, 8, tree.Number()}, tree, 8, "a"); other == v || other.number == v.number {
		t.Error("another way leads to the same view")
	}
	v.gain()
	table.lose(v, 2)
	if table.get(v.number) != v {
		t.Error("the view is gone with one reference left")
	}
	table.lose(v, 1)
	if table.get(v.number) != nil {
		t.Error("the view is still there without references")
	}
	if fresh, _ := table.enterBy(w, tree, 7, "a"); fresh == v || fresh.number == v.number {
		t.Error("the number was used again at once")
	}
}

func TestViewNumbersWrap(t *testing.T) {
	table := newViewTable()
	tree := &archive.Tree{}
	table.next = endOfViews - 1
	a, _ := table.enterBy(way{1, 2, 3}, tree, 2, "a")
	b, _ := table.enterBy(way{1, 3, 3}, tree, 3, "a")
	table.next = endOfViews - 1
	c, _ := table.enterBy(way{1, 4, 3}, tree, 4, "a")
	got := [3]uint32{a.number, b.number, c.number}
	if want := [3]uint32{endOfViews - 1, firstDynamicView, firstDynamicView + 1}; got != want {
		t.Errorf("got numbers %d, want %d", got, want)
	}
}

// An archive that is made again has the number of the one that was removed,
// and the kernel's references to nodes of both are counted as one.
func TestViewOfArchiveMadeAgain(t *testing.T) {
	table := newViewTable()
	before, after := &archive.Tree{}, &archive.Tree{}
	old := table.enter(before, true, rootNode, "a")
	v := table.enter(after, true, rootNode, "a")
	if v == old || v.tree != after || v.generation == old.generation {
		t.Fatal("the new archive is shown as the old one")
	}
	table.lose(old, 1)
	if table.get(v.number) != v {
		t.Error("the view went with the old archive's references")
	}
	table.lose(v, 1)
	if table.get(v.number) != nil {
		t.Error("the view is still there without references")
	}
	snapshot := table.enter(before, false, rootNode, "s")
	if again := table.enter(after, false, rootNode, "s"); again != snapshot {
		t.Error("a snapshot's tree was taken away from those who use it")
	}
}

func TestViewsRenamed(t *testing.T) {
	table := newViewTable()
	tree := &archive.Tree{} // number 0
	table.enter(tree, true, rootNode, "a")
	if got := table.renamed(map[uint32]string{0: "a"}); got != nil {
		t.Errorf("nothing changed: got %v", got)
	}
	want := []invalidEntry{{rootNode, "a"}, {snapshotsNode, "a"}}
	if got := table.renamed(map[uint32]string{0: "b"}); !slices.Equal(got, want) {
		t.Errorf("renamed: got %v, want %v", got, want)
	}
	if got := table.renamed(map[uint32]string{0: "b"}); got != nil {
		t.Errorf("told twice: got %v", got)
	}
	if got := table.renamed(nil); len(got) != 2 || got[0].name != "b" {
		t.Errorf("removed: got %v", got)
	}
	table.enterBy(way{1, 7, 0}, tree, 7, "s")
	if got := table.renamed(nil); len(got) != 1 || got[0] != (invalidEntry{makeID(1, snapshotsFlag|7), "s"}) {
		t.Errorf("snapshot deleted: got %v", got)
	}
}

func TestHandleTable(t *testing.T) {
	var table handleTable[int]
	one, two := 1, 2
	a, b := table.add(&one), table.add(&two)
	if a == 0 || b == 0 || a == b {
		t.Fatalf("got handles %d and %d", a, b)
	}
	if table.get(b) != &two || table.get(0) != nil || table.get(99) != nil {
		t.Error("wrong handle found")
	}
	if table.remove(a) != &one || table.get(a) != nil || table.remove(a) != nil {
		t.Error("a removed handle is still there")
	}
	if got := table.add(&one); got != a {
		t.Errorf("got handle %d, want %d again", got, a)
	}
	n := 0
	table.drain(func(*int) { n++ })
	if n != 2 || table.get(b) != nil {
		t.Errorf("drained %d handles, want 2", n)
	}
}

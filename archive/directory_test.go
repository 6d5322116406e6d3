package archive

import (
	"errors"
	"fmt"
	"testing"

	"bkfs/archive/page"

	"github.com/google/go-cmp/cmp"
)

// someEntries are entries of all kinds, in the order of their cookies.
func someEntries(dir Ino, n int) (list []baseEntry) {
	for i := range n {
		e := dirEntry{name: fmt.Sprint("name ", i), ino: Ino(1000 + i), typ: ModeFile}
		switch i % 3 {
		case 0:
			e.node = vectorNode()
		case 1:
			e.typ = ModeDir
			e.node = &node{attr: Attr{Mode: ModeDir | 0o700, Nlink: 2}, parent: dir, entries: vectorDirectory()}
		}
		if e.node != nil {
			e.node.attr.Ino = e.ino
			e.node.attr.Btime, e.node.attr.Ctime = Time{int64(i), 999_999_999}, Time{-int64(i), uint32(i)}
		}
		list = append(list, baseEntry{uint64(16 + 3*i), e})
	}
	return list
}

func putEntries(t *testing.T, c *chunks, dir Ino, list []baseEntry) directory {
	t.Helper()
	var edits []entryEdit
	for _, b := range list {
		edits = append(edits, entryEdit{b.cookie, &b.dirEntry})
	}
	d, err := c.apply(t.Context(), dir, directory{}, edits)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestDirectory(t *testing.T) {
	const dir Ino = 1500 // some numbers are below it, some above
	ctx, c := t.Context(), newFixture(t).chunks
	want := someEntries(dir, 1000)
	d := putEntries(t, c, dir, want)
	for _, tt := range []struct {
		from, to uint64
		limit    int
		want     []baseEntry
	}{
		{0, 1 << 63, 1 << 20, want},
		{0, 1 << 63, 7, want[:7]},
		{16 + 300, 16 + 306, 1 << 20, want[100:102]},
		{17, 19, 1 << 20, nil},
		{1 << 40, 1 << 41, 1 << 20, nil},
	} {
		got, err := c.entries(ctx, dir, d, tt.from, tt.to, tt.limit)
		if diff := cmp.Diff(tt.want, got, records, cmp.AllowUnexported(baseEntry{})); diff != "" || err != nil {
			t.Errorf("up to %d from %d to %d: %v (-want +got):\n%.1000s", tt.limit, tt.from, tt.to, err, diff)
		}
	}
	got, ok, err := c.entry(ctx, dir, d, want[500].cookie)
	if diff := cmp.Diff(want[500].dirEntry, got, records); diff != "" || !ok || err != nil {
		t.Errorf("entry 500: %v, %v (-want +got):\n%s", ok, err, diff)
	}
	if _, ok, err = c.entry(ctx, dir, d, 17); ok || err != nil {
		t.Errorf("an entry that isn't there: got %v, %v", ok, err)
	}
}

// A copy of a directory has the same names, whatever its own times and inode
// numbers are.
func TestCopySharesNames(t *testing.T) {
	c := newFixture(t).chunks
	list := someEntries(7, 500)
	a := putEntries(t, c, 7, list)
	for i := range list {
		e := &list[i].dirEntry
		e.ino += 12345
		if e.node != nil {
			n := e.node.clone()
			n.attr.Btime, n.attr.Ctime = Time{99, 9}, Time{100, uint32(i)}
			n.entries.stamps = page.Root{}
			e.node = n
		}
	}
	b := putEntries(t, c, 8, list)
	if a.names != b.names {
		t.Errorf("the copy's names are %v, want %v", b.names, a.names)
	}
	if a.stamps == b.stamps {
		t.Error("the copy's stamps are the same")
	}
}

// Each map of a directory lacks what the other has.
func TestDirectoryMapsDiffer(t *testing.T) {
	const dir Ino = 7
	ctx, c := t.Context(), newFixture(t).chunks
	list := someEntries(dir, 300)
	whole := putEntries(t, c, dir, list)
	without := func(m page.Root, entries ...baseEntry) page.Root {
		t.Helper()
		var edits []page.Edit
		for _, e := range entries {
			edits = append(edits, page.Edit{Key: cookieKey(e.cookie), Delete: true})
		}
		next, err := page.Apply(ctx, c, c, m, edits)
		if err != nil {
			t.Fatal(err)
		}
		return next
	}
	all := func(d directory) error {
		_, err := c.entries(ctx, dir, d, 0, 1<<63, 1<<20)
		return err
	}
	for _, i := range []int{0, 150, 299} {
		d := directory{whole.names, without(whole.stamps, list[i])}
		if _, _, err := c.entry(ctx, dir, d, list[i].cookie); !errors.Is(err, ErrDamaged) {
			t.Errorf("entry %d has no stamp: got %v, want ErrDamaged", i, err)
		}
		if err := all(d); !errors.Is(err, ErrDamaged) {
			t.Errorf("entry %d has no stamp, and all are listed: got %v, want ErrDamaged", i, err)
		}
	}
	// Those that are left would fit, one after the other.
	d := directory{without(whole.names, list[150:153]...), whole.stamps}
	if err := all(d); !errors.Is(err, ErrDamaged) {
		t.Errorf("three stamps have no name: got %v, want ErrDamaged", err)
	}
	if err := all(directory{names: whole.names}); !errors.Is(err, ErrDamaged) {
		t.Errorf("there are no stamps: got %v, want ErrDamaged", err)
	}
	if err := all(directory{whole.stamps, whole.names}); !errors.Is(err, ErrDamaged) {
		t.Errorf("names and stamps changed places: got %v, want ErrDamaged", err)
	}
}

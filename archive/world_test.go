package archive

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"pgregory.net/rapid"
)

// A world is a repository and what should be in it.
type world struct {
	t    *rapid.T
	f    *fixture
	tree *Tree
	root *thing
	// saved is what a crash may not take away; nil when only less is known.
	saved     *thing
	snapshots map[string]*thing
	names     int
}

// pick draws an existing inode of the wanted type and tells where it is.
func (w *world) pick(typ uint32) (dir *thing, name string, m *thing, path []string) {
	type found struct {
		dir  *thing
		name string
		m    *thing
		path []string
	}
	var all []found
	var walk func(d *thing, path []string)
	walk = func(d *thing, path []string) {
		for _, name := range slices.Sorted(maps.Keys(d.children)) {
			m := d.children[name]
			p := append(slices.Clone(path), name)
			if typ == 0 || m.mode&ModeType == typ {
				all = append(all, found{d, name, m, p})
			}
			walk(m, p)
		}
	}
	walk(w.root, nil)
	if len(all) == 0 {
		w.t.Skip("drawn again: there is no such inode yet")
	}
	f := rapid.SampledFrom(all).Draw(w.t, "inode")
	return f.dir, f.name, f.m, f.path
}

// pickDir draws a directory, the root among them.
func (w *world) pickDir() (*thing, []string) {
	type found struct {
		m    *thing
		path []string
	}
	all := []found{{w.root, nil}}
	var walk func(found)
	walk = func(d found) {
		for _, name := range slices.Sorted(maps.Keys(d.m.children)) {
			if m := d.m.children[name]; m.children != nil {
				f := found{m, append(slices.Clone(d.path), name)}
				all = append(all, f)
				walk(f)
			}
		}
	}
	walk(all[0])
	f := rapid.SampledFrom(all).Draw(w.t, "directory")
	return f.m, f.path
}

// ino looks a path up, as a kernel that has forgotten everything does.
func (w *world) ino(path []string) Ino {
	at := RootIno
	for _, name := range path {
		a, err := w.tree.Lookup(w.f.t.Context(), at, name)
		if err != nil {
			w.t.Fatalf("lookup %s: %v", strings.Join(path, "/"), err)
		}
		w.tree.Forget(at, 1)
		at = a.Ino
	}
	return at
}

func (w *world) name() string {
	w.names++
	return rapid.SampledFrom([]string{"a", "b", "c", fmt.Sprint("n", w.names)}).Draw(w.t, "name")
}

func (w *world) bytes() []byte {
	n := rapid.SampledFrom([]int{0, 1, 100, 4096, 70_000, 300_000, 1_500_000}).Draw(w.t, "length")
	seed := rapid.Byte().Draw(w.t, "content")
	b := make([]byte, n)
	x := uint32(seed) + 1
	for i := range b {
		x = x*1664525 + 1013904223
		b[i] = byte(x >> 24)
	}
	return b
}

// expect compares an operation's outcome with the model's.
func (w *world) expect(what string, err, want error) bool {
	if !errors.Is(err, want) || want == nil && err != nil {
		w.t.Fatalf("%s: %v, want %v", what, err, want)
	}
	return err == nil
}

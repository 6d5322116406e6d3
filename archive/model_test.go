package archive

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// A thing is an inode of the model that a live tree is compared with.
type thing struct {
	mode     uint32
	data     []byte
	target   string
	xattrs   map[string]string
	children map[string]*thing
	links    int
}

func (m *thing) clone(seen map[*thing]*thing) *thing {
	if c := seen[m]; c != nil {
		return c
	}
	c := &thing{mode: m.mode, data: bytes.Clone(m.data), target: m.target, xattrs: maps.Clone(m.xattrs), links: m.links}
	seen[m] = c
	if m.children != nil {
		c.children = make(map[string]*thing)
		for name, child := range m.children {
			c.children[name] = child.clone(seen)
		}
	}
	return c
}

// list is a line for each inode, in the order of paths.
func (m *thing) list(path string, to map[string]string) {
	to[path] = fmt.Sprintf("mode %o links %d target %q xattrs %v size %d sum %x",
		m.mode, m.links, m.target, m.xattrs, len(m.data), hash(m.data))
	for name, child := range m.children {
		child.list(path+"/"+name, to)
	}
}

func hash(b []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, c := range b {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return h
}

// listTree is list for a tree; it reads every byte.
func listTree(t testing.TB, tree *Tree, dir Ino, path string, to map[string]string) {
	ctx := t.Context()
	a, err := tree.Attr(ctx, dir)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	m := thing{mode: a.Mode, xattrs: map[string]string{}, links: int(a.Nlink)}
	names, err := tree.Listxattr(ctx, dir)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, n := range names {
		v, err := tree.Getxattr(ctx, dir, n)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		m.xattrs[n] = string(v)
	}
	switch a.Mode & ModeType {
	case ModeSymlink:
		if m.target, err = tree.Readlink(ctx, dir); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	case ModeFile:
		m.data = content(t, tree, a)
	}
	m.list(path, to)
	if a.Mode&ModeType != ModeDir {
		return
	}
	var entries []Entry
	if err := tree.ReadDir(ctx, dir, 0, true, func(e Entry) bool { entries = append(entries, e); return true }); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	for _, e := range entries {
		listTree(t, tree, e.Ino, path+"/"+e.Name, to)
		tree.Forget(e.Ino, 1)
	}
}

func content(t testing.TB, tree *Tree, a Attr) []byte {
	h, err := tree.Open(t.Context(), a.Ino, false)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Release()
	data := make([]byte, a.Size)
	if a.Size > 0 {
		if n, err := h.ReadAt(t.Context(), data, 0); err != nil || n != len(data) {
			t.Fatalf("read inode %d: %d of %d bytes, %v", a.Ino, n, len(data), err)
		}
	}
	return data
}

func (w *world) create(typ uint32) {
	dir, path := w.pickDir()
	name, ctx := w.name(), w.f.t.Context()
	var want error
	if dir.children[name] != nil {
		want = ErrExist
	}
	parent := w.ino(path)
	defer w.tree.Forget(parent, 1)
	m := &thing{mode: typ | 0o750, links: 1, xattrs: map[string]string{}}
	var a Attr
	var err error
	if typ == ModeSymlink {
		m.mode, m.target = ModeSymlink|0o777, name+"'s target"
		a, err = w.tree.Symlink(ctx, parent, name, m.target, Creation{})
	} else {
		a, err = w.tree.Mknod(ctx, parent, name, Creation{Mode: m.mode})
	}
	if !w.expect("create", err, want) {
		return
	}
	defer w.tree.Forget(a.Ino, 1)
	dir.children[name] = m
	if typ == ModeDir {
		m.children, m.links = map[string]*thing{}, 2
		dir.links++
	}
	if typ == ModeFile {
		m.data = w.bytes()
		w.write(a.Ino, m.data, 0)
	}
}

func (w *world) write(ino Ino, data []byte, off int) {
	h, err := w.tree.Open(w.f.t.Context(), ino, true)
	if err != nil {
		w.t.Fatal(err)
	}
	defer h.Release()
	for at := 0; at < len(data); at += 128 << 10 {
		if _, err := h.WriteAt(w.f.t.Context(), data[at:min(len(data), at+128<<10)], int64(off+at), false); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) overwrite() {
	_, _, m, path := w.pick(ModeFile)
	data := w.bytes()
	off := rapid.IntRange(0, len(m.data)+200_000).Draw(w.t, "offset")
	ino := w.ino(path)
	defer w.tree.Forget(ino, 1)
	w.write(ino, data, off)
	if len(data) > 0 {
		m.data = append(m.data, make([]byte, max(0, off+len(data)-len(m.data)))...)
		copy(m.data[off:], data)
	}
}

func (w *world) truncate() {
	_, _, m, path := w.pick(ModeFile)
	size := rapid.IntRange(0, 2*len(m.data)+1000).Draw(w.t, "size")
	ino := w.ino(path)
	defer w.tree.Forget(ino, 1)
	n := uint64(size)
	_, err := w.tree.SetAttr(w.f.t.Context(), ino, Change{Size: &n})
	w.expect("truncate", err, nil)
	m.data = append(m.data, make([]byte, max(0, size-len(m.data)))...)[:size]
}

func (w *world) punch() {
	_, _, m, path := w.pick(ModeFile)
	if len(m.data) == 0 {
		w.t.Skip("drawn again: the file has no byte to punch")
	}
	off := rapid.IntRange(0, len(m.data)-1).Draw(w.t, "offset")
	n := rapid.IntRange(1, len(m.data)-off).Draw(w.t, "length")
	ino := w.ino(path)
	defer w.tree.Forget(ino, 1)
	h, err := w.tree.Open(w.f.t.Context(), ino, true)
	w.expect("open", err, nil)
	defer h.Release()
	w.expect("punch", h.Allocate(w.f.t.Context(), uint64(off), uint64(n), AllocatePunchHole|AllocateKeepSize), nil)
	clear(m.data[off : off+n])
}

func (w *world) copyRange() {
	_, _, from, fromPath := w.pick(ModeFile)
	_, _, to, toPath := w.pick(ModeFile)
	if from == to || len(from.data) == 0 {
		w.t.Skip("drawn again: copying needs two files, the first with content")
	}
	off := rapid.IntRange(0, len(from.data)-1).Draw(w.t, "offset")
	at := rapid.IntRange(0, len(to.data)).Draw(w.t, "at")
	a, b := w.ino(fromPath), w.ino(toPath)
	defer w.tree.Forget(a, 1)
	defer w.tree.Forget(b, 1)
	src, err := w.tree.Open(w.f.t.Context(), a, false)
	w.expect("open", err, nil)
	defer src.Release()
	dst, err := w.tree.Open(w.f.t.Context(), b, true)
	w.expect("open", err, nil)
	defer dst.Release()
	n, err := src.CopyRange(w.f.t.Context(), uint64(off), dst, uint64(at), 500_000)
	w.expect("copy", err, nil)
	part := from.data[off:min(len(from.data), off+500_000)]
	if int(n) != len(part) {
		w.t.Fatalf("copied %d bytes, want %d", n, len(part))
	}
	to.data = append(to.data, make([]byte, max(0, at+len(part)-len(to.data)))...)
	copy(to.data[at:], part)
	to.mode &^= modeSetUID // as the kernel wants it of a write
	if to.mode&modeGroupRun != 0 {
		to.mode &^= modeSetGID
	}
}

func (w *world) setAttributes() {
	_, _, m, path := w.pick(0)
	ino := w.ino(path)
	defer w.tree.Forget(ino, 1)
	if m.mode&ModeType != ModeSymlink {
		perm := rapid.Uint32Range(0, 0o7777).Draw(w.t, "mode")
		_, err := w.tree.SetAttr(w.f.t.Context(), ino, Change{Mode: &perm})
		w.expect("chmod", err, nil)
		m.mode = m.mode&ModeType | perm
	}
	value := rapid.StringN(0, 300, -1).Draw(w.t, "value")
	w.expect("setxattr", w.tree.Setxattr(w.f.t.Context(), ino, "user.x", []byte(value), 0), nil)
	m.xattrs["user.x"] = value
}

func (w *world) link() {
	_, _, m, path := w.pick(0)
	dir, to := w.pickDir()
	name := w.name()
	var want error
	switch {
	case m.children != nil:
		want = ErrPermission
	case dir.children[name] != nil:
		want = ErrExist
	}
	ino, parent := w.ino(path), w.ino(to)
	defer w.tree.Forget(ino, 1)
	defer w.tree.Forget(parent, 1)
	_, err := w.tree.Link(w.f.t.Context(), ino, parent, name)
	if w.expect("link", err, want) {
		w.tree.Forget(ino, 1)
		dir.children[name] = m
		m.links++
	}
}

func (w *world) remove() {
	dir, name, m, path := w.pick(0)
	parent := w.ino(path[:len(path)-1])
	defer w.tree.Forget(parent, 1)
	if m.children != nil {
		var want error
		if len(m.children) > 0 {
			want = ErrNotEmpty
		}
		if w.expect("rmdir", w.tree.Rmdir(w.f.t.Context(), parent, name), want) {
			delete(dir.children, name)
			dir.links--
		}
		return
	}
	w.expect("unlink", w.tree.Unlink(w.f.t.Context(), parent, name), nil)
	delete(dir.children, name)
	m.links--
}

func (w *world) rename() {
	dir, name, m, path := w.pick(0)
	to, toPath := w.pickDir()
	newName := w.name()
	flags := rapid.SampledFrom([]uint32{0, 0, 0, RenameNoReplace, RenameExchange}).Draw(w.t, "flags")
	old := to.children[newName]
	var want error
	within := func(path, below []string) bool {
		return len(path) <= len(below) && slices.Equal(path, below[:len(path)])
	}
	target := append(slices.Clone(toPath), newName)
	switch {
	case m.children != nil && within(path, toPath):
		want = ErrInvalid
	case old == nil && flags == RenameExchange:
		want = ErrNotExist
	case old != nil && flags == RenameNoReplace:
		want = ErrExist
	case old == nil || old == m:
	case flags == RenameExchange:
		if old.children != nil && within(target, path) {
			want = ErrInvalid
		}
	case old.children != nil && m.children == nil:
		want = ErrIsDir
	case old.children == nil && m.children != nil:
		want = ErrNotDir
	case len(old.children) > 0:
		want = ErrNotEmpty
	}
	a, b := w.ino(path[:len(path)-1]), w.ino(toPath)
	defer w.tree.Forget(a, 1)
	defer w.tree.Forget(b, 1)
	if !w.expect("rename", w.tree.Rename(w.f.t.Context(), a, name, b, newName, flags), want) || old == m {
		return
	}
	count := func(d, child *thing, n int) {
		if child.children != nil {
			d.links += n
		}
	}
	delete(dir.children, name)
	count(dir, m, -1)
	if old != nil {
		count(to, old, -1)
		if flags == RenameExchange {
			dir.children[name] = old
			count(dir, old, 1)
		} else {
			old.links--
		}
	}
	to.children[newName] = m
	count(to, m, 1)
}

func (w *world) sync() {
	w.expect("sync", w.f.Sync(w.f.t.Context()), nil)
	w.saved = w.root.clone(map[*thing]*thing{})
}

func (w *world) snapshot() {
	name := fmt.Sprint("s", len(w.snapshots))
	_, err := w.f.TakeSnapshot(w.f.t.Context(), "w", name, false)
	w.expect("snapshot", err, nil)
	w.saved = w.root.clone(map[*thing]*thing{})
	w.snapshots[name] = w.saved.clone(map[*thing]*thing{})
}

func (w *world) reopen() {
	w.f.reopen()
	w.tree = w.f.live("w")
	w.compare()
}

// crash loses what wasn't synced: so sync, and do something more that may or
// may not survive.
func (w *world) crash() {
	w.sync()
	w.f.crash()
	w.tree = w.f.live("w")
	w.compare()
}

func (w *world) compare() {
	want, got := map[string]string{}, map[string]string{}
	w.root.list("", want)
	listTree(w.f.t, w.tree, RootIno, "", got)
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Fatalf("live tree (-want +got):\n%s", diff)
	}
	for name, m := range w.snapshots {
		tree, err := w.f.SnapshotTree(w.f.t.Context(), "w", name)
		w.expect("snapshot tree", err, nil)
		want, got := map[string]string{}, map[string]string{}
		m.list("", want)
		listTree(w.f.t, tree, RootIno, "", got)
		if diff := cmp.Diff(want, got); diff != "" {
			w.t.Fatalf("snapshot %s (-want +got):\n%s", name, diff)
		}
	}
	u := Usage{}
	seen := map[*thing]bool{}
	var walk func(*thing)
	walk = func(m *thing) {
		if seen[m] {
			return
		}
		seen[m] = true
		u.Inodes++
		u.Bytes += uint64(len(m.data))
		for _, c := range m.children {
			walk(c)
		}
	}
	walk(w.root)
	w.tree.mu.RLock()
	defer w.tree.mu.RUnlock()
	if w.tree.usage != u {
		w.t.Fatalf("usage is %+v, want %+v", w.tree.usage, u)
	}
	if n := len(w.tree.refs); n != 1 {
		w.t.Fatalf("%d references left, want the root's", n)
	}
}

func TestTreeIsLikeTheModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		f := newFixture(t)
		defer f.Close(t.Context())
		w := &world{t: rt, f: f, tree: f.archive("w"), snapshots: map[string]*thing{}}
		w.root = &thing{mode: ModeDir | 0o755, links: 2, xattrs: map[string]string{}, children: map[string]*thing{}}
		action := func(fn func()) func(*rapid.T) {
			return func(rt *rapid.T) { w.t = rt; fn() }
		}
		rt.Repeat(map[string]func(*rapid.T){
			"file":      action(func() { w.create(ModeFile) }),
			"directory": action(func() { w.create(ModeDir) }),
			"symlink":   action(func() { w.create(ModeSymlink) }),
			"fifo":      action(func() { w.create(ModeFIFO) }),
			"overwrite": action(w.overwrite),
			"truncate":  action(w.truncate),
			"punch":     action(w.punch),
			"copy":      action(w.copyRange),
			"attrs":     action(w.setAttributes),
			"link":      action(w.link),
			"remove":    action(w.remove),
			"rename":    action(w.rename),
			"rename2":   action(w.rename),
			"sync":      action(w.sync),
			"snapshot":  action(w.snapshot),
			"reopen":    action(w.reopen),
			"crash":     action(w.crash),
		})
		w.t = rt
		w.compare()
		rep, err := f.Check(t.Context(), CheckOptions{ReadData: true})
		if err != nil || len(rep.Damage) > 0 {
			rt.Fatalf("check: %+v, %v", rep, err)
		}
	})
}

package guest

import (
	"bytes"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"bkfs/hardware/softtoken"
)

// The user's day, by root and by somebody who needs fusermount3, with two tokens and a keyboard plugged in.
func TestMountAsRoot(t *testing.T)   { day(newPerson(t, 0)) }
func TestMountAsPerson(t *testing.T) { day(newPerson(t, 1000)) }

func day(p *person) {
	p.keyboard()
	mine, other := p.token("mine", softtoken.Options{}), p.token("other", softtoken.Options{})
	p.plug(other)
	node := p.plug(mine).Path
	p.refused(exitError, "several tokens.*bkfs token list", "init", "--fido2-device", "auto")
	p.bkfs("init", "--fido2-device", node)

	source, point := p.path("documents"), p.path("mnt")
	p.plant(source)
	p.do("mkdir", point)
	before := p.seen(mine).Assertion
	p.Cleanup(func() {
		if p.Failed() {
			logs, _ := filepath.Glob(p.path(".local/state/bkfs/log/*"))
			for _, l := range logs {
				text, _ := os.ReadFile(l)
				p.Logf("%s:\n%s", l, text)
			}
			_ = unix.Unmount(point, unix.MNT_DETACH) // or TempDir can't go
		}
	})
	p.bkfs("mount", point)
	p.do("cp", "-a", source, point)
	p.bkfs("umount", point)
	if entries, err := os.ReadDir(point); err != nil || len(entries) != 0 {
		p.Errorf("after the unmount: %q, %v", entries, err)
	}
	p.bkfs("mount", point)
	back := p.path("back") // what others mount, root can't look into
	p.do("cp", "-a", filepath.Join(point, "documents"), back)
	p.bkfs("umount", point)
	p.same(source, back)

	if n := p.seen(mine).Assertion - before; n != 2 {
		p.Errorf("two mounts used the token %d times", n)
	}
	if s := p.seen(other); s.Silent == 0 || s.Assertion+s.Blinks+s.MakeCredential != 0 {
		p.Errorf("the other token was not probed, or was disturbed: %+v", s)
	}
}

// plant makes a tree: a large file, small ones, an empty one, links.
func (p *person) plant(root string) {
	p.Helper()
	seed := rand.Uint64()
	p.Logf("seed %d", seed)
	random := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16), byte(seed >> 24)})
	write := func(name string, size int) {
		b := make([]byte, size)
		random.Read(b)
		must(p, os.MkdirAll(filepath.Dir(filepath.Join(root, name)), 0o755))
		must(p, os.WriteFile(filepath.Join(root, name), b, 0o640))
	}
	write("large", 3<<20+17)
	write("empty", 0)
	for i := range 30 {
		write(fmt.Sprintf("letters/%d/letter %d", i%3, i), 100*i+1)
	}
	must(p, os.Symlink("letters/0", filepath.Join(root, "first")))
	must(p, os.Link(filepath.Join(root, "large"), filepath.Join(root, "again")))
	must(p, filepath.WalkDir(root, func(path string, _ iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(p.uid), int(p.uid))
	}))
}

// same compares two trees: names, types, modes, times, contents.
func (p *person) same(want, got string) {
	p.Helper()
	wants, gots := p.tree(want), p.tree(got)
	if len(wants) != len(gots) {
		p.Errorf("%s has %d entries, %s has %d", want, len(wants), got, len(gots))
	}
	for name, w := range wants {
		if g, ok := gots[name]; !ok || w.meta != g.meta || !bytes.Equal(w.data, g.data) {
			p.Errorf("%s: there %t, %s with %d bytes, want %s with %d", name, ok, g.meta, len(g.data), w.meta, len(w.data))
		}
	}
}

type entry struct {
	meta string
	data []byte // of a file, or a link's target
}

func (p *person) tree(root string) map[string]entry {
	p.Helper()
	entries := map[string]entry{}
	must(p, filepath.WalkDir(root, func(path string, d iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		e := entry{meta: fmt.Sprint(info.Mode(), " ", info.ModTime().Unix())}
		switch {
		case info.Mode().IsRegular():
			e.data, err = os.ReadFile(path)
		case info.Mode()&os.ModeSymlink != 0:
			e.meta = info.Mode().String() // busybox's cp leaves a link's time
			var target string
			target, err = os.Readlink(path)
			e.data = []byte(target)
		}
		entries[path[len(root):]] = e
		return err
	}))
	return entries
}

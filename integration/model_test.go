package integration

import (
	"errors"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// Random file operations go to an archive and to a plain directory; every answer, and in the end every
// byte, must be the same: live, from each snapshot, and after a remount without the index.
// A failure prints its seed; -rapid.seed takes it back.
func TestModel(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount()
	var pairs []pair
	checks := 0
	rapid.Check(t, func(r *rapid.T) {
		name := fmt.Sprintf("archive%d", checks)
		checks++
		m := &model{live: pair{filepath.Join(point, name), u.path("plain", name)}}
		must(t, os.MkdirAll(m.live.plain, 0o755))
		must(t, os.Mkdir(m.live.mounted, 0o755))
		must(t, os.Chmod(m.live.mounted, 0o755))
		r.Repeat(m.actions())
		for _, p := range append(m.frozen, m.live) {
			p.compare(r)
		}
		pairs = append(append(pairs, m.frozen...), m.live)
	})
	if t.Failed() {
		return
	}
	u.umount(point)
	must(t, os.RemoveAll(u.path("repo/index")))
	u.mount()
	for _, p := range pairs {
		p.compare(t)
	}
	u.umount(point)
	u.bkfs("check", "--read-data")
}

// pair is one tree twice.
type pair struct{ mounted, plain string }

// both does the same to the two trees, and compares the errors and answers.
func (p pair) both(r *rapid.T, what string, do func(root string) (any, error)) {
	got, gotErr := do(p.mounted)
	want, wantErr := do(p.plain)
	if g, w := number(gotErr), number(wantErr); g != w {
		r.Fatalf("%s: got %v (%v), a plain directory says %v (%v)", what, g, gotErr, w, wantErr)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		r.Fatalf("%s (-plain +mounted):\n%s", what, diff)
	}
}

func number(err error) unix.Errno {
	var errno unix.Errno
	if err != nil && !errors.As(err, &errno) {
		return unix.EIO
	}
	return errno
}

func (p pair) compare(t interface {
	Helper()
	Fatalf(string, ...any)
}) {
	t.Helper()
	want, err := describe(p.plain)
	if err != nil {
		t.Fatalf("describe: %v", err)
	}
	got, err := describe(p.mounted)
	if err != nil {
		t.Fatalf("describe: %v", err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s differs (-plain +mounted):\n%s", p.mounted, diff)
	}
}

// ancient bounds the times the model sets itself; others are the clock's, and differ between the trees.
var ancient = time.Date(2001, 1, 1, 0, 0, 0, 0, time.UTC)

// describe reads a whole tree: for every path what lstat, readlink, read and getxattr say of it.
func describe(root string) (map[string]string, error) {
	tree := make(map[string]string)
	links := make(map[uint64]string)
	return tree, filepath.WalkDir(root, func(path string, e iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(root, path)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			return err
		}
		text := fmt.Sprintf("mode %o uid %d gid %d", st.Mode, st.Uid, st.Gid)
		if mtime := time.Unix(st.Mtim.Unix()); mtime.Before(ancient) {
			text += " mtime " + mtime.UTC().Format(time.RFC3339Nano)
		}
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFREG:
			first, ok := links[st.Ino]
			if !ok {
				first, links[st.Ino] = name, name
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" nlink %d as %s size %d hash %s", st.Nlink, first, st.Size, digest(data))
		case unix.S_IFLNK:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			text += " target " + target
		}
		attrs, err := xattr.LList(path)
		if err != nil {
			return err
		}
		slices.Sort(attrs)
		for _, a := range attrs {
			value, err := xattr.LGet(path, a)
			if err != nil {
				return err
			}
			text += fmt.Sprintf(" %s=%q", a, value)
		}
		tree[name] = text
		return nil
	})
}

// model is one random test: a tree twice, and its snapshots so far.
type model struct {
	live   pair
	frozen []pair
}

// A few names, so that operations meet each other.
var (
	paths   = rapid.SampledFrom([]string{"a", "b", "d", "d/a", "d/b", "d/e", "d/e/a", "e", "e/a", "e/d", "e/d/b", "a/x"})
	offsets = rapid.OneOf(rapid.Int64Range(0, 300), rapid.Int64Range(0, 3<<20), rapid.SampledFrom([]int64{4095, 4096, 65536, 1 << 20}))
	lengths = rapid.OneOf(rapid.IntRange(0, 300), rapid.IntRange(0, 400<<10), rapid.SampledFrom([]int{4096, 65536, 128 << 10, 1 << 20}))
	modes   = rapid.Uint32Range(0, 0o7777)
)

func (m *model) actions() map[string]func(*rapid.T) {
	on := func(what string, do func(r *rapid.T) (string, func(root string) (any, error))) func(*rapid.T) {
		return func(r *rapid.T) {
			detail, both := do(r)
			m.live.both(r, what+" "+detail, both)
		}
	}
	one := func(what string, do func(path string) error) func(*rapid.T) {
		return on(what, func(r *rapid.T) (string, func(string) (any, error)) {
			p := paths.Draw(r, "path")
			return p, func(root string) (any, error) { return nil, do(filepath.Join(root, p)) }
		})
	}
	two := func(what string, do func(from, to string) error) func(*rapid.T) {
		return on(what, func(r *rapid.T) (string, func(string) (any, error)) {
			from, to := paths.Draw(r, "from"), paths.Draw(r, "to")
			return from + " " + to, func(root string) (any, error) {
				return nil, do(filepath.Join(root, from), filepath.Join(root, to))
			}
		})
	}
	return map[string]func(*rapid.T){
		"mkdir":  one("mkdir", func(p string) error { return os.Mkdir(p, 0o755) }),
		"rmdir":  one("rmdir", unix.Rmdir),
		"unlink": one("unlink", unix.Unlink),
		"fifo":   one("mkfifo", func(p string) error { return unix.Mkfifo(p, 0o600) }),
		"link":   two("link", os.Link),
		"rename": two("rename", os.Rename),
		"symlink": two("symlink", func(from, to string) error {
			return os.Symlink(filepath.Base(from), to)
		}),
		"exchange": two("exchange", func(from, to string) error {
			return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
		}),
		"rename if free": two("rename if free", func(from, to string) error {
			return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
		}),
		"write": on("write", func(r *rapid.T) (string, func(string) (any, error)) {
			p, off, n := paths.Draw(r, "path"), offsets.Draw(r, "offset"), lengths.Draw(r, "length")
			flags := os.O_CREATE | os.O_WRONLY | rapid.SampledFrom([]int{0, os.O_TRUNC, os.O_APPEND, os.O_EXCL}).Draw(r, "flags")
			data := noise(rapid.Uint64Range(0, 5).Draw(r, "seed"), n)
			sync := rapid.Bool().Draw(r, "sync")
			return fmt.Sprintf("%s %d+%d %#x", p, off, n, flags), func(root string) (any, error) {
				return nil, write(filepath.Join(root, p), flags, off, data, sync)
			}
		}),
		"read": on("read", func(r *rapid.T) (string, func(string) (any, error)) {
			p, off, n := paths.Draw(r, "path"), offsets.Draw(r, "offset"), lengths.Draw(r, "length")
			return fmt.Sprintf("%s %d+%d", p, off, n), func(root string) (any, error) { return read(filepath.Join(root, p), off, n) }
		}),
		"truncate": on("truncate", func(r *rapid.T) (string, func(string) (any, error)) {
			p, size := paths.Draw(r, "path"), offsets.Draw(r, "size")
			return fmt.Sprintf("%s %d", p, size), func(root string) (any, error) { return nil, unix.Truncate(filepath.Join(root, p), size) }
		}),
		"punch": on("punch", func(r *rapid.T) (string, func(string) (any, error)) {
			p, off, n := paths.Draw(r, "path"), offsets.Draw(r, "offset"), int64(lengths.Draw(r, "length"))
			mode := rapid.SampledFrom([]uint32{0, unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE, unix.FALLOC_FL_ZERO_RANGE}).Draw(r, "mode")
			return fmt.Sprintf("%s %d+%d mode %d", p, off, n, mode), func(root string) (any, error) {
				return nil, allocate(filepath.Join(root, p), mode, off, n)
			}
		}),
		"copy range": on("copy range", func(r *rapid.T) (string, func(string) (any, error)) {
			from, to, n := paths.Draw(r, "from"), paths.Draw(r, "to"), lengths.Draw(r, "length")
			source, target := offsets.Draw(r, "source"), offsets.Draw(r, "target")
			return fmt.Sprintf("%s %d %s %d +%d", from, source, to, target, n), func(root string) (any, error) {
				return nil, copyRange(filepath.Join(root, from), source, filepath.Join(root, to), target, n)
			}
		}),
		"chmod": on("chmod", func(r *rapid.T) (string, func(string) (any, error)) {
			p, mode := paths.Draw(r, "path"), modes.Draw(r, "mode")
			return fmt.Sprintf("%s %o", p, mode), func(root string) (any, error) { return nil, unix.Chmod(filepath.Join(root, p), mode) }
		}),
		"chown": on("chown", func(r *rapid.T) (string, func(string) (any, error)) {
			p, uid, gid := paths.Draw(r, "path"), os.Getuid(), os.Getgid()
			if uid == 0 {
				uid, gid = rapid.IntRange(-1, 3).Draw(r, "uid"), rapid.IntRange(-1, 3).Draw(r, "gid")
			}
			return fmt.Sprintf("%s %d:%d", p, uid, gid), func(root string) (any, error) { return nil, unix.Lchown(filepath.Join(root, p), uid, gid) }
		}),
		"set time": on("set time", func(r *rapid.T) (string, func(string) (any, error)) {
			p, at := paths.Draw(r, "path"), unix.NsecToTimespec(rapid.Int64Range(-1<<58, 900e15).Draw(r, "time"))
			return p, func(root string) (any, error) {
				return nil, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(root, p), []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW)
			}
		}),
		"set attribute": on("set attribute", func(r *rapid.T) (string, func(string) (any, error)) {
			p, name := paths.Draw(r, "path"), rapid.SampledFrom([]string{"user.a", "user.b"}).Draw(r, "name")
			value, flags := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(r, "value"), rapid.IntRange(0, 2).Draw(r, "flags")
			return fmt.Sprintf("%s %s %d", p, name, flags), func(root string) (any, error) {
				return nil, unix.Lsetxattr(filepath.Join(root, p), name, value, flags)
			}
		}),
		"remove attribute": on("remove attribute", func(r *rapid.T) (string, func(string) (any, error)) {
			p, name := paths.Draw(r, "path"), rapid.SampledFrom([]string{"user.a", "user.b"}).Draw(r, "name")
			return p + " " + name, func(root string) (any, error) { return nil, unix.Lremovexattr(filepath.Join(root, p), name) }
		}),
		"snapshot": func(r *rapid.T) {
			if len(m.frozen) >= 3 {
				r.Skip("enough snapshots")
			}
			name := fmt.Sprintf("s%d", len(m.frozen))
			p := pair{m.live.mounted + "/.snapshots/" + name, m.live.plain + "." + name}
			if err := os.Mkdir(p.mounted, 0o755); err != nil {
				r.Fatalf("snapshot: %v", err)
			}
			if err := copyTree(m.live.plain, p.plain); err != nil {
				r.Fatalf("copy the plain tree: %v", err)
			}
			m.frozen = append(m.frozen, p)
		},
	}
}

func write(path string, flags int, off int64, data []byte, sync bool) error {
	f, err := os.OpenFile(path, flags|unix.O_NONBLOCK|unix.O_NOFOLLOW, 0o644)
	if err != nil {
		return err
	}
	if flags&os.O_APPEND != 0 {
		_, err = f.Write(data)
	} else {
		_, err = f.WriteAt(data, off)
	}
	if sync && err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

func read(path string, off int64, n int) (string, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	b := make([]byte, n)
	got, err := f.ReadAt(b, off)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return fmt.Sprintf("%d bytes, hash %s", got, digest(b[:got])), err
}

func allocate(path string, mode uint32, off, n int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Fallocate(int(f.Fd()), mode, off, n)
}

func copyRange(from string, source int64, to string, target int64, n int) error {
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer out.Close()
	for n > 0 {
		done, err := unix.CopyFileRange(int(in.Fd()), &source, int(out.Fd()), &target, n, 0)
		if err != nil || done == 0 {
			return err
		}
		n -= done
	}
	return nil
}

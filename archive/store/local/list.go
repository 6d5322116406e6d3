package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"bkfs/archive/store"
)

// List implements store.Store. Files that aren't objects by name or type are
// not shown.
func (s *Store) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	start := "."
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		start = prefix[:i]
		if err := store.CheckName(start); err != nil {
			return fmt.Errorf("list %q: %w", prefix, err)
		}
	}
	l := listing{s, prefix, after, fn}
	return l.walk(ctx, start)
}

type listing struct {
	*Store
	prefix, after string
	fn            func(store.Info) error
}

// walk lists below dir. One directory's entries are in memory at a time per
// level, no file is open while fn runs except the directories on the way.
func (l *listing) walk(ctx context.Context, dir string) error {
	d, err := l.root.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failure("list", dir, err)
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		return failure("list", dir, err)
	}
	for _, name := range l.wanted(dir, entries) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if below, ok := strings.CutSuffix(name, "/"); ok {
			if err := l.walk(ctx, below); err != nil {
				return err
			}
			continue
		}
		var st unix.Stat_t
		err := unix.Fstatat(int(d.Fd()), path.Base(name), &st, unix.AT_SYMLINK_NOFOLLOW)
		if err == unix.ENOENT {
			continue
		}
		if err != nil {
			return failure("list", name, err)
		}
		info := store.Info{Name: name, Size: st.Size, ModTime: time.Unix(st.Mtim.Unix())}
		if err := l.fn(info); err != nil {
			return err
		}
	}
	return nil
}

// wanted are the names of the entries that are, or may have below them, what is
// asked for. Directories end in a slash and are sorted with it, which puts all
// names of the tree in order.
func (l *listing) wanted(dir string, entries []fs.DirEntry) []string {
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		if store.CheckName(name) != nil {
			continue
		}
		switch {
		case e.IsDir():
			name += "/"
			if !strings.HasPrefix(name, l.prefix) && !strings.HasPrefix(l.prefix, name) {
				continue
			}
			if name < l.after && !strings.HasPrefix(l.after, name) {
				continue
			}
		case e.Type().IsRegular():
			if !strings.HasPrefix(name, l.prefix) || name <= l.after {
				continue
			}
		default:
			continue
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

type bench struct {
	settings
	loopback string
	table    *table
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// command runs something that isn't measured.
func command(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, args[0], args[1:]...)
	c.Stderr = os.Stderr
	return c.Run()
}

// timed runs a shell script with $1, $2, … and returns its seconds.
func timed(ctx context.Context, script string, args ...string) (float64, error) {
	c := exec.CommandContext(ctx, "sh", append([]string{"-ec", script, "sh"}, args...)...)
	c.Stderr = os.Stderr
	start := time.Now()
	err := c.Run()
	return time.Since(start).Seconds(), err
}

// settle writes out what earlier runs left, and, when cold is meant, forgets what was read: only root can.
func settle(ctx context.Context, cold bool) error {
	err := command(ctx, "sync")
	if err == nil && cold && os.Geteuid() == 0 {
		err = os.WriteFile("/proc/sys/vm/drop_caches", []byte("3\n"), 0)
	}
	return err
}

// turns runs every measurement once a run, in an order that rotates.
func (b *bench) turns(names []string, measure func(name string) error) error {
	for run := range b.runs {
		for i := range names {
			name := names[(i+run)%len(names)]
			fmt.Fprintf(os.Stderr, "run %d of %d: %s\n", run+1, b.runs, name)
			if err := measure(name); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

const tarScript = `tar -C "$1" -c . | wc -c >/dev/null`

// treeRows: a source tree goes in, comes out of a snapshot cold and warm, and goes in again.
func (b *bench) treeRows(ctx context.Context) (err error) {
	sides := b.sides(b.path("tree"))
	defer func() {
		for _, s := range sides {
			err = errors.Join(err, s.umount())
		}
	}()

	in, durable := samples{}, samples{}
	err = b.turns([]string{"bkfs", "loopback", "gocryptfs", "restic", "borg"}, func(name string) error {
		s := sides[name]
		if err := s.fresh(ctx); err != nil {
			return err
		}
		if s.backup == nil {
			if err := s.mount(ctx); err != nil {
				return err
			}
		}
		if _, err := timed(ctx, tarScript, b.tree); err != nil {
			return err
		}
		if err := settle(ctx, false); err != nil {
			return err
		}
		start := time.Now()
		var err error
		if s.backup == nil {
			err = s.do(ctx, "cp", "-a", b.tree, "MNT/tree")
		} else {
			err = s.do(ctx, append(s.backup, b.tree)...)
		}
		if err != nil {
			return err
		}
		in.add(name, time.Since(start).Seconds())
		if err := s.do(ctx, s.durable...); err != nil {
			return err
		}
		durable.add(name, time.Since(start).Seconds())
		if name == "bkfs" {
			if err := s.do(ctx, b.program, "snapshot", "create", "tree", "one"); err != nil {
				return err
			}
		}
		return s.umount()
	})
	if err != nil {
		return err
	}
	b.table.ratio("tree in: cp -a", in, "loopback", "s", 1.2)
	b.table.ratio("tree in: cp -a", in, "gocryptfs", "s", 0)
	b.table.ratio("tree in, durable: cp -a, sync", durable, "loopback", "s", 0)
	b.table.ratio("tree in, durable: against backup", durable, "restic", "s", 0)
	b.table.ratio("tree in, durable: against create", durable, "borg", "s", 0)
	return errors.Join(b.coldRow(ctx, sides), b.warmRow(ctx, sides))
}

func (b *bench) coldRow(ctx context.Context, sides map[string]*side) error {
	cold := samples{}
	from := map[string]string{
		"bkfs": sides["bkfs"].mnt + "/snapshots/tree/one", "restic": sides["restic"].mnt + "/snapshots/latest" + b.tree,
		"loopback": sides["loopback"].mnt + "/tree",
	}
	err := b.turns([]string{"bkfs", "restic", "loopback"}, func(name string) error {
		s := sides[name]
		if err := errors.Join(settle(ctx, true), s.mount(ctx)); err != nil {
			return err
		}
		seconds, err := timed(ctx, tarScript, from[name])
		cold.add(name, seconds)
		return errors.Join(err, s.umount())
	})
	b.table.ratio("snapshot out, cold: tar c", cold, "restic", "s", 0.5)
	b.table.ratio("snapshot out, cold: tar c", cold, "loopback", "s", 0)
	return err
}

func (b *bench) warmRow(ctx context.Context, sides map[string]*side) error {
	warm := samples{}
	from := map[string]string{"bkfs": sides["bkfs"].mnt + "/snapshots/tree/one", "loopback": sides["loopback"].mnt + "/tree"}
	for name, dir := range from {
		if err := sides[name].mount(ctx); err != nil {
			return err
		}
		if _, err := timed(ctx, tarScript, dir); err != nil {
			return err
		}
	}
	err := b.turns([]string{"bkfs", "loopback"}, func(name string) error {
		seconds, err := timed(ctx, tarScript, from[name])
		warm.add(name, seconds)
		return err
	})
	b.table.ratio("snapshot out, warm: tar c", warm, "loopback", "s", 1)
	return errors.Join(err, sides["bkfs"].umount(), sides["loopback"].umount())
}

// sizeRows: what the same tree takes in each store, and what a second copy adds.
func (b *bench) sizeRows(ctx context.Context) (err error) {
	sides := b.sides(b.path("size"))
	bkfs := sides["bkfs"]
	defer func() { err = errors.Join(err, bkfs.umount()) }()
	size := samples{}
	for _, name := range []string{"bkfs", "restic", "borg"} {
		s := sides[name]
		if err := s.fresh(ctx); err != nil {
			return err
		}
		if name == "bkfs" {
			err = errors.Join(s.mount(ctx), s.do(ctx, "cp", "-a", b.tree, "MNT/tree"), s.umount())
		} else {
			err = s.do(ctx, append(s.backup, b.tree)...)
		}
		if err != nil {
			return err
		}
		n, err := s.size()
		if err != nil {
			return err
		}
		size.add(name, n)
	}
	b.table.ratio("tree stored", size, "restic", "MiB", 0.9)
	b.table.ratio("tree stored", size, "borg", "MiB", 0)

	if err := errors.Join(bkfs.mount(ctx), bkfs.do(ctx, "cp", "-a", b.tree, "MNT/again"), bkfs.umount()); err != nil {
		return err
	}
	n, err := bkfs.size()
	b.table.share("second copy of the tree adds", n-size["bkfs"][0], size["bkfs"][0], "MiB", 0.01)
	return err
}

// fileRows: one large file, of noise and of text, in and (cold) out.
func (b *bench) fileRows(ctx context.Context) (err error) {
	sides := b.sides(b.path("file"))
	defer func() {
		for _, s := range sides {
			err = errors.Join(err, s.umount())
		}
	}()
	for _, kind := range []string{"random", "text"} {
		in, durable, out := samples{}, samples{}, samples{}
		err := b.turns([]string{"bkfs", "gocryptfs", "loopback"}, func(name string) error {
			s := sides[name]
			if err := errors.Join(s.fresh(ctx), s.mount(ctx), s.do(ctx, "mkdir", "MNT/a")); err != nil {
				return err
			}
			if _, err := timed(ctx, `head -c "$2" "$1" | wc -c >/dev/null`, b.path(kind), b.fileSize()); err != nil {
				return err
			}
			if err := settle(ctx, false); err != nil {
				return err
			}
			start := time.Now()
			if _, err := timed(ctx, `head -c "$3" "$1" | dd of="$2" bs=1M iflag=fullblock status=none`, b.path(kind), s.mnt+"/a/file", b.fileSize()); err != nil {
				return err
			}
			in.add(name, time.Since(start).Seconds())
			if err := s.do(ctx, "sync", "MNT/a/file"); err != nil {
				return err
			}
			durable.add(name, time.Since(start).Seconds())
			if err := errors.Join(s.umount(), settle(ctx, true), s.mount(ctx)); err != nil {
				return err
			}
			seconds, err := timed(ctx, `cat "$1" | wc -c >/dev/null`, s.mnt+"/a/file")
			out.add(name, seconds)
			return errors.Join(err, s.umount())
		})
		if err != nil {
			return err
		}
		b.table.ratio("one file of "+kind+" in", in, "gocryptfs", "s", 1)
		b.table.ratio("one file of "+kind+" in, fsynced", durable, "gocryptfs", "s", 0)
		b.table.ratio("one file of "+kind+" out, cold", out, "gocryptfs", "s", 1)
		b.table.ratio("one file of "+kind+" in", in, "loopback", "s", 0)
		b.table.ratio("one file of "+kind+" out, cold", out, "loopback", "s", 0)
	}
	return nil
}

func (b *bench) fileSize() string { return fmt.Sprint(b.fileMiB) + "M" }

// streamRows: the daemon's peak memory while a file much larger than it goes in and out.
func (b *bench) streamRows(ctx context.Context) (err error) {
	s := b.sides(b.path("stream"))["bkfs"]
	defer func() { err = errors.Join(err, s.umount()) }()
	if err := errors.Join(s.fresh(ctx), s.mount(ctx), s.do(ctx, "mkdir", "MNT/a")); err != nil {
		return err
	}
	for _, way := range []struct{ name, from, to string }{
		{"in", b.path("random"), "MNT/a/file"}, {"out", "MNT/a/file", b.path("stream/copy")},
	} {
		if err := s.do(ctx, "cp", way.from, way.to); err != nil {
			return err
		}
		n, err := s.peak(ctx)
		if err != nil {
			return err
		}
		b.table.limit(fmt.Sprintf("peak memory, cp of %d MiB %s", b.streamMiB, way.name), n, "MiB", 300)
		if way.name == "in" {
			if err := errors.Join(s.umount(), s.mount(ctx)); err != nil {
				return err
			}
		}
	}
	return errors.Join(s.do(ctx, "cmp", b.path("random"), b.path("stream/copy")), os.Remove(b.path("stream/copy")))
}

// Command bench measures bkfs beside go-fuse's loopback example, gocryptfs, restic and borg, and prints one row a
// target. Runs of the two sides take turns, so that a change of the machine's speed hits both; a ratio is taken
// run by run, and the median of the ratios is what counts.
//
// The environment sets how long it takes:
//
//	BENCH_RUNS        runs of each row (3)
//	BENCH_TREE        a tree to copy (Debian's linux-source, unpacked below BENCH_DIR)
//	BENCH_FILE_MIB    size of the one large file (2048)
//	BENCH_STREAM_MIB  size of the file the memory is measured with (4096)
//	BENCH_ROWS        a regular expression: which of tree, size, file, stream (all)
//	BENCH_DIR         where stores and mounts go (/var/tmp/bkfs-bench)
//	BENCH_TSV         where the table goes as tab-separated values (BENCH_DIR/result.tsv)
//	BENCH_BKFS        the program (bin/bkfs)
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
)

type settings struct {
	runs, fileMiB, streamMiB int
	dir, tree, tsv, program  string
	rows                     *regexp.Regexp
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	s, err := fromEnvironment()
	if err != nil {
		return err
	}
	b := &bench{settings: s, table: &table{}}
	if err := b.prepare(ctx); err != nil {
		return err
	}
	for _, row := range []struct {
		name    string
		measure func(context.Context) error
	}{{"tree", b.treeRows}, {"size", b.sizeRows}, {"file", b.fileRows}, {"stream", b.streamRows}} {
		if !s.rows.MatchString(row.name) {
			continue
		}
		if err := row.measure(ctx); err != nil {
			b.table.print(os.Stdout) // what there is
			return fmt.Errorf("%s: %w", row.name, err)
		}
	}
	fmt.Printf("tree %s, files of %d MiB, %d runs each\n\n", b.tree, b.fileMiB, b.runs)
	b.table.print(os.Stdout)
	if err := os.WriteFile(s.tsv, b.table.tsv(), 0o644); err != nil {
		return err
	}
	fmt.Printf("\nAs tab-separated values: %s\n", s.tsv)
	return nil
}

func fromEnvironment() (settings, error) {
	text := func(name, otherwise string) string {
		if v := os.Getenv(name); v != "" {
			return v
		}
		return otherwise
	}
	number := func(name string, otherwise int) int {
		if n, err := strconv.Atoi(os.Getenv(name)); err == nil && n > 0 {
			return n
		}
		return otherwise
	}
	rows, err := regexp.Compile(text("BENCH_ROWS", "."))
	if err != nil {
		return settings{}, fmt.Errorf("BENCH_ROWS: %w", err)
	}
	program, err := filepath.Abs(text("BENCH_BKFS", "bin/bkfs"))
	if err != nil {
		return settings{}, err
	}
	dir := text("BENCH_DIR", "/var/tmp/bkfs-bench")
	file := number("BENCH_FILE_MIB", 2048)
	return settings{
		runs: number("BENCH_RUNS", 3), fileMiB: file, streamMiB: max(file, number("BENCH_STREAM_MIB", 4096)),
		dir: dir, tree: os.Getenv("BENCH_TREE"), tsv: text("BENCH_TSV", filepath.Join(dir, "result.tsv")),
		program: program, rows: rows,
	}, nil
}

// prepare unpacks the tree, builds the loopback example and makes the large files.
func (b *bench) prepare(ctx context.Context) error {
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		return err
	}
	if b.tree == "" {
		b.tree = filepath.Join(b.dir, "source")
		if _, err := os.Stat(b.tree); err != nil {
			archives, _ := filepath.Glob("/usr/src/linux-source-*.tar.xz")
			if len(archives) == 0 {
				return fmt.Errorf("no /usr/src/linux-source-*.tar.xz: `make deps-bench`, or set BENCH_TREE")
			}
			script := `mkdir "$1.part" && tar -C "$1.part" --strip-components=1 -xf "$2" && mv "$1.part" "$1"`
			if err := command(ctx, "sh", "-c", script, "sh", b.tree, archives[len(archives)-1]); err != nil {
				return err
			}
		}
	}
	b.loopback = filepath.Join(b.dir, "loopback")
	build := exec.CommandContext(ctx, "go", "build", "-o", b.loopback, "github.com/hanwen/go-fuse/v2/example/loopback")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return fmt.Errorf("build the loopback example: %w", err)
	}
	const files = `head -c "$1" /dev/urandom >"$2/random"; tar -C "$3" -c . 2>/dev/null | head -c "$1" >"$2/text"`
	return command(ctx, "sh", "-c", files, "sh", fmt.Sprint(b.streamMiB)+"M", b.dir, b.tree)
}

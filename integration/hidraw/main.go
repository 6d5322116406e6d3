package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// guestPackage holds the tests that run in the guest.
const guestPackage = "bkfs/integration/hidraw/guest"

func main() {
	pattern := flag.String("run", "", "run only the guest's tests that match `REGEXP`")
	kernel := flag.String("kernel", ".tools/hidraw", "`DIRECTORY` with vmlinuz and the modules, as integration/hidraw/kernel makes it")
	limit := flag.Duration("timeout", 6*time.Minute, "end a guest that takes longer")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx, *kernel, *pattern, *limit); err != nil {
		fmt.Fprintf(os.Stderr, "FAIL: test-hidraw: %v\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, kernel, pattern string, limit time.Duration) error {
	began := time.Now()
	work, err := os.MkdirTemp("", "bkfs-hidraw-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	bkfs, tests := os.Getenv("BKFS_BINARY"), filepath.Join(work, "guest.test")
	if bkfs == "" {
		bkfs = filepath.Join(work, "bkfs")
		if err := build(ctx, "build", "-trimpath", "-o", bkfs, "bkfs/cmd/bkfs"); err != nil {
			return err
		}
	}
	if err := build(ctx, "test", "-c", "-trimpath", "-o", tests, guestPackage); err != nil {
		return err
	}
	names, err := list(ctx, tests, pattern)
	if err != nil {
		return err
	}
	initrd := filepath.Join(work, "initrd")
	if err := makeInitrd(ctx, initrd, filepath.Join(work, "root"), contents{kernel, bkfs, tests}); err != nil {
		return fmt.Errorf("make the initrd: %w", err)
	}
	fmt.Printf("hidraw: built in %v; booting\n", time.Since(began).Round(time.Second))

	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the guest took more than %v", limit))
	defer cancel()
	log := filepath.Join(work, "kernel.log")
	if err := boot(ctx, filepath.Join(kernel, "vmlinuz"), initrd, log, pattern, names); err != nil {
		messages, _ := os.ReadFile(log)
		return fmt.Errorf("%w\nthe guest's kernel said:\n%s", err, messages)
	}
	fmt.Printf("ok: %d tests in the guest, %v in all\n", len(names), time.Since(began).Round(time.Second))
	return nil
}

// build runs go. The tests are made without cgo: a static program needs no libraries in the guest.
func build(ctx context.Context, args ...string) error {
	c := exec.CommandContext(ctx, "go", args...)
	if args[0] == "test" {
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
	}
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// list names the tests that have to pass.
func list(ctx context.Context, tests, pattern string) ([]string, error) {
	if pattern == "" {
		pattern = "."
	}
	out, err := exec.CommandContext(ctx, tests, "-test.list", pattern).Output()
	if err != nil {
		return nil, fmt.Errorf("list the guest's tests: %w", err)
	}
	var names []string
	for s := bufio.NewScanner(bytes.NewReader(out)); s.Scan(); {
		if strings.HasPrefix(s.Text(), "Test") {
			names = append(names, s.Text())
		}
	}
	if len(names) == 0 {
		return nil, errors.New("no test matches: nothing would be tested")
	}
	return names, nil
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const secret = "a passphrase for measuring"

// side is one program with a store and a mountpoint of its own.
type side struct {
	name            string
	dir, store, mnt string

	initialise []string // makes the store; empty: a plain directory is one
	mounting   []string
	foreground bool     // mounting keeps running
	unmounting []string // empty: fusermount3
	backup     []string // fills the store without a mount; the tree's path follows
	durable    []string // returns when what was written is on disk
	daemon     *exec.Cmd
}

// sides returns all programs, stores below dir.
func (b *bench) sides(dir string) map[string]*side {
	bkfs := b.program
	sides := map[string]*side{
		"bkfs": {
			initialise: []string{bkfs, "init"}, mounting: []string{bkfs, "mount", "MNT"},
			unmounting: []string{bkfs, "umount", "MNT"}, durable: []string{bkfs, "sync"},
		},
		"loopback": {
			mounting: []string{b.loopback, "-q", "MNT", "STORE"}, foreground: true, durable: []string{"sync", "-f", "STORE"},
		},
		"gocryptfs": {
			initialise: []string{"gocryptfs", "-q", "-init", "-extpass", "echo " + secret, "STORE"},
			mounting:   []string{"gocryptfs", "-q", "-extpass", "echo " + secret, "STORE", "MNT"}, durable: []string{"sync", "-f", "STORE"},
		},
		"restic": {
			initialise: []string{"restic", "-q", "init"}, backup: []string{"restic", "-q", "backup"},
			mounting: []string{"restic", "-q", "mount", "MNT"}, foreground: true, durable: []string{"sync", "-f", "STORE"},
		},
		"borg": {
			initialise: []string{"borg", "init", "-e", "repokey-blake2"}, backup: []string{"borg", "create", "::one"},
			durable: []string{"sync", "-f", "STORE"},
		},
	}
	for name, s := range sides {
		s.name, s.dir = name, filepath.Join(dir, name)
		s.store, s.mnt = filepath.Join(s.dir, "store"), filepath.Join(s.dir, "mnt")
	}
	return sides
}

// fresh replaces the store by an empty one.
func (s *side) fresh(ctx context.Context) error {
	if err := os.RemoveAll(s.dir); err != nil {
		return err
	}
	for _, d := range []string{s.mnt, filepath.Join(s.dir, "run"), s.store} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return err
		}
	}
	if len(s.initialise) == 0 {
		return nil
	}
	return s.do(ctx, s.initialise...)
}

// do runs one of the side's commands; STORE and MNT stand for its directories.
func (s *side) do(ctx context.Context, args ...string) error {
	c := s.command(ctx, args...)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out.Bytes())
	}
	return nil
}

func (s *side) command(ctx context.Context, args ...string) *exec.Cmd {
	words := make([]string, len(args))
	for i, a := range args {
		words[i] = strings.NewReplacer("STORE", s.store, "MNT", s.mnt).Replace(a)
	}
	c := exec.CommandContext(ctx, words[0], words[1:]...)
	c.Env = append(os.Environ(), "HOME="+s.dir, "XDG_RUNTIME_DIR="+s.dir+"/run", "XDG_CACHE_HOME="+s.dir+"/cache",
		"XDG_STATE_HOME="+s.dir+"/state", "BKFS_REPOSITORY="+s.store, "BKFS_FIDO2_DEVICE=none",
		"BKFS_PASSPHRASE="+secret, "BKFS_NEW_PASSPHRASE="+secret, "RESTIC_REPOSITORY="+s.store, "RESTIC_PASSWORD="+secret,
		"BORG_REPO="+s.store, "BORG_PASSPHRASE="+secret)
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	return c
}

func (s *side) mount(ctx context.Context) error {
	if !s.foreground {
		return s.do(ctx, s.mounting...)
	}
	s.daemon = s.command(context.WithoutCancel(ctx), s.mounting...)
	if err := s.daemon.Start(); err != nil {
		return err
	}
	return s.await(true)
}

// umount returns when the mount and its daemon are gone. It also cleans up after an interrupt.
func (s *side) umount() error {
	if !mounted(s.mnt) {
		return nil
	}
	args := s.unmounting
	if len(args) == 0 {
		args = []string{"fusermount3", "-u", "MNT"}
	}
	if err := s.do(context.Background(), args...); err != nil {
		return errors.Join(err, unix.Unmount(s.mnt, unix.MNT_DETACH))
	}
	if s.daemon != nil {
		_ = s.daemon.Wait() // only that it ended counts
		s.daemon = nil
	}
	return s.await(false)
}

// await waits for the mount to come or go.
func (s *side) await(want bool) error {
	info, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	defer info.Close()
	for deadline := time.Now().Add(time.Minute); mounted(s.mnt) != want; {
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: mounted is still %v", s.name, !want)
		}
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(info.Fd()), Events: unix.POLLPRI}}, 100)
	}
	return nil
}

func mounted(dir string) bool {
	info, _ := os.ReadFile("/proc/self/mountinfo")
	return bytes.Contains(info, []byte(" "+dir+" "))
}

// peak is the daemon's largest resident size so far, in MiB.
func (s *side) peak(ctx context.Context) (float64, error) {
	out, err := s.command(ctx, s.mounting[0], "status", "--json").Output()
	if err != nil {
		return 0, fmt.Errorf("status: %w", err)
	}
	pid := 0
	if err := findPID(out, &pid); err != nil {
		return 0, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib float64
	_, err = fmt.Sscan(after, &kib)
	return kib / 1024, err
}

func findPID(out []byte, pid *int) error {
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		token, err := decoder.Token()
		if err != nil {
			return fmt.Errorf("no pid in the status: %w", err)
		}
		if token == "pid" {
			return decoder.Decode(pid)
		}
	}
}

// size is what the store takes, without bkfs's index: a cache, as restic's and borg's are, which lie elsewhere.
func (s *side) size() (float64, error) {
	var total int64
	err := filepath.Walk(s.store, func(path string, info os.FileInfo, err error) error {
		if err == nil && s.name == "bkfs" && path == filepath.Join(s.store, "index") {
			return filepath.SkipDir
		}
		if err == nil && info.Mode().IsRegular() {
			total += info.Size()
		}
		return err
	})
	return float64(total) / (1 << 20), err
}

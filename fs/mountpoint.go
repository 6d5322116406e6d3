package fs

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// What CheckMountpoint refuses, for callers that give different hints.
var (
	ErrNoMountpoint       = errors.New("mountpoint doesn't exist")
	ErrMountpointNotDir   = errors.New("mountpoint isn't a directory")
	ErrMountpointNotEmpty = errors.New("mountpoint isn't empty")
	ErrMounted            = errors.New("something is mounted there already")
)

// mountType is the file system type of our mounts.
const mountType = "fuse.bkfs"

// CheckMountpoint returns the real path of a directory that can be mounted on.
// What an earlier bkfs left there when it died is unmounted.
func CheckMountpoint(dir string) (string, error) {
	path, err := realPath(dir)
	if err != nil {
		return "", err
	}
	mounts, err := mountsAt(path)
	if err != nil {
		return "", err
	}
	// A new mount stacks on a dead one, so there may be several.
	for i := len(mounts) - 1; i >= 0; i-- {
		if !isDead(path) {
			return "", fmt.Errorf("%s: %w", dir, ErrMounted)
		}
		if mounts[i].fstype != mountType {
			return "", fmt.Errorf("%s: %w, and doesn't answer (%s)", dir, ErrMounted, mounts[i].fstype)
		}
		if err := Detach(path); err != nil {
			return "", err
		}
	}
	fi, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("mountpoint: %w", err)
	}
	if !fi.IsDir() {
		return "", fmt.Errorf("%s: %w", dir, ErrMountpointNotDir)
	}
	d, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("mountpoint: %w", err)
	}
	defer d.Close()
	switch _, err := d.Readdirnames(1); {
	case err == nil:
		return "", fmt.Errorf("%s: %w", dir, ErrMountpointNotEmpty)
	case !errors.Is(err, io.EOF):
		return "", fmt.Errorf("mountpoint: %w", err)
	}
	return path, nil
}

// realPath resolves symbolic links, without a look at a dead mount itself.
func realPath(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("mountpoint: %w", err)
	}
	path, err := filepath.EvalSymlinks(abs)
	switch {
	case err == nil:
		return path, nil
	case errors.Is(err, unix.ENOTCONN):
		parent, err := filepath.EvalSymlinks(filepath.Dir(abs))
		if err != nil {
			return "", fmt.Errorf("mountpoint: %w", err)
		}
		return filepath.Join(parent, filepath.Base(abs)), nil
	case errors.Is(err, os.ErrNotExist):
		return "", fmt.Errorf("%s: %w", dir, ErrNoMountpoint)
	case errors.Is(err, unix.ENOTDIR):
		return "", fmt.Errorf("%s: %w", dir, ErrMountpointNotDir)
	}
	return "", fmt.Errorf("mountpoint: %w", err)
}

// isDead tells whether the server of the mount at path is gone. stat(2) may be
// answered from the kernel's attribute cache, statfs(2) never is.
func isDead(path string) bool {
	err := unix.Statfs(path, &unix.Statfs_t{})
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}

// Detach takes a mount away from path at once (umount -l): programs keep the
// files that they have open, and the server ends when they are closed.
func Detach(path string) error {
	err := unix.Unmount(path, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW)
	if err == nil {
		return nil
	}
	if !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("detach %s: %w", path, err)
	}
	bin, err := exec.LookPath("fusermount3")
	if err != nil {
		return fmt.Errorf("detach %s: %w", path, err)
	}
	if out, err := exec.Command(bin, "-u", "-z", "--", path).CombinedOutput(); err != nil {
		return fmt.Errorf("detach %s: %w: %s", path, err, strings.TrimSpace(string(out)))
	}
	return nil
}

// A mountEntry is one line of /proc/self/mountinfo.
type mountEntry struct {
	path   string
	device string // major:minor
	fstype string
	source string
}

// mountsAt returns what is mounted at a real path, the topmost last.
func mountsAt(path string) ([]mountEntry, error) {
	r, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	defer r.Close()
	var at []mountEntry
	s := bufio.NewScanner(r)
	for s.Scan() {
		if m, ok := parseMount(s.Text()); ok && m.path == path {
			at = append(at, m)
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("list mounts: %w", err)
	}
	return at, nil
}

// parseMount parses a line of mountinfo (proc_pid_mountinfo(5)):
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
func parseMount(line string) (mountEntry, bool) {
	before, after, ok := strings.Cut(line, " - ")
	left, right := strings.Fields(before), strings.Fields(after)
	if !ok || len(left) < 6 || len(right) < 2 {
		return mountEntry{}, false
	}
	return mountEntry{
		path:   unescapeMount(left[4]),
		device: left[2],
		fstype: unescapeMount(right[0]),
		source: unescapeMount(right[1]),
	}, true
}

// unescapeMount undoes the kernel's \ooo for space, tab, newline and backslash.
func unescapeMount(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"bkfs/fs"
)

// checkMountpoint refuses what must not be mounted over, before anybody touches
// a token, and returns the mountpoint as the kernel will know it: absolute,
// without links.
func checkMountpoint(path, repository string) (string, error) {
	resolved := resolve(path)
	store := resolve(repository)
	switch {
	case within(resolved, store):
		return "", hint(fmt.Errorf("the mountpoint %s is inside the repository", shown(path)), "name a directory elsewhere")
	case within(store, resolved):
		return "", hint(fmt.Errorf("the repository is inside the mountpoint %s", shown(path)), "a mount would hide it; name a directory elsewhere")
	}
	resolved, err := fs.CheckMountpoint(path)
	switch {
	case errors.Is(err, fs.ErrNoMountpoint):
		return "", hint(err, "`mkdir %s` first", path)
	case errors.Is(err, fs.ErrMountpointNotEmpty):
		return "", hint(err, "a mount would hide what is in it; name an empty directory")
	case errors.Is(err, fs.ErrMountpointNotDir), errors.Is(err, fs.ErrMounted):
		return "", hint(err, "name an empty directory")
	}
	return resolved, err
}

// resolve makes a path absolute and free of links, also when it ends in a mount
// whose daemon has died.
func resolve(path string) string {
	abs, err := filepath.Abs(path)
	if err != nil {
		return path
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real
	}
	if parent, err := filepath.EvalSymlinks(filepath.Dir(abs)); err == nil {
		return filepath.Join(parent, filepath.Base(abs))
	}
	return abs
}

// within tells whether path is dir or below it.
func within(path, dir string) bool {
	rel, err := filepath.Rel(dir, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}

// isMounted tells whether a bkfs mount is at a resolved path, and whether its
// daemon is gone.
func isMounted(path string) (mounted, dead bool) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return false, false
	}
	defer f.Close()
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for s := bufio.NewScanner(f); s.Scan(); {
		fields := strings.Fields(s.Text())
		if len(fields) > 4 && unescape.Replace(fields[4]) == path && strings.Contains(s.Text(), " - fuse.bkfs ") {
			mounted = true
		}
	}
	if mounted {
		// Attributes may come from the kernel's cache; this doesn't.
		err := unix.Statfs(path, &unix.Statfs_t{})
		dead = errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
	}
	return mounted, dead
}

package daemon

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"bkfs/archive/seal"
)

const socketSuffix = ".sock"

// RuntimeDirs lists where control sockets may be, the preferred one first.
// Clients look in all of them: a job started by cron has no XDG_RUNTIME_DIR
// while the shell that mounted had one.
func RuntimeDirs(getenv func(string) string) []string {
	var dirs []string
	if d := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(d) {
		dirs = append(dirs, filepath.Join(d, "bkfs"))
	}
	if os.Geteuid() == 0 {
		dirs = append(dirs, "/run/bkfs")
	} else {
		dirs = append(dirs, fmt.Sprintf("/run/user/%d/bkfs", os.Geteuid()))
	}
	dirs = append(dirs, filepath.Join(StateDir(getenv), "run"))
	return unique(dirs)
}

// StateDir is where this user's bkfs keeps what outlives a reboot: logs, and
// the last seen generation of each repository.
func StateDir(getenv func(string) string) string {
	if d := getenv("XDG_STATE_HOME"); filepath.IsAbs(d) {
		return filepath.Join(d, "bkfs")
	}
	home := getenv("HOME")
	if home == "" {
		home = "/"
	}
	return filepath.Join(home, ".local", "state", "bkfs")
}

func unique(in []string) []string {
	seen := map[string]bool{}
	var out []string
	for _, s := range in {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return out
}

// socketName is the repository id, then a hash of which directory this copy of
// the repository is in, so that a copied repository isn't taken for its
// original. Readers beside a writer have their process id too.
func socketName(id seal.RepositoryID, dir string, readOnly bool) (string, error) {
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err != nil {
		return "", fmt.Errorf("look at %s: %w", dir, err)
	}
	place := binary.BigEndian.AppendUint64(nil, st.Dev)
	place = binary.BigEndian.AppendUint64(place, st.Ino)
	sum := sha256.Sum256(place)
	name := id.String() + "-" + hex.EncodeToString(sum[:4])
	if readOnly {
		name += fmt.Sprintf("-ro-%d", os.Getpid())
	}
	return name + socketSuffix, nil
}

// listen makes the socket in the first directory that lets itself be made,
// mode 0700. A socket left by a daemon that died is replaced; one that answers
// is not.
func listen(dirs []string, name string) (l *net.UnixListener, path string, err error) {
	var firstErr error
	for _, dir := range dirs {
		l, err := listenIn(dir, name)
		if err == nil {
			return l, filepath.Join(dir, name), nil
		}
		if firstErr == nil {
			firstErr = err
		}
	}
	return nil, "", fmt.Errorf("make the control socket: %w", firstErr)
}

func listenIn(dir, name string) (*net.UnixListener, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := private(dir); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, name)
	if c, err := dialPath(path); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s: another daemon answers there", path)
	}
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	var l *net.UnixListener
	err := withShortPath(path, func(short string) (err error) {
		l, err = net.ListenUnix("unix", &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the server removes it by its real path
	return l, os.Chmod(path, 0o600)
}

// private refuses a directory that others could put a socket into.
func private(dir string) error {
	var st syscall.Stat_t
	if err := syscall.Lstat(dir, &st); err != nil {
		return err
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR || int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return fmt.Errorf("%s isn't a directory that only you can enter", dir)
	}
	return nil
}

func dialPath(path string) (*net.UnixConn, error) {
	var c *net.UnixConn
	err := withShortPath(path, func(short string) (err error) {
		c, err = net.DialUnix("unix", nil, &net.UnixAddr{Name: short, Net: "unix"})
		return err
	})
	return c, err
}

// withShortPath gives fn a path that fits into sockaddr_un (108 bytes) even
// when the directory's doesn't.
func withShortPath(path string, fn func(string) error) error {
	if len(path) < 100 {
		return fn(path)
	}
	fd, err := unix.Open(filepath.Dir(path), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", filepath.Dir(path), err)
	}
	defer unix.Close(fd)
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", fd, filepath.Base(path)))
}

// sockets lists the sockets in dirs that may belong to bkfs daemons.
func sockets(dirs []string) []string {
	var out []string
	for _, dir := range dirs {
		if private(dir) != nil {
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, e := range entries {
			if strings.HasSuffix(e.Name(), socketSuffix) && e.Type()&os.ModeSocket != 0 {
				out = append(out, filepath.Join(dir, e.Name()))
			}
		}
	}
	return out
}

// sameUser refuses a peer that runs as somebody else. Root may talk to
// anybody's daemon: it could read its memory as well.
func sameUser(c *net.UnixConn) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var credErr error
	if err := raw.Control(func(fd uintptr) {
		cred, credErr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if credErr != nil {
		return credErr
	}
	if int(cred.Uid) != os.Geteuid() && cred.Uid != 0 {
		return fmt.Errorf("process %d runs as user %d, this one as %d", cred.Pid, cred.Uid, os.Geteuid())
	}
	return nil
}

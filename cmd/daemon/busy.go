package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// User is a process that keeps a mount busy.
type User struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	Path string `json:"path"` // what it holds
}

// BusyError says who keeps a mountpoint from being unmounted, as far as this
// user may know.
type BusyError struct {
	Mountpoint string
	Users      []User
	Err        error
}

func (e *BusyError) Error() string {
	s := fmt.Sprintf("%s is in use", e.Mountpoint)
	var names []string
	for _, u := range e.Users {
		names = append(names, fmt.Sprintf("%s (process %d: %q)", u.Name, u.PID, u.Path))
	}
	if len(names) > 0 {
		s += " by " + strings.Join(names, ", ")
	}
	return s
}

func (e *BusyError) Unwrap() error { return e.Err }

// maxUsers bounds the list for a message.
const maxUsers = 5

// usersOf scans /proc for processes with their directory or a file below path.
// It reads links only and never touches the mount, which might hang.
func usersOf(path string, except int) []User {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var users []User
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() || pid == except || len(users) == maxUsers {
			continue
		}
		if held, ok := holds(filepath.Join("/proc", e.Name()), path); ok {
			comm, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "comm"))
			users = append(users, User{pid, strings.TrimSpace(string(comm)), held})
		}
	}
	return users
}

func holds(proc, path string) (string, bool) {
	links := []string{filepath.Join(proc, "cwd"), filepath.Join(proc, "root"), filepath.Join(proc, "exe")}
	fds, _ := os.ReadDir(filepath.Join(proc, "fd"))
	for _, fd := range fds {
		links = append(links, filepath.Join(proc, "fd", fd.Name()))
	}
	for _, l := range links {
		target, err := os.Readlink(l)
		if err == nil && (target == path || strings.HasPrefix(target, path+"/")) {
			return target, true
		}
	}
	return "", false
}

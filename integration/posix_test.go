package integration

import (
	"os"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

// limits says why a conformance test may skip itself on the mount, or isn't run on it; the list only shrinks.
var limits = map[string]string{
	"RenameOpenDir":       "the kernel sends no handle with a directory's fstat (go-fuse issue 55): it may skip itself",
	"FcntlFlockLocksFile": "wants a process to conflict with its own POSIX lock; fcntl(2) says it doesn't, and neither does ext4",
}

// go-fuse's conformance suite, each test in a directory of its own.
func TestPosix(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount()
	must(t, os.Mkdir(point+"/posix", 0o755))
	t.Cleanup(func() { u.umount(point) })
	for name, test := range posixtest.All {
		t.Run(name, func(t *testing.T) {
			if name == "FcntlFlockLocksFile" {
				t.Skip(limits[name])
			}
			dir := point + "/posix/" + name
			must(t, os.Mkdir(dir, 0o755))
			t.Cleanup(func() {
				if t.Skipped() && limits[name] == "" {
					t.Errorf("skipped itself: the mount lacks what it tests")
				}
			})
			test(t, dir)
		})
	}
}

// What chown(2) and writes take away of set-ID bits is what they take from a plain file.
func TestSetIDBits(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount()
	t.Cleanup(func() { u.umount(point) })
	must(t, os.MkdirAll(point+"/a", 0o755))
	must(t, os.MkdirAll(u.path("plain"), 0o755))
	for what, change := range map[string]func(path string) error{
		"chown to nobody in particular": func(p string) error { return unix.Lchown(p, -1, -1) },
		"chown to its owner":            func(p string) error { return unix.Lchown(p, os.Getuid(), -1) },
		"write":                         func(p string) error { return unix.Truncate(p, 1) },
		"chmod":                         func(p string) error { return unix.Chmod(p, 0o6701) },
	} {
		var modes []os.FileMode
		for _, dir := range []string{u.path("plain"), point + "/a"} {
			p := dir + "/" + strings.ReplaceAll(what, " ", "-")
			must(t, os.WriteFile(p, []byte("abc"), 0o755))
			must(t, unix.Chmod(p, 0o6755))
			must(t, change(p))
			fi, err := os.Stat(p)
			must(t, err)
			modes = append(modes, fi.Mode())
		}
		if modes[0] != modes[1] {
			t.Errorf("%s leaves %v of a plain file and %v in the mount", what, modes[0], modes[1])
		}
	}
}

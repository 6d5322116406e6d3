package integration

import (
	"os"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

// limits says why a conformance test may skip itself on the mount, or isn't run on it; the list only shrinks.
var limits = map[string]string{
	"RenameOpenDir":       "the kernel sends no handle with a directory's fstat (go-fuse issue 55): it may skip itself",
	"FcntlFlockLocksFile": "wants a process to conflict with its own POSIX lock; fcntl(2) says it doesn't, and neither does ext4",
}

// go-fuse's conformance suite, each test in a directory of its own.
func TestPosix(t *testing.T) {
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

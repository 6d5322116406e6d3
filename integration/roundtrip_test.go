package integration

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// What was copied in comes out the same: at once, from a snapshot after the live tree changed, after a
// remount, from a read-only mount, and after the index was thrown away.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	source := u.path("source")
	oddTree(t, source)
	withACLs(u, source)

	point := u.mount()
	live, frozen := point+"/tree", point+"/tree/.snapshots/first"
	u.do("cp", "-a", source, live)
	u.same(source, live)

	must(t, os.Mkdir(frozen, 0o755))
	u.same(source, frozen)

	// The live tree goes on; a copy of the source goes through the same.
	copied := u.path("changed")
	u.do("cp", "-a", source, copied)
	for _, dir := range []string{live, copied} {
		u.do("rm", "-rf", dir+"/many/3", dir+"/names/-rf")
		u.do("mv", dir+"/sizes", dir+"/links/moved")
		u.do("dd", "if=/dev/zero", "of="+dir+"/sparse", "bs=4096", "seek=77", "count=3", "conv=notrunc", "status=none")
		u.do("truncate", "-s", "12345", dir+"/links/first")
		u.do("find", dir, "-exec", "touch", "-h", "-d", "2026-11-23 12:00:00.5", "{}", "+")
	}
	u.same(copied, live)
	u.same(source, frozen)
	u.same(source, point+"/snapshots/tree/first")

	for _, step := range []struct {
		name    string
		arrange func()
		options []string
	}{
		{"remounted", func() {}, nil},
		{"remounted read-only", func() {}, []string{"-o", "ro"}},
		{"without the index", func() { must(t, os.RemoveAll(u.path("repo/index"))) }, nil},
	} {
		u.umount(point)
		step.arrange()
		u.mount(step.options...)
		t.Log(step.name)
		u.same(copied, live)
		u.same(source, frozen)
	}
	u.bkfs("check", "--read-data")
	u.umount(point)
	u.bkfs("check", "--read-data")
}

// A file's inode number is its own in the live tree and in each snapshot (else cp says "same file"), and
// stays the same over a remount.
func TestInodeNumbers(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount()
	must(t, os.MkdirAll(point+"/a/d", 0o755))
	must(t, os.WriteFile(point+"/a/d/f", []byte("x"), 0o644))
	must(t, os.Mkdir(point+"/a/.snapshots/one", 0o755))
	must(t, os.Mkdir(point+"/a/.snapshots/two", 0o755))

	numbers := func() map[uint64]string {
		seen := make(map[uint64]string)
		for _, p := range []string{"/a/d/f", "/a/.snapshots/one/d/f", "/a/.snapshots/two/d/f"} {
			var st unix.Stat_t
			must(t, unix.Stat(point+p, &st))
			if other, ok := seen[st.Ino]; ok {
				t.Errorf("%s and %s share inode number %d", p, other, st.Ino)
			}
			seen[st.Ino] = p
		}
		return seen
	}
	before := numbers()
	u.umount(point)
	u.mount()
	for ino, p := range numbers() {
		if before[ino] != p {
			t.Errorf("inode number %d was %q, is %q after a remount", ino, before[ino], p)
		}
	}
	u.umount(point)
}

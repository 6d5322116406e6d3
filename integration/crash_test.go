package integration

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// What fsync acknowledged survives kill -9, with the index and without it; then no fsck is asked for.
func TestCrash(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(*user){
		"index kept": func(*user) {},
		"index gone": func(u *user) { must(u, os.RemoveAll(u.path("repo/index"))) },
		"index torn": func(u *user) {
			u.do("find", u.path("repo/index"), "-type", "f", "-exec", "truncate", "-s", "-7", "{}", "+")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t).withRepository()
			source := u.path("source")
			oddTree(t, source)

			point := u.mount()
			u.do("cp", "-a", source, point+"/tree")
			must(t, os.Mkdir(point+"/tree/.snapshots/kept", 0o755))
			u.do("rm", "-rf", point+"/tree/many")
			u.do("cp", "-a", source+"/many", point+"/tree/sizes/")
			u.do("mv", point+"/tree/sizes/many", point+"/tree/many")
			u.do("touch", "-r", source+"/sizes", point+"/tree/sizes")
			u.do("touch", "-r", source, point+"/tree")
			u.bkfs("sync")
			// Never synced: may be there or not, but must not hurt what was.
			must(t, os.WriteFile(point+"/tree/unsynced", noise(1, 3<<20), 0o644))
			u.crash(point)
			arrange(u)

			u.mount()
			must(t, os.RemoveAll(point+"/tree/unsynced"))
			u.do("touch", "-r", source, point+"/tree")
			u.same(source, point+"/tree")
			u.same(source, point+"/tree/.snapshots/kept")
			u.umount(point)
			u.bkfs("check", "--read-data")
		})
	}
}

// Every fsync is a promise of its own: killed again and again in the middle of writing, no acknowledged
// record is ever missing or different.
func TestCrashWhileWriting(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount()
	must(t, os.Mkdir(point+"/log", 0o755))
	record := func(i int) []byte { return noise(uint64(i), 100+i*37%9000) }
	acknowledged := 0
	for round := range 4 {
		for range 25 {
			f, err := os.Create(fmt.Sprintf("%s/log/%d", point, acknowledged))
			must(t, err)
			_, err = f.Write(record(acknowledged))
			must(t, errors.Join(err, f.Sync(), f.Close()))
			acknowledged++
		}
		writer := exec.Command("dd", "if=/dev/urandom", fmt.Sprintf("of=%s/log/big-%d", point, round), "bs=64k", "count=4000")
		must(t, writer.Start())
		u.crash(point)
		writer.Wait()
		u.mount()
		for i := range acknowledged {
			got, err := os.ReadFile(fmt.Sprintf("%s/log/%d", point, i))
			if err != nil || !bytes.Equal(got, record(i)) {
				t.Fatalf("round %d: record %d of %d: %d bytes, %v", round, i, acknowledged, len(got), err)
			}
		}
	}
	u.umount(point)
	u.bkfs("check", "--read-data")
}

// A daemon that is gone leaves a dead mountpoint, which umount takes away and mount replaces.
func TestDeadMount(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount()
	must(t, os.Mkdir(point+"/a", 0o755))
	u.bkfs("sync")
	for _, pid := range processes(u.dir) {
		kill(t, pid)
	}
	if _, err := os.ReadDir(point); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("reading a dead mount: %v, want ENOTCONN", err)
	}
	u.bkfs("mount", point)
	if _, err := os.Stat(point + "/a"); err != nil {
		t.Error(err)
	}
	if n := len(mountpoints(point)); n != 1 {
		t.Errorf("%d mounts on %s, want 1: the dead one has to go", n, point)
	}
	u.umount(point)
}

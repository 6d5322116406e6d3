package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestPrefetch reads a few of a snapshot's files and sees that others get into
// the kernel's cache without being read; of a live tree they don't.
func TestPrefetch(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	mnt := u.mount()
	must(t, os.MkdirAll(filepath.Join(mnt, "a"), 0o755))
	const files = 12
	content := func(i int) []byte { return prose(uint64(i), 5000+777*i) }
	for i := range files {
		must(t, os.WriteFile(fmt.Sprintf("%s/a/%02d", mnt, i), content(i), 0o644))
	}
	u.bkfs("snapshot", "create", "a", "one")
	u.umount(mnt)
	mnt = u.mount()

	// cached counts the files that are in the kernel's cache.
	cached := func(dir string) (n int) {
		for i := range files {
			resident := strings.TrimSpace(u.do("fincore", "-nbo", "res", fmt.Sprintf("%s/%02d", dir, i)))
			if resident != "" && resident != "0" {
				n++
			}
		}
		return n
	}
	read := func(dir string) {
		u.do("ls", "-l", dir)
		for i := range 2 {
			got, err := os.ReadFile(fmt.Sprintf("%s/%02d", dir, i))
			must(t, err)
			if !bytes.Equal(got, content(i)) {
				t.Errorf("%s/%02d was read wrong", dir, i)
			}
		}
	}
	live, snapshot := filepath.Join(mnt, "a"), filepath.Join(mnt, "snapshots/a/one")
	read(live)
	read(snapshot)
	for end := time.Now().Add(patience); cached(snapshot) < files; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d of %d files are in the kernel's cache", cached(snapshot), files)
		}
	}
	for i := range files {
		got, err := os.ReadFile(fmt.Sprintf("%s/%02d", snapshot, i))
		must(t, err)
		if !bytes.Equal(got, content(i)) {
			t.Errorf("file %d was fetched wrong", i)
		}
	}
	if n := cached(live); n != 2 {
		t.Errorf("%d files of the live tree are in the kernel's cache, want the 2 that were read", n)
	}
	u.umount(mnt)
}

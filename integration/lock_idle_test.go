package integration

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestIdleTimeout(t *testing.T) {
	t.Parallel()
	const timeout = "1500ms"
	const longer = 5 * time.Second
	prepare := func(t *testing.T, args ...string) (*user, string) {
		t.Parallel()
		u := newUser(t).withRepository()
		point := u.mount()
		must(t, os.Mkdir(point+"/a", 0o755))
		must(t, os.WriteFile(point+"/a/f", []byte("kept"), 0o644))
		u.umount(point)
		return u, u.mount(append([]string{"--idle-timeout", timeout}, args...)...)
	}
	t.Run("unused", func(t *testing.T) {
		u, point := prepare(t)
		u.locked(point)
		u.holds(point, "/a/f", []byte("kept"))
	})
	t.Run("used", func(t *testing.T) {
		u, point := prepare(t)
		data := prose(7, 1<<20)
		u.stays(point, longer, func() { must(t, os.WriteFile(point+"/a/new", data, 0o644)) })
		u.locked(point)
		u.holds(point, "/a/new", data)
	})
	t.Run("read only", func(t *testing.T) {
		u, point := prepare(t)
		u.stays(point, longer, func() {
			if _, err := os.ReadFile(point + "/a/f"); err != nil {
				t.Fatal(err)
			}
		})
		u.locked(point)
	})
	t.Run("free space asked for", func(t *testing.T) { // monitors do that all day
		u, point := prepare(t)
		u.until("the mount was locked", func() bool {
			must(t, unix.Statfs(point, &unix.Statfs_t{}))
			return !mounted(point)
		})
		u.locked(point)
	})
	t.Run("open file", func(t *testing.T) {
		u, point := prepare(t)
		f, err := os.OpenFile(point+"/a/f", os.O_RDWR, 0)
		must(t, err)
		u.stays(point, longer, func() {})
		_, err = f.WriteString("more")
		must(t, err)
		must(t, f.Close())
		u.locked(point)
		u.holds(point, "/a/f", []byte("more"))
	})
	t.Run("shell", func(t *testing.T) {
		u, point := prepare(t)
		c := exec.Command("sh", "-c", `cd "$1" && read line`, "sh", point+"/a")
		in, err := c.StdinPipe()
		must(t, err)
		must(t, c.Start())
		u.stays(point, longer, func() {})
		in.Close()
		c.Wait()
		u.locked(point)
	})
	t.Run("open file, forced", func(t *testing.T) {
		u, point := prepare(t, "--force-lock")
		f, err := os.OpenFile(point+"/a/f", os.O_RDWR, 0)
		must(t, err)
		defer f.Close()
		u.stays(point, longer, func() {
			_, err := f.WriteAt([]byte("more"), 0)
			must(t, err)
		})
		u.locked(point)
		if _, err := f.WriteAt([]byte("lost"), 0); err == nil {
			t.Error("a write after locking succeeded")
		}
		u.holds(point, "/a/f", []byte("more"))
	})
}

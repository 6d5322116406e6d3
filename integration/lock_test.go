package integration

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bkfs/hardware/softtoken"
)

// until waits for what must come to be.
func (u *user) until(what string, come func() bool) {
	u.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !come(); <-tick.C {
		if time.Now().After(deadline) {
			u.Fatalf("waited for %v until %s", patience, what)
		}
	}
}

// locked waits until the mount has ended by itself and its process, which had the key, too.
func (u *user) locked(point string) {
	u.Helper()
	u.until("the mount was locked", func() bool { return !mounted(point) && len(processes(u.dir)) == 0 })
	if entries, err := os.ReadDir(point); err != nil || len(entries) != 0 {
		u.Errorf("the mountpoint after locking: %v, %v, want an empty directory", entries, err)
	}
	if out := u.bkfs("status"); !strings.Contains(out, "mounted     no") {
		u.Errorf("status after locking:\n%s", out)
	}
}

// stays watches for a while that the mount is not locked.
func (u *user) stays(point string, while time.Duration, use func()) {
	u.Helper()
	for end := time.Now().Add(while); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		use()
		if !mounted(point) {
			u.Fatal("the mount was locked")
		}
	}
}

// lockStatus is what status tells of the one mount's lock.
type lockStatus struct {
	Token   string
	Removed *time.Time
	Users   []struct{ PID int }
}

func (u *user) lockStatus() *lockStatus {
	u.Helper()
	var s struct{ Mounts []struct{ Lock *lockStatus } }
	must(u, json.Unmarshal([]byte(u.bkfs("status", "--json")), &s))
	if len(s.Mounts) != 1 {
		u.Fatalf("status shows %d mounts, want one", len(s.Mounts))
	}
	return s.Mounts[0].Lock
}

func (u *user) log() string {
	u.Helper()
	names, err := filepath.Glob(u.path("state/bkfs/log/*.log"))
	must(u, err)
	var all []byte
	for _, name := range names {
		text, err := os.ReadFile(name)
		must(u, err)
		all = append(all, text...)
	}
	return string(all)
}

// unplug takes the token of withRepository away; plug brings it back.
func (u *user) unplug() { u.Helper(); must(u, os.Rename(u.path("mine.token"), u.path("away"))) }
func (u *user) plug()   { u.Helper(); must(u, os.Rename(u.path("away"), u.path("mine.token"))) }

// holds mounts again and compares a file.
func (u *user) holds(point, file string, want []byte) {
	u.Helper()
	u.mount()
	got, err := os.ReadFile(point + file)
	if err != nil || !bytes.Equal(got, want) {
		u.Errorf("%s after locking: %d bytes, %v, want the %d that were written", file, len(got), err, len(want))
	}
	u.umount(point)
}

func TestLockOnRemoval(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount("--lock-on-removal")
	source := u.path("source")
	oddTree(t, source)
	u.do("cp", "-a", source, point+"/tree")
	data := prose(3, 3<<20)
	must(t, os.Mkdir(point+"/a", 0o755))
	must(t, os.WriteFile(point+"/a/written", data, 0o644)) // neither fsync nor sync
	u.unplug()
	u.locked(point)
	if log := u.log(); !strings.Contains(log, `msg=locked because="the token soft:`) {
		t.Errorf("the log doesn't say why the mount was ended:\n%s", log)
	}
	u.plug()
	u.holds(point, "/a/written", data)
	u.mount()
	u.same(source, point+"/tree")
	if s := u.bkfs("snapshot", "list"); !strings.Contains(s, "tree") {
		t.Errorf("no automatic snapshot, as unmounting takes: %s", s)
	}
	u.umount(point)
}

// What is open keeps the mount, writable, until it is closed; a token that comes back in between keeps it for good.
func TestLockWaits(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount("--lock-on-removal")
	must(t, os.Mkdir(point+"/a", 0o755))
	if s := u.lockStatus(); s == nil || s.Token != soft(u.path("mine.token")) || s.Removed != nil {
		t.Fatalf("status before: %+v", s)
	}
	f, err := os.Create(point + "/a/f")
	must(t, err)
	waits := func() {
		t.Helper()
		u.unplug()
		u.until("status said that the mount waits", func() bool { return u.lockStatus().Removed != nil })
		if s := u.lockStatus(); len(s.Users) != 1 || s.Users[0].PID != os.Getpid() {
			t.Errorf("status names the users %+v, want this process", s.Users)
		}
	}
	waits()
	if out := u.bkfs("status"); !strings.Contains(out, "LOCKING") || !strings.Contains(out, "/a/f") {
		t.Errorf("status while it waits:\n%s", out)
	}
	u.stays(point, 3*time.Second, func() {
		_, err := f.WriteString("more\n")
		must(t, err)
		must(t, os.WriteFile(point+"/a/other", []byte("new"), 0o644))
	})
	u.plug()
	u.until("status said that the token is back", func() bool { return u.lockStatus().Removed == nil })
	must(t, f.Close())
	u.stays(point, 3*time.Second, func() {})

	f, err = os.OpenFile(point+"/a/f", os.O_RDWR|os.O_TRUNC, 0)
	must(t, err)
	waits()
	data := prose(4, 1<<20)
	_, err = f.Write(data)
	must(t, err)
	must(t, f.Close())
	u.locked(point)
	for _, line := range []string{"the mount is in use; it is locked as soon as nobody uses it", "the token is back; the mount stays"} {
		if log := u.log(); !strings.Contains(log, line) {
			t.Errorf("the log lacks %q:\n%s", line, log)
		}
	}
	u.plug()
	u.holds(point, "/a/f", data)
}

// What isn't an open file of a known kind keeps the mount as well, and locks it when it ends.
func TestLockUsers(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]func(t *testing.T, point string) (release func()){
		"working directory": func(t *testing.T, point string) func() {
			c := exec.Command("cat")
			c.Dir = point + "/a"
			in, err := c.StdinPipe()
			must(t, err)
			must(t, c.Start())
			return func() { in.Close(); must(t, c.Wait()) }
		},
		"open directory": func(t *testing.T, point string) func() {
			d, err := os.Open(point + "/a")
			must(t, err)
			return func() { d.Close() }
		},
		"directory of snapshots": func(t *testing.T, point string) func() {
			d, err := os.Open(point + "/a/.snapshots")
			must(t, err)
			return func() { d.Close() }
		},
		"mapping": func(t *testing.T, point string) func() {
			f, err := os.Open(point + "/a/f")
			must(t, err)
			m, err := unix.Mmap(int(f.Fd()), 0, 5, unix.PROT_READ, unix.MAP_SHARED)
			must(t, err)
			must(t, f.Close())
			return func() { must(t, unix.Munmap(m)) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t).withRepository()
			point := u.mount("--lock-on-removal")
			must(t, os.Mkdir(point+"/a", 0o755))
			must(t, os.WriteFile(point+"/a/f", []byte("bytes"), 0o644))
			release := row(t, point)
			u.unplug()
			u.until("status said that the mount waits", func() bool { return u.lockStatus().Removed != nil })
			u.stays(point, 2*time.Second, func() {})
			release()
			u.locked(point)
		})
	}
}

// By force nothing waits: what was written is kept, also through a mapping; who has files open gets errors at once.
func TestLockForce(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount("--lock-on-removal", "--force-lock")
	must(t, os.Mkdir(point+"/a", 0o755))
	f, err := os.Create(point + "/a/f")
	must(t, err)
	defer f.Close()
	data := prose(5, 2<<20)
	_, err = f.Write(data)
	must(t, err)
	g, err := os.Create(point + "/a/g")
	must(t, err)
	defer g.Close()
	must(t, g.Truncate(1<<20))
	m, err := unix.Mmap(int(g.Fd()), 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	copy(m, data)
	d, err := os.Open(point + "/a")
	must(t, err)
	defer d.Close()

	u.unplug()
	u.locked(point)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := f.Write([]byte("more")); err == nil {
			t.Error("a write after locking succeeded")
		}
		if _, err := f.ReadAt(make([]byte, 10), 0); err == nil {
			t.Error("a read after locking succeeded")
		}
		if err := f.Sync(); err == nil {
			t.Error("fsync after locking succeeded")
		}
		if fd, err := unix.Openat(int(d.Fd()), "f", unix.O_RDONLY, 0); err == nil {
			unix.Close(fd)
			t.Error("an open after locking succeeded")
		}
		unix.Munmap(m)
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("a program that holds a file of a locked mount hangs")
	}
	u.plug()
	u.holds(point, "/a/f", data)
	u.holds(point, "/a/g", data[:1<<20])
}

// A writer at work while the mount is ended under it: every write that succeeded is there.
func TestLockForceUnderWrites(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount("--lock-on-removal", "--force-lock")
	must(t, os.Mkdir(point+"/a", 0o755))
	f, err := os.Create(point + "/a/f")
	must(t, err)
	defer f.Close()
	started, written := make(chan struct{}), make(chan int)
	data := prose(6, 64<<20)
	const block = 4096
	go func() {
		n := 0
		for ; n < len(data); n += block {
			if n == 64*block {
				close(started)
			}
			if _, err := f.Write(data[n : n+block]); err != nil {
				break
			}
		}
		written <- n
	}()
	<-started
	u.unplug()
	n := <-written
	u.locked(point)
	t.Logf("%d bytes were written before the lock", n)
	if n == len(data) {
		t.Error("all was written before the lock: the test proves nothing")
	}
	u.plug()
	u.mount()
	got, err := os.ReadFile(point + "/a/f")
	if err != nil || len(got) < n || !bytes.Equal(got[:n], data[:n]) {
		t.Errorf("after locking: %d bytes, %v, want the %d that were written", len(got), err, n)
	}
	u.umount(point)
}

// While the token is gone, the mount that doesn't watch it stays.
func TestLockOnlyOnDemand(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount()
	u.unplug()
	u.stays(point, 5*time.Second, func() {})
	if s := u.lockStatus(); s != nil {
		t.Errorf("status shows a lock: %+v", s)
	}
	u.umount(point)
}

// A token behind a device node is gone when the node is, however that came about.
func TestLockDevice(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]unix.Signal{"unplugged": unix.SIGTERM, "dangling link": unix.SIGKILL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := newUser(t)
			token, link := u.token("mine", softtoken.Options{}), u.path("device")
			serve := u.command(program, "softtoken", "serve", "--link", link, token)
			must(t, serve.Start())
			defer serve.Wait()
			u.until("the token is there", func() bool { _, err := os.Stat(link); return err == nil })
			u.bkfs("init", "--fido2-device", link)
			u = u.with("BKFS_FIDO2_DEVICE=" + link)
			point := u.mount("--lock-on-removal")
			must(t, os.Mkdir(point+"/a", 0o755))
			u.stays(point, 3*time.Second, func() {}) // nor does its own use of the device look like removal
			must(t, serve.Process.Signal(signal))
			u.locked(point)
			u.vars["BKFS_FIDO2_DEVICE"] = soft(token)
			u.mount()
			if _, err := os.Stat(point + "/a"); err != nil {
				t.Error(err)
			}
			u.umount(point)
		})
	}
}

func TestLockForeground(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.path("mnt")
	must(t, os.Mkdir(point, 0o755))
	c := u.command(program, "mount", "-f", "--lock-on-removal", "-o", "ro", point)
	var stderr bytes.Buffer
	c.Stderr = &stderr
	must(t, c.Start())
	u.until("it is mounted", func() bool { return mounted(point) })
	u.unplug()
	if err := c.Wait(); err != nil {
		t.Errorf("exit: %v, want code 0", err)
	}
	u.locked(point)
	if want := "\nLocked " + point + ", because the token soft:"; !strings.Contains(stderr.String(), want) {
		t.Errorf("stderr lacks %q:\n%s", want, stderr.String())
	}
}

package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	iofs "io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"bkfs/hardware/softtoken"
)

// Each row does one wrong thing to a copy of the same repository, reads the message and the exit code, undoes
// the wrong thing (not its consequences) and then finds everything still there. Rows that only ask for what is
// refused share one copy.
func TestBadInput(t *testing.T) {
	t.Parallel()
	template := newUser(t)
	source := template.path("source")
	oddTree(t, source)
	mine := template.token("mine", softtoken.Options{})
	template.token("wrong", softtoken.Options{})
	template = template.with("BKFS_NEW_PASSPHRASE=" + passphrase)
	template.bkfs("init", "--fido2-device", "soft:"+mine)
	template = template.with("BKFS_NEW_PASSPHRASE", "BKFS_FIDO2_DEVICE="+soft(mine))
	point := template.mount()
	template.do("cp", "-a", source, point+"/tree")
	template.umount(point)

	copied := func(t *testing.T) *user {
		u := newUser(t)
		template.do("cp", "-a", template.path("repo"), template.path("mine.token"), template.path("wrong.token"), u.dir)
		must(t, os.Mkdir(u.path("mnt"), 0o755))
		return u.with("BKFS_FIDO2_DEVICE=" + soft(u.path("mine.token"))) // no argon2 in every row
	}
	whole := func(u *user) {
		point := u.path("mnt")
		u.bkfs("mount", "-o", "ro", point)
		u.same(source, point+"/tree")
		u.umount(point)
		u.bkfs("check", "--read-data")
	}
	t.Run("refused", func(t *testing.T) { // these share a copy, and what they may have done to it
		t.Parallel()
		u := copied(t)
		for name, row := range badInput() {
			if row.wrong == nil {
				t.Run(name, func(t *testing.T) {
					v := *u
					v.TB = t
					row.try(&v)
				})
			}
		}
		whole(u)
	})
	for name, row := range badInput() {
		if row.wrong == nil {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := copied(t)
			undo := row.wrong(u)
			row.try(u)
			if t.Failed() {
				return
			}
			undo()
			whole(u)
		})
	}
}

func (row badRow) try(u *user) {
	u.Helper()
	in := func(s string) string { return strings.ReplaceAll(s, "DIR", u.dir) }
	args := []string{"mount", u.path("mnt")}
	if row.args != nil {
		args = strings.Split(in(strings.Join(row.args, "\x00")), "\x00")
	}
	u.with(strings.Fields(in(strings.Join(row.env, " ")))...).refused(row.code, row.message, args...)
}

type badRow struct {
	wrong   func(u *user) (undo func())
	env     []string // DIR stands for the user's directory
	args    []string // nil: mount on DIR/mnt
	code    int
	message string
}

func badInput() map[string]badRow {
	return map[string]badRow{
		"wrong passphrase":  {env: []string{"BKFS_PASSPHRASE=wrong"}, code: exitWrongSecret, message: "passphrase is wrong"},
		"empty passphrase":  {env: []string{"BKFS_PASSPHRASE=", "BKFS_FIDO2_DEVICE=none"}, code: exitWrongSecret, message: "passphrase"},
		"wrong token":       {env: []string{"BKFS_FIDO2_DEVICE=soft:DIR/wrong.token"}, code: exitNoToken, message: "(?s)token.*hint: "},
		"no token":          {env: []string{"BKFS_FIDO2_DEVICE=auto"}, code: exitNoToken, message: "(?s)token.*hint: "},
		"nothing to unlock": {env: []string{"BKFS_FIDO2_DEVICE=none"}, code: exitWrongSecret, message: "(?s)no passphrase.*hint: .*BKFS_PASSPHRASE"},
		"failing command":   {env: []string{"BKFS_PASSCOMMAND=false"}, code: exitError, message: "run false"},
		"no repository":     {env: []string{"BKFS_REPOSITORY=DIR/nowhere"}, code: exitNoRepository, message: "(?s)nowhere: no repository.*hint: .*init"},
		"not a repository":  {env: []string{"BKFS_REPOSITORY=DIR/mnt"}, code: exitNoRepository, message: "no repository"},
		"init over another": {env: []string{"BKFS_NEW_PASSPHRASE=other"}, args: []string{"init"}, code: exitError, message: "already"},
		"init in a full directory": {
			env: []string{"BKFS_NEW_PASSPHRASE=other", "BKFS_REPOSITORY=DIR"}, args: []string{"init"}, code: exitError, message: "isn't empty"},

		"config cut, both copies":     {wrong: onConfigs(2, cut), code: exitDamaged, message: "config"},
		"config emptied, both copies": {wrong: onConfigs(2, empty), code: exitDamaged, message: "config"},
		"config edited":               {wrong: onConfigs(2, edit(`"max": 1048576`, `"max": 2097152`)), code: exitDamaged, message: "config"},
		"unknown format version":      {wrong: onConfigs(2, edit(`"format": 1`, `"format": 99`)), code: exitError, message: "(?s)format.*99.*hint: "},

		"mountpoint missing":       {args: []string{"mount", "DIR/missing"}, code: exitError, message: "(?s)missing.*doesn't exist.*hint: "},
		"mountpoint is a file":     {args: []string{"mount", "DIR/mine.token"}, code: exitError, message: "isn't a directory"},
		"mountpoint not empty":     {args: []string{"mount", "DIR/repo/packs"}, code: exitError, message: "inside the repository"},
		"mountpoint in repository": {wrong: makeDirectory("repo/mnt"), args: []string{"mount", "DIR/repo/mnt"}, code: exitError, message: "inside the repository"},
		"mountpoint is repository": {args: []string{"mount", "DIR/repo"}, code: exitError, message: "inside the repository|is the repository"},
		"mounted already":          {wrong: mountElsewhere, code: exitLocked, message: "(?s)(mounted|locked|use).*hint: "},
		"no such command":          {args: []string{"frobnicate"}, code: exitError, message: "frobnicate"},
		"no such option":           {env: []string{"BKFS_FIDO2_DEVICE=none"}, args: []string{"mount", "-o", "frobnicate", "DIR/mnt"}, code: exitError, message: "frobnicate"},
		"not mounted":              {args: []string{"umount", "DIR/mnt"}, code: exitError, message: "no repository is mounted"},
		"no such archive":          {args: []string{"mount", "--archive", "nothing", "DIR/mnt"}, code: exitError, message: `^[^"]*archive "nothing": [^"\n]*\n`},
		"no such snapshot":         {args: []string{"snapshot", "delete", "tree", "nothing"}, code: exitError, message: "nothing"},

		"bit flipped in every pack": {wrong: onFiles("repo/packs", flip(50)), args: []string{"check", "--read-data"}, code: exitDamaged, message: "(?i)damage"},
		"pack missing":              {wrong: losePack, args: []string{"check"}, code: exitDamaged, message: "(?i)missing|damage"},
		"root cut":                  {wrong: onFiles("repo/roots", cut), code: exitDamaged, message: "root"},
		"root missing":              {wrong: loseRoots, code: exitDamaged, message: "root"},
	}
}

// cut, empty and flip return what becomes of a file's content.
func cut(b []byte) []byte { return b[:len(b)*2/3] }

func empty([]byte) []byte { return nil }

// flip inverts one bit at this percentage of the way.
func flip(percent int) func([]byte) []byte {
	return func(b []byte) []byte {
		changed := bytes.Clone(b)
		changed[len(b)*percent/100] ^= 1 << (percent % 8)
		return changed
	}
}

// edit changes a config as a stranger would who knows its format: the checksum is right again, the MAC isn't.
func edit(old, new string) func([]byte) []byte {
	const head, tag = "bkfs repository config\n", "\nsha256 "
	return func(b []byte) []byte {
		b = swap(old, new)(b)
		at := bytes.LastIndex(b, []byte(tag))
		if !bytes.HasPrefix(b, []byte(head)) || at < 0 {
			panic("not a config as archive/FORMAT.md has it")
		}
		sum := sha256.Sum256(b[len(head):at])
		copy(b[at+len(tag):], hex.EncodeToString(sum[:]))
		return b
	}
}

// swap edits text, as somebody with an editor would.
func swap(old, new string) func([]byte) []byte {
	return func(b []byte) []byte {
		if !bytes.Contains(b, []byte(old)) {
			panic("there is no " + old + " to edit")
		}
		return bytes.Replace(b, []byte(old), []byte(new), 1)
	}
}

// change replaces a file's content and returns how to undo that.
func change(u *user, path string, with func([]byte) []byte) (undo func()) {
	u.Helper()
	original, err := os.ReadFile(path)
	must(u, err)
	must(u, os.WriteFile(path, with(original), 0o600))
	return func() { must(u, os.WriteFile(path, original, 0o600)) }
}

func onConfigs(copies int, with func([]byte) []byte) func(*user) func() {
	return func(u *user) func() {
		var undo []func()
		for _, path := range u.configs()[:copies] {
			undo = append(undo, change(u, path, with))
		}
		return all(undo)
	}
}

func onFiles(dir string, with func([]byte) []byte) func(*user) func() {
	return func(u *user) func() {
		var undo []func()
		for _, path := range u.files(dir) {
			undo = append(undo, change(u, path, with))
		}
		return all(undo)
	}
}

func all(undo []func()) func() {
	return func() {
		for _, f := range undo {
			f()
		}
	}
}

// files lists the regular files below a directory of the user's, at least one.
func (u *user) files(dir string) []string {
	u.Helper()
	var found []string
	must(u, filepath.WalkDir(u.path(dir), func(path string, e iofs.DirEntry, err error) error {
		if err == nil && e.Type().IsRegular() {
			found = append(found, path)
		}
		return err
	}))
	if len(found) == 0 {
		u.Fatalf("no files in %s", dir)
	}
	return found
}

func losePack(u *user) func() {
	path := u.files("repo/packs")[0]
	must(u, os.Rename(path, u.path("pack")))
	return func() { must(u, os.Rename(u.path("pack"), path)) }
}

func loseRoots(u *user) func() {
	must(u, os.Rename(u.path("repo/roots"), u.path("roots")))
	return func() {
		u.do("rm", "-rf", u.path("repo/roots"))
		must(u, os.Rename(u.path("roots"), u.path("repo/roots")))
	}
}

func makeDirectory(name string) func(*user) func() {
	return func(u *user) func() {
		must(u, os.Mkdir(u.path(name), 0o755))
		return func() { must(u, os.Remove(u.path(name))) }
	}
}

func mountElsewhere(u *user) func() {
	other := u.path("other")
	must(u, os.Mkdir(other, 0o755))
	u.bkfs("mount", other)
	return func() { u.umount(other) }
}

// One good copy of the config is enough, and check names the bad one; a stranger's edit is never believed.
func TestConfigCopy(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	edited := edit(`"max": 1048576`, `"max": 2097152`)
	for i := range 2 {
		for name, with := range map[string]func([]byte) []byte{"cut": cut, "emptied": empty, "flipped": flip(50), "edited": edited} {
			undo := change(u, u.configs()[i], with)
			if r := u.run(program, "key", "list"); r.code != exitOK {
				t.Errorf("copy %d %s: exit code %d\n%s", i+1, name, r.code, r.stderr)
			}
			r := u.run(program, "check")
			if r.code != exitDamaged || !strings.Contains(r.stdout, filepath.Base(u.configs()[i])) {
				t.Errorf("copy %d %s: check: exit code %d\n%s%s", i+1, name, r.code, r.stdout, r.stderr)
			}
			undo()
		}
	}
	undo := onConfigs(2, edited)(u)
	u.refused(exitDamaged, "config", "key", "list")
	undo()
	u.bkfs("check")
}

// A key slot that was removed doesn't come back with an old copy of the config, whatever generation that claims.
func TestRemovedSlot(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	other := u.token("other", softtoken.Options{})
	var added struct{ Slots []struct{ ID, Label string } }
	u.bkfs("key", "add", "--fido2-device", soft(other), "--label", "other")
	must(t, json.Unmarshal([]byte(`{"slots":`+u.bkfs("key", "list", "--json")+`}`), &added))
	old, err := os.ReadFile(u.configs()[1])
	must(t, err)
	u.bkfs("key", "remove", added.Slots[len(added.Slots)-1].ID)
	must(t, os.WriteFile(u.configs()[1], edit(`"generation": 2`, `"generation": 9`)(old), 0o600))
	u.with("BKFS_FIDO2_DEVICE="+soft(other)).refused(exitDamaged, "(?s)key slot.*hint: ", "key", "list")
	if slots := u.bkfs("key", "list"); strings.Contains(slots, "other") {
		t.Errorf("the removed slot is listed:\n%s", slots)
	}
}

// One flipped bit is EIO for what it touches and a name in the log; siblings stay readable, never wrong.
func TestFlippedBit(t *testing.T) {
	t.Parallel()
	u := newUser(t).withRepository()
	point := u.mount()
	must(t, os.Mkdir(point+"/a", 0o755))
	const files = 30
	name := func(i int) string { return filepath.Join(point, "a", string(rune('a'+i%26))+strings.Repeat("x", i)) }
	for i := range files {
		must(t, os.WriteFile(name(i), noise(uint64(i), 2<<20), 0o644))
	}
	u.umount(point)

	largest := ""
	var size int64
	for _, path := range u.files("repo/packs") {
		if info, err := os.Stat(path); err == nil && info.Size() > size {
			largest, size = path, info.Size()
		}
	}
	change(u, largest, flip(50))

	u.mount()
	bad := 0
	for i := range files {
		got, err := os.ReadFile(name(i))
		switch {
		case errors.Is(err, unix.EIO):
			bad++
		case err != nil:
			t.Errorf("read file %d: %v", i, err)
		case digest(got) != digest(noise(uint64(i), 2<<20)):
			t.Errorf("file %d: wrong data", i)
		}
	}
	if bad != 1 {
		t.Errorf("%d files of %d can't be read, want the one with the flipped bit", bad, files)
	}
	u.refused(exitDamaged, "(?i)damage", "check", "--read-data")
	u.umount(point)
	u.refused(exitDamaged, "(?i)damage", "check", "--read-data")
}

// A full disk is told at write or fsync; what was acknowledged stays, deleting still works, and so does everything
// once there is room again.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	needRoot(t)
	u := newUser(t)
	disk := u.path("disk")
	must(t, os.Mkdir(disk, 0o700))
	u.do("mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", disk)
	t.Cleanup(func() { unix.Unmount(disk, unix.MNT_DETACH) })
	u = u.with("BKFS_REPOSITORY=" + disk + "/repo").withRepository()

	point := u.mount()
	must(t, os.Mkdir(point+"/a", 0o755))
	before := noise(1, 5<<20)
	must(t, os.WriteFile(point+"/a/before", before, 0o644))
	u.bkfs("sync")
	f, err := os.Create(point + "/a/flood")
	must(t, err)
	_, err = io.Copy(f, io.LimitReader(rand.NewChaCha8([32]byte{}), 256<<20))
	err = errors.Join(err, f.Sync(), f.Close())
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("writing 256 MiB to a disk of 96: %v, want ENOSPC", err)
	}
	check := func(what string) {
		t.Helper()
		if got, err := os.ReadFile(point + "/a/before"); err != nil || digest(got) != digest(before) {
			t.Errorf("%s: %d bytes, %v", what, len(got), err)
		}
	}
	check("while full")
	must(t, os.Remove(point+"/a/flood"))
	u.bkfs("sync")
	u.umount(point)

	u.mount()
	check("after a remount")
	// Another program takes the rest; then the daemon dies.
	ballast := u.run("dd", "if=/dev/zero", "of="+disk+"/ballast", "bs=64k")
	if ballast.code == 0 {
		t.Fatal("the disk has no end")
	}
	os.WriteFile(point+"/a/late", noise(2, 1<<20), 0o644)
	u.crash(point)
	must(t, os.Remove(disk+"/ballast"))
	u.mount()
	check("after another program filled the disk and the daemon died")
	u.umount(point)
	u.bkfs("check", "--read-data")

	small := u.path("small")
	must(t, os.Mkdir(small, 0o700))
	u.do("mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", small)
	t.Cleanup(func() { unix.Unmount(small, unix.MNT_DETACH) })
	u.with("BKFS_REPOSITORY="+small+"/repo", "BKFS_NEW_PASSPHRASE="+passphrase).refused(exitNoSpace, "(?i)space", "init")
}

// Ctrl-C while a passphrase is waited for ends everything with its own code.
func TestInterrupted(t *testing.T) {
	t.Parallel()
	u := newUser(t).withPassphrase()
	fifo, script := u.path("fifo"), u.path("slow.sh")
	must(t, unix.Mkfifo(fifo, 0o600))
	must(t, os.WriteFile(script, []byte("#!/bin/sh\necho asked >"+fifo+"\nexec sleep 600\n"), 0o700))
	asked, err := os.OpenFile(fifo, os.O_RDWR, 0) // both ends: reading never ends, but has a deadline
	must(t, err)
	defer asked.Close()
	asked.SetReadDeadline(time.Now().Add(patience))
	c := u.with("BKFS_PASSPHRASE", "BKFS_PASSCOMMAND="+script).command(program, "key", "list")
	must(t, c.Start())
	if _, err := asked.Read(make([]byte, 1)); err != nil {
		t.Errorf("the passcommand wasn't run: %v", err)
	}
	must(t, c.Process.Signal(unix.SIGINT))
	c.Wait()
	if code := c.ProcessState.ExitCode(); code != exitInterrupted {
		t.Errorf("interrupted: %v, want exit code %d", c.ProcessState, exitInterrupted)
	}
}

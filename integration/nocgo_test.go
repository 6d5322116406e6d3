package integration

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"bkfs/hardware/softtoken"
)

// withoutFIDO2 checks what a program that can't use tokens still does. make gives it a repository with a token, a
// passphrase and a recovery key; message is what it says of tokens.
func withoutFIDO2(t *testing.T, lacking func(*user) (*user, string), message string) {
	t.Helper()
	owner := newUser(t)
	token := owner.token("mine", softtoken.Options{})
	key := owner.with("BKFS_NEW_PASSPHRASE="+passphrase).enroll(token, "--label", "blue key")
	owner = owner.with("BKFS_FIDO2_DEVICE=" + soft(token))
	point := owner.mount()
	must(t, os.Mkdir(point+"/a", 0o755))
	must(t, os.WriteFile(point+"/a/f", []byte("kept"), 0o644))
	owner.umount(point)

	u, bkfs := lacking(owner)
	refused := func(u *user, hint string, args ...string) {
		t.Helper()
		r := u.run(bkfs, args...)
		if r.code != exitNoToken || !strings.Contains(r.stderr, message) || !strings.Contains(r.stderr, hint) {
			t.Errorf("%q: exit code %d, want %d, with %q and the hint %q:\n%s", args, r.code, exitNoToken, message, hint, r.stderr)
		}
	}

	// It names what is left, and opens with it.
	for _, device := range []string{soft(token), "auto"} {
		at := u.with("BKFS_FIDO2_DEVICE=" + device)
		refused(at, "fido2 blue key", "mount", point)
		refused(at, "recovery", "key", "list")
	}
	refused(u.with("BKFS_FIDO2_DEVICE=auto"), "recovery key", "token", "list")
	for _, secret := range []string{"BKFS_PASSPHRASE=" + passphrase, "BKFS_RECOVERY_KEY=" + key} {
		with := u.with(secret)
		with.do(bkfs, "mount", point)
		if got, err := os.ReadFile(point + "/a/f"); string(got) != "kept" {
			t.Errorf("%.16s: read %q, %v", secret, got, err)
		}
		with.do(bkfs, "umount", point)
		with.do(bkfs, "key", "list")
	}
	transcript, err := dialog(u.command(bkfs, "key", "list"), "(?s)"+message+".*(?i)passphrase or recovery key.*: => "+passphrase)
	if err != nil {
		t.Errorf("on a terminal: %v\n%s", err, transcript)
	}

	// A repository of its own; a token is refused before anything is made.
	fresh := u.with("BKFS_REPOSITORY="+u.path("fresh"), "BKFS_FIDO2_DEVICE")
	for _, device := range []string{"auto", soft(token)} {
		refused(fresh, "passphrase", "init", "--fido2-device", device)
		if _, err := os.Stat(u.path("fresh")); !os.IsNotExist(err) {
			t.Errorf("init --fido2-device %s left something behind: %v", device, err)
		}
	}
	fresh = fresh.with("BKFS_NEW_PASSPHRASE="+passphrase, "BKFS_PASSPHRASE="+passphrase)
	fresh.do(bkfs, "init")
	if list := fresh.do(bkfs, "key", "list"); !strings.Contains(list, "passphrase") {
		t.Errorf("no passphrase slot:\n%s", list)
	}
	fresh.do(bkfs, "key", "add", "--recovery-key", "--recovery-key-file", u.path("fresh-recovery"))
	fresh.do(bkfs, "check")
}

// A program built without cgo has no tokens, and everything else.
func TestWithoutCgo(t *testing.T) {
	t.Parallel()
	bkfs := filepath.Join(t.TempDir(), "bkfs")
	build := exec.Command("go", "build", "-o", bkfs, "bkfs/cmd/bkfs")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build without cgo: %v\n%s", err, out)
	}
	if libraries := imported(t, bkfs); len(libraries) > 0 {
		t.Errorf("it needs %q, want nothing", libraries)
	}
	withoutFIDO2(t, func(u *user) (*user, string) { return u, bkfs }, "built without FIDO2 support")
}

// A program built with cgo starts where libfido2 can't be loaded, and says so when a token is asked for.
func TestWithoutLibrary(t *testing.T) {
	t.Parallel()
	for _, library := range imported(t, program) {
		if strings.Contains(library, "fido2") {
			t.Errorf("the program doesn't start without %s", library)
		}
	}
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "libfido2.so.1"), []byte("no library"), 0o644))
	withoutFIDO2(t, func(u *user) (*user, string) { return u.with("LD_LIBRARY_PATH=" + dir), program }, "libfido2, the library for tokens, can't be loaded")
}

// imported lists the shared libraries that a program can't start without.
func imported(t *testing.T, path string) []string {
	t.Helper()
	f, err := elf.Open(path)
	must(t, err)
	defer f.Close()
	libraries, err := f.ImportedLibraries()
	must(t, err)
	return libraries
}

package integration

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"bkfs/hardware/softtoken"
)

// token makes a software token in the user's directory.
func (u *user) token(name string, o softtoken.Options) string {
	u.Helper()
	path := u.path(name + ".token")
	must(u, softtoken.Create(path, o))
	return path
}

// seen returns what a token was asked so far.
func (u *user) seen(path string) softtoken.Seen {
	u.Helper()
	status, err := softtoken.Read(path)
	must(u, err)
	return status.Seen
}

// soft is a device specification that finds these tokens, in this order.
func soft(tokens ...string) string { return "soft:" + strings.Join(tokens, ",soft:") }

// recoveryKey matches the lines a recovery key is shown on.
var recoveryKey = regexp.MustCompile(`(?m)^\s*[0-9A-Z]{5}(?:[- ][0-9A-Z]{5})+-?\s*$`)

// enroll makes a repository whose only slots are a token's and the recovery key's, which it returns.
func (u *user) enroll(token string, args ...string) string {
	u.Helper()
	r := u.run(program, append([]string{"init", "--fido2-device", "soft:" + token}, args...)...)
	key := recoveryKey.FindAllString(r.stdout+r.stderr, -1)
	if r.code != 0 || len(key) == 0 {
		u.Fatalf("init with a token: exit code %d, or no recovery key in:\n%s%s", r.code, r.stdout, r.stderr)
	}
	return strings.TrimSpace(strings.Join(key, "\n"))
}

// Only its own token opens a repository; it is found among others, which are asked silently and nothing more.
func TestTokenAmongSeveral(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	mine, wrong, other := u.token("mine", softtoken.Options{}), u.token("wrong", softtoken.Options{}), u.token("other", softtoken.Options{PIN: "1234"})
	u.enroll(mine)

	u = u.with("BKFS_FIDO2_DEVICE=" + soft(wrong, other, mine))
	before := u.seen(mine).Assertion
	point := u.mount()
	must(t, os.Mkdir(point+"/a", 0o755))
	u.umount(point)
	if n := u.seen(mine).Assertion - before; n != 1 {
		t.Errorf("the right token was touched %d times, want once", n)
	}
	for _, token := range []string{wrong, other} {
		s := u.seen(token)
		if s.Silent == 0 {
			t.Errorf("%s was not probed: the test proves nothing", token)
		}
		if s.Assertion+s.PIN+s.Blinks+s.MakeCredential != 0 {
			t.Errorf("%s was disturbed: %+v", token, s)
		}
	}
	r := u.run(program, "key", "list")
	if n := strings.Count(r.stderr, "protects nothing"); n != 1 || !strings.Contains(r.stderr, soft(wrong)+", "+soft(other)+", "+soft(mine)+": ") {
		t.Errorf("%d warnings of software tokens, want one that names all:\n%s", n, r.stderr)
	}
}

func TestTokenRefused(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	mine, wrong := u.token("mine", softtoken.Options{}), u.token("wrong", softtoken.Options{})
	key := u.enroll(mine)
	point := u.with("BKFS_FIDO2_DEVICE=" + soft(mine)).mount()
	must(t, os.Mkdir(point+"/a", 0o755))
	must(t, os.WriteFile(point+"/a/f", []byte("kept"), 0o644))
	u.umount(point)
	kept := func(u *user) {
		t.Helper()
		point := u.mount()
		if got, err := os.ReadFile(point + "/a/f"); string(got) != "kept" {
			t.Errorf("after unlocking: %q, %v", got, err)
		}
		u.umount(point)
	}

	for _, device := range []string{soft(wrong), "auto", "none"} {
		u.with("BKFS_FIDO2_DEVICE="+device).refused(exitNoToken, `(?s)hint: .*(passphrase|recovery)`, "mount", point)
	}
	if s := u.seen(wrong); s.Assertion+s.Blinks != 0 {
		t.Errorf("the wrong token was disturbed: %+v", s)
	}
	u.with("BKFS_FIDO2_DEVICE="+soft(u.path("nowhere"))).refused(exitNoToken, "nowhere", "mount", point)
	mistyped := strings.Replace(key, key[:1], string('0'+(key[0]-'0'+1)%10), 1)
	u.with("BKFS_RECOVERY_KEY="+mistyped).refused(exitWrongSecret, "recovery key: group 1 ", "mount", point)

	kept(u.with("BKFS_FIDO2_DEVICE=" + soft(mine)))
	kept(u.with("BKFS_RECOVERY_KEY=" + key))

	owner := u.with("BKFS_FIDO2_DEVICE=" + soft(mine))
	for _, flag := range []string{"pin", "presence", "verification"} {
		undo := onConfigs(2, func(b []byte) []byte {
			on, off := fmt.Sprintf("%q: true", flag), fmt.Sprintf("%q: false", flag)
			if bytes.Contains(b, []byte(on)) {
				return edit(on, off)(b)
			}
			return edit(off, on)(b)
		})(u)
		if r := owner.run(program, "mount", point); r.code == exitOK || mounted(point) {
			t.Errorf("opened with %q changed in the config", flag)
		} else {
			t.Logf("%q changed: exit code %d: %s", flag, r.code, r.stderr)
		}
		undo()
	}
	kept(owner)
}

// The token's own troubles have an exit code and say what to do.
func TestTokenTrouble(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("pin", softtoken.Options{PIN: "135790"})
	right, wrong := u.with("BKFS_FIDO2_PIN_COMMAND=echo 135790"), u.with("BKFS_FIDO2_PIN_COMMAND=echo 000000")
	right.enroll(token, "--fido2-with-client-pin")
	device := "BKFS_FIDO2_DEVICE=" + soft(token)
	right, wrong, u = right.with(device), wrong.with(device), u.with(device)
	right.bkfs("check")

	u.refused(exitTokenTrouble, "(?s)PIN.*hint: ", "check")
	for _, message := range []string{"7 tries left", "6 tries left"} {
		before := u.seen(token).PIN
		wrong.refused(exitWrongSecret, message, "check")
		if n := u.seen(token).PIN - before; n != 1 {
			t.Errorf("a wrong PIN cost %d tries", n)
		}
	}
	right.bkfs("check")

	must(t, softtoken.Behave(token, func(b *softtoken.Behaviour) { b.Quirks.Mute = true }))
	right.refused(exitTokenTrouble, "(?i)answer|time|busy", "check")
}

// configs lists the two copies of the config.
func (u *user) configs() []string {
	u.Helper()
	var found []string
	entries, err := os.ReadDir(u.path("repo"))
	must(u, err)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), "config") {
			found = append(found, u.path("repo", e.Name()))
		}
	}
	if len(found) != 2 {
		u.Fatalf("the config's copies: %q, want two", found)
	}
	return found
}

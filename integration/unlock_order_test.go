package integration

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"bkfs/hardware/softtoken"
)

// The right token is found among eight, the last of which it is, and one of which never answers.
func TestEightTokens(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	var tokens []string
	for i := range 8 {
		tokens = append(tokens, u.token(fmt.Sprint(i), softtoken.Options{}))
	}
	u.enroll(tokens[7], "--label", "the eighth")
	u = u.with("BKFS_FIDO2_DEVICE=" + soft(tokens...))
	for _, dead := range []bool{false, true} {
		must(t, softtoken.Behave(tokens[3], func(b *softtoken.Behaviour) { b.Quirks.Mute = dead }))
		begin := time.Now()
		r := u.run(program, "token", "test")
		t.Logf("one dead: %v: the whole unlock took %v", dead, time.Since(begin))
		if r.code != exitOK || !strings.Contains(r.stderr, "Touch your security key (the eighth)…\n") {
			t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
		}
		if told := strings.Contains(r.stderr, tokens[3]+": no answer"); told != dead {
			t.Errorf("told of the dead token: %v, want %v:\n%s", told, dead, r.stderr)
		}
	}
	for i, token := range tokens[:7] {
		if s := u.seen(token); s.Blinks != 0 || i != 3 && s.Silent == 0 {
			t.Errorf("token %d: %+v, want silent questions only", i, s)
		}
	}
}

// Of several tokens that fit the first to be touched unlocks, whatever slot it is for.
func TestFirstTouched(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	button := softtoken.Options{}
	a, b := u.token("a", button), u.token("b", button)
	u.enroll(a, "--label", "blue")
	u = u.with("BKFS_FIDO2_DEVICE=" + soft(a, b))
	u.bkfs("key", "add", "--label", "green", "--fido2-device", soft(b))
	for _, token := range []string{a, b} {
		must(t, softtoken.Behave(token, func(b *softtoken.Behaviour) { b.Button = true }))
	}
	go softtoken.Press(t.Context(), b)
	r := u.run(program, "token", "test", "--json")
	if r.code != exitOK || !strings.Contains(r.stdout, `"label": "green"`) || !strings.Contains(r.stderr, "Touch one of your security keys (blue; green)…") {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if status, err := softtoken.Read(a); err != nil || status.Blinking {
		t.Errorf("the other token still blinks (%v)", err)
	}
	// Where one breaks off, the other one goes on; here the first gives an unusable secret.
	must(t, softtoken.Behave(a, func(b *softtoken.Behaviour) { b.Button, b.Quirks.ZeroSecret = false, true }))
	must(t, softtoken.Behave(b, func(b *softtoken.Behaviour) { b.Button, b.Touch = false, time.Second }))
	if r := u.run(program, "token", "test"); r.code != exitOK {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	// One that gives another secret than at enrolment doesn't open its slot, and the other one is asked next.
	must(t, softtoken.Behave(a, func(b *softtoken.Behaviour) { b.Quirks.ZeroSecret, b.Quirks.ChangingSecret = false, true }))
	if r := u.run(program, "token", "test"); r.code != exitOK {
		t.Errorf("exit code %d\n%s%s", r.code, r.stdout, r.stderr)
	}
}

// A token that is plugged in meanwhile is picked up; without --wait nothing waits when there is no terminal.
func TestWaitForToken(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token, wrong := u.token("mine", softtoken.Options{}), u.token("wrong", softtoken.Options{})
	u.enroll(token, "--label", "blue")
	away := token + ".away"
	must(t, os.Rename(token, away))
	u = u.with("BKFS_FIDO2_DEVICE=" + soft(wrong, token))
	u.refused(exitNoToken, `(?s)look for a token.*hint: .*blue`, "check")
	u.refused(exitNoToken, `Plug in your token`, "--wait", "1s", "check")
	plug := time.AfterFunc(time.Second, func() { os.Rename(away, token) })
	defer plug.Stop()
	u.bkfs("--wait", "2m", "check")
	if n := u.seen(wrong).Silent; n != 3 {
		t.Errorf("the wrong token was asked %d times by 3 commands", n)
	}
	u.refused(exitError, "negative", "--wait", "-1s", "check")
}

// --unlock-timeout ends what would wait longer, with its own exit code.
func TestUnlockTimeout(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("mine", softtoken.Options{})
	u.enroll(token)
	u = u.with("BKFS_FIDO2_DEVICE=" + soft(token))
	must(t, softtoken.Behave(token, func(b *softtoken.Behaviour) { b.Button = true }))
	const sentence = "bkfs: unlocking took longer than 1s\nhint: "
	u.refused(exitTokenTrouble, sentence, "--unlock-timeout", "1s", "check")
	u.refused(exitTokenTrouble, sentence, "--unlock-timeout", "1s", "token", "test")
	u.with("BKFS_PASSCOMMAND=sleep 100").refused(exitTokenTrouble, sentence, "--unlock-timeout", "1s", "check")
	u.with("BKFS_FIDO2_DEVICE=/dev/null/nothing").refused(exitTokenTrouble, sentence, "--unlock-timeout", "1s", "--wait", "1h", "check")
	must(t, softtoken.Behave(token, func(b *softtoken.Behaviour) { b.Button = false }))
	u.bkfs("--unlock-timeout", "1m", "check")
}

// bkfs token test opens a slot, and nothing else.
func TestTokenTest(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	blue, green, other := u.token("blue", softtoken.Options{}), u.token("green", softtoken.Options{PIN: "135790"}), u.token("other", softtoken.Options{})
	u.enroll(blue, "--label", "blue")
	owner := u.with("BKFS_FIDO2_DEVICE="+soft(blue), "BKFS_FIDO2_PIN_COMMAND=echo 135790")
	owner.bkfs("key", "add", "--label", "green", "--fido2-device", soft(green), "--fido2-with-client-pin=yes")
	owner.with("BKFS_NEW_PASSPHRASE="+passphrase).bkfs("key", "add", "--label", "paper")
	var slots []struct{ ID, Label string }
	must(t, json.Unmarshal([]byte(u.bkfs("key", "list", "--no-unlock", "--json")), &slots))
	before, err := os.ReadFile(u.configs()[0])
	must(t, err)

	owner.bkfs("token", "test")
	owner.bkfs("token", "test", "blue")
	owner.with("BKFS_FIDO2_DEVICE="+soft(other, green)).bkfs("token", "test", "green")
	var answer struct {
		Slot, Label, Device string
		Opens               bool
	}
	must(t, json.Unmarshal([]byte(owner.bkfs("token", "test", "--json", slots[0].ID)), &answer))
	if answer.Slot != slots[0].ID || answer.Label != "blue" || answer.Device != soft(blue) || !answer.Opens {
		t.Errorf("answer %+v, slots %+v", answer, slots)
	}
	// A passphrase that was given has nothing to do with it.
	owner.with("BKFS_PASSPHRASE=wrong").bkfs("token", "test")

	owner.refused(exitNoToken, "its tokens: green", "token", "test", "green")
	owner.with("BKFS_FIDO2_DEVICE="+soft(other)).refused(exitNoToken, "its tokens: blue, green", "token", "test")
	owner.with("BKFS_FIDO2_DEVICE=none").refused(exitNoToken, "turned off", "token", "test")
	owner.refused(exitError, "(?s)no such key slot.*hint", "token", "test", "red")
	owner.refused(exitError, "takes no token", "token", "test", "paper")
	pin := owner.with("BKFS_FIDO2_DEVICE=" + soft(green))
	pin.with("BKFS_FIDO2_PIN_COMMAND=echo 000000").refused(exitWrongSecret, "wrong PIN: 7 tries left", "token", "test", "green")
	pin.with("BKFS_FIDO2_PIN_COMMAND").refused(exitTokenTrouble, "asks for its PIN", "token", "test", "green")
	must(t, softtoken.Behave(blue, func(b *softtoken.Behaviour) { b.Quirks.ChangingSecret = true }))
	owner.refused(exitWrongSecret, "(?s)blue|fido2 slot.*hint: .*enrolment", "token", "test", "blue")
	must(t, softtoken.Behave(blue, func(b *softtoken.Behaviour) { b.Quirks.Mute = true }))
	owner.refused(exitTokenTrouble, "no answer in time", "token", "test", "blue")
	after, err := os.ReadFile(u.configs()[0])
	if must(t, err); string(after) != string(before) {
		t.Error("testing changed the config")
	}
}

// The policies have systemd-cryptenroll's names and values, and are in the slot.
func TestPolicies(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	for i, row := range []struct {
		options                     softtoken.Options
		flags                       []string
		pin, presence, verification bool
		algorithm                   string
	}{
		{softtoken.Options{}, nil, false, true, false, "es256"},
		{softtoken.Options{PIN: "135790"}, []string{"--fido2-with-client-pin=yes", "--fido2-credential-algorithm=eddsa"}, true, true, false, "eddsa"},
		{softtoken.Options{PIN: "135790"}, []string{"--fido2-with-client-pin=no"}, false, true, false, "es256"},
		{softtoken.Options{Behaviour: softtoken.Behaviour{UV: true}}, []string{"--fido2-with-user-verification=yes"}, false, true, true, "es256"},
		{softtoken.Options{PIN: "135790"}, []string{"--fido2-with-user-verification"}, true, true, true, "es256"},
		{softtoken.Options{Behaviour: softtoken.Behaviour{CTAP20: true}}, []string{"--fido2-with-user-presence=no"}, false, false, false, "es256"},
		{softtoken.Options{PIN: "135790", Behaviour: softtoken.Behaviour{AlwaysUV: true}}, nil, true, true, false, "es256"},
	} {
		token := u.token(fmt.Sprint(i), row.options)
		v := u.with("BKFS_REPOSITORY="+u.path(fmt.Sprint("repo", i)), "BKFS_FIDO2_PIN_COMMAND=echo 135790", "BKFS_FIDO2_DEVICE="+soft(token))
		v.bkfs(append([]string{"init", "--no-recovery-key", "--fido2-device", soft(token)}, row.flags...)...)
		var slots []struct {
			FIDO2 struct {
				PIN, Presence, Verification bool
				Algorithm                   string
			}
		}
		must(t, json.Unmarshal([]byte(v.bkfs("key", "list", "--json")), &slots)) // unlocks with it
		f := slots[0].FIDO2
		if f.PIN != row.pin || f.Presence != row.presence || f.Verification != row.verification || f.Algorithm != row.algorithm {
			t.Errorf("%q: the slot says %+v", row.flags, f)
		}
		blinked, pins := u.seen(token).Blinks, u.seen(token).PIN
		v.bkfs("token", "test")
		if touched := u.seen(token).Blinks > blinked; touched != row.presence {
			t.Errorf("%q: touched: %v", row.flags, touched)
		}
		if asked := u.seen(token).PIN > pins; asked != row.pin {
			t.Errorf("%q: asked for the PIN: %v", row.flags, asked)
		}
	}
	token := u.token("strict", softtoken.Options{})
	for _, row := range [][]string{
		{"neither yes nor no", "--fido2-with-client-pin=maybe"},
		{"neither es256 nor eddsa", "--fido2-credential-algorithm=rs256"},
		{"(?s)has no PIN.*hint: set a PIN", "--fido2-with-client-pin=yes"},
		{"nor a PIN", "--fido2-with-user-verification=yes"},
		{"(?s)hint: .*only when touched", "--fido2-with-user-presence=no"},
	} {
		r := u.run(program, append([]string{"init", "--fido2-device", soft(token)}, row[1:]...)...)
		if r.code == exitOK || !regexp.MustCompile(row[0]).MatchString(r.stderr) {
			t.Errorf("%q: exit code %d\n%s", row[1:], r.code, r.stderr)
		}
	}
	if _, err := os.Stat(u.path("repo")); err == nil {
		t.Error("a refused init left a repository behind")
	}
}

// fake puts a shell script in front of the user's PATH.
func (u *user) fake(name, script string) *user {
	u.Helper()
	dir, err := os.MkdirTemp(u.dir, "fake-")
	must(u, err)
	must(u, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755))
	return u.with("PATH=" + dir + ":" + u.vars["PATH"])
}

// A touch is also asked for on the desktop, where there is one, unless that is turned off. It never holds anything up.
func TestNotify(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("mine", softtoken.Options{})
	u.enroll(token, "--label", "<blue> & green")
	must(t, softtoken.Behave(token, func(b *softtoken.Behaviour) { b.Button = true }))
	u = u.with("BKFS_FIDO2_DEVICE=" + soft(token))
	note := u.path("note")
	u = u.fake("notify-send", `echo "$*" >`+note+`.new; mv `+note+`.new `+note+`; sleep 1000`)
	desktop := u.with("DBUS_SESSION_BUS_ADDRESS=unix:path=" + u.path("bus"))
	for _, row := range []struct {
		name string
		user *user
		args []string
		want bool
	}{
		{"desktop", desktop, nil, true},
		{"no desktop", u, nil, false},
		{"option", desktop, []string{"--no-notify"}, false},
		{"environment", desktop.with("BKFS_NOTIFY=0"), nil, false},
		{"broken", desktop.fake("notify-send", "touch "+note+"; exit 1"), nil, true},
	} {
		os.Remove(note)
		pressed := make(chan error, 1)
		go func() {
			err := softtoken.AwaitBlink(t.Context(), token)
			for end := time.Now().Add(patience); err == nil && row.want && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
				if _, err := os.Stat(note); err == nil {
					break
				}
			}
			pressed <- softtoken.Press(t.Context(), token)
		}()
		row.user.bkfs(append(row.args, "check")...)
		must(t, <-pressed)
		text, err := os.ReadFile(note)
		if (err == nil) != row.want || row.name == "desktop" && !strings.Contains(string(text), "Touch your security key (&lt;blue&gt; &amp; green)") {
			t.Errorf("%s: notice %q, %v, want one: %v", row.name, text, err, row.want)
		}
	}
}

// Without a terminal systemd's password agents are asked, but only by its services, or when told to.
func TestAskPassword(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("pin", softtoken.Options{PIN: "135790"})
	u.with("BKFS_FIDO2_PIN_COMMAND=echo 135790").enroll(token, "--fido2-with-client-pin=yes", "--label", "blue")
	u = u.with("BKFS_FIDO2_DEVICE="+soft(token), "INVOCATION_ID")
	must(t, os.MkdirAll(u.path("run/systemd/ask-password"), 0o755))
	asked := u.path("asked")
	agent := u.fake("systemd-ask-password", `echo "$*" >>`+asked+`; echo 135790`)
	for _, row := range []struct {
		name string
		user *user
		args []string
		code int
	}{
		{"not told to", agent, nil, exitTokenTrouble},
		{"environment", agent.with("BKFS_ASK_PASSWORD=1"), nil, exitOK},
		{"option", agent, []string{"--ask-password"}, exitOK},
		{"service", agent.with("INVOCATION_ID=0123456789abcdef"), nil, exitOK},
		{"service, turned off", agent.with("INVOCATION_ID=0123456789abcdef", "BKFS_ASK_PASSWORD=0"), nil, exitTokenTrouble},
		{"service, option off", agent.with("INVOCATION_ID=0123456789abcdef", "BKFS_ASK_PASSWORD=1"), []string{"--ask-password=no"}, exitTokenTrouble},
	} {
		os.Remove(asked)
		r := row.user.run(program, append(row.args, "check")...)
		text, _ := os.ReadFile(asked)
		if r.code != row.code {
			t.Errorf("%s: exit code %d, want %d\n%s", row.name, r.code, row.code, r.stderr)
		}
		if want := row.code == exitOK; strings.Contains(string(text), "PIN of blue (8 tries left)") != want {
			t.Errorf("%s: asked %q", row.name, text)
		}
	}
	nobody := agent.fake("systemd-ask-password", "exit 1").with("BKFS_ASK_PASSWORD=1")
	nobody.refused(exitWrongSecret, "nobody answered .PIN of blue", "check")

	plain := agent.with("BKFS_REPOSITORY="+u.path("plain"), "BKFS_FIDO2_DEVICE=none")
	plain.with("BKFS_NEW_PASSPHRASE=" + passphrase).bkfs("init")
	plain.fake("systemd-ask-password", "echo "+passphrase).with("BKFS_ASK_PASSWORD=1").bkfs("check")
	plain.refused(exitWrongSecret, "no passphrase", "check")
}

package guest

import (
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"bkfs/hardware/softtoken"
)

// Both tokens are listed by libfido2's own program and by bkfs, and the keyboard by neither.
func TestEnumeration(t *testing.T) {
	p := newPerson(t, 0)
	if out := p.do("fido2-token", "-L"); out != "" {
		t.Errorf("fido2-token -L finds tokens before one is plugged in:\n%s", out)
	}
	if out := strings.TrimSpace(p.bkfs("token", "list", "--json")); out != "[]" {
		t.Errorf("bkfs token list without a token: %s", out)
	}
	first := p.plug(p.token("first", softtoken.Options{}))
	keyboard := p.keyboard()
	second := p.plug(p.token("second", softtoken.Options{PIN: "135790"}))
	want := []string{first.Path, second.Path}
	slices.Sort(want)

	out := p.do("fido2-token", "-L")
	t.Logf("fido2-token -L:\n%s", out)
	got := regexp.MustCompile(`(?m)^/dev/hidraw\d+`).FindAllString(out, -1)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("fido2-token -L finds %q, want %q", got, want)
	}
	if out := p.do("fido2-token", "-I", second.Path); !strings.Contains(out, "hmac-secret") || !strings.Contains(out, "pin retries: 8") {
		t.Errorf("fido2-token -I %s:\n%s", second.Path, out)
	}

	t.Logf("bkfs token list:\n%s", p.bkfs("token", "list"))
	var listed []struct {
		Device     string
		Product    string
		VendorID   int  `json:"vendor_id"`
		HMACSecret bool `json:"hmac_secret"`
		PIN        bool
	}
	must(t, json.Unmarshal([]byte(p.bkfs("token", "list", "--json")), &listed))
	got = nil
	for _, l := range listed {
		got = append(got, l.Device)
		if l.VendorID != vendorID || !strings.HasPrefix(l.Product, productName) || !l.HMACSecret || l.PIN != (l.Device == second.Path) {
			t.Errorf("bkfs token list: %+v", l)
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("bkfs token list finds %q, want %q; the keyboard is %s", got, want, keyboard.Path)
	}
}

// The token that was enrolled opens the repository again after it was unplugged, whatever node it gets.
func TestReplug(t *testing.T) {
	p := newPerson(t, 0)
	path, other := p.token("mine", softtoken.Options{}), p.token("other", softtoken.Options{})
	mine := p.plug(path)
	p.bkfs("init", "--fido2-device", "auto")
	before := mine.Path
	p.unplug(mine)

	p.refused(exitNoToken, "token.*hint: ", "check")
	p.plug(other)
	p.refused(exitNoToken, "token.*hint: ", "check")
	p.keyboard()
	if mine = p.plug(path); mine.Path == before {
		t.Fatalf("the token is %s again: the test proves nothing", before)
	}
	p.bkfs("check")
	if s := p.seen(other); s.Silent == 0 || s.Assertion+s.Blinks+s.MakeCredential != 0 {
		t.Errorf("the other token was not probed, or was disturbed: %+v", s)
	}

	p.unplug(mine)
	p.refused(exitNoToken, "token.*hint: ", "check")
	p.plug(path)
	p.bkfs("check")
}

// A token unplugged while bkfs waits for its touch is told of at once: later the message would be another, that there
// was no answer in time.
func TestUnplugDuringTouch(t *testing.T) {
	p := newPerson(t, 0)
	path := p.token("mine", softtoken.Options{})
	mine := p.plug(path)
	p.plug(p.token("other", softtoken.Options{}))
	p.bkfs("init", "--fido2-device", mine.Path)
	must(t, softtoken.Behave(path, func(b *softtoken.Behaviour) { b.Button = true }))

	wait := p.start("bkfs", "check")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	must(t, softtoken.AwaitBlink(ctx, path))
	p.unplug(mine)
	p.failed(wait(), exitTokenTrouble, "unplugged")

	must(t, softtoken.Behave(path, func(b *softtoken.Behaviour) { b.Button = false }))
	p.plug(path)
	p.bkfs("check")
}

// Who may not open the node is told so and what to do, although libfido2 leaves such tokens out of its list.
func TestPermission(t *testing.T) {
	p := newPerson(t, 1000)
	path := p.token("mine", softtoken.Options{})
	mine := p.plug(path)
	p.bkfs("init", "--fido2-device", "auto")
	p.bkfs("check")

	const refusal = "no permission.*hint: .*/etc/udev/rules.d/"
	must(t, os.Chown(mine.Path, 0, 0))
	p.refused(exitTokenTrouble, regexp.QuoteMeta(mine.Path)+".*"+refusal, "check")
	p.refused(exitTokenTrouble, regexp.QuoteMeta(mine.Path)+".*"+refusal, "check", "--unlock-fido2-device", mine.Path)
	p.refused(exitTokenTrouble, regexp.QuoteMeta(mine.Path)+".*"+refusal, "token", "list")
	p.refused(exitTokenTrouble, regexp.QuoteMeta(mine.Path)+".*"+refusal, "key", "add", "--fido2-device", "auto")

	other := p.plug(p.token("other", softtoken.Options{}))
	p.refused(exitTokenTrouble, refusal, "check")
	r := p.start("bkfs", "token", "list")()
	if r.code != exitOK || !strings.Contains(r.stdout, other.Path) || !regexp.MustCompile("(?s)"+refusal).MatchString(r.stderr) {
		t.Errorf("bkfs token list: exit code %d, want the token %s, and the other refused:\n%s%s", r.code, other.Path, r.stdout, r.stderr)
	}

	must(t, os.Chmod(mine.Path, 0o666))
	p.bkfs("check")
}

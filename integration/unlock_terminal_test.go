package integration

import (
	"os"
	"strings"
	"testing"

	"bkfs/hardware/softtoken"
)

// On a terminal a person may plug the token in or type, whichever comes first.
func TestPlugInOrType(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("mine", softtoken.Options{})
	key := u.enroll(token, "--label", "blue")
	away := token + ".away"
	must(t, os.Rename(token, away))
	u = u.with("BKFS_FIDO2_DEVICE=" + soft(token))

	const question = "Plug in your token, or type the recovery key for .*: "
	text, err := dialog(u.command(program, "check"), question+" => "+strings.ReplaceAll(key, "\n", " ")+"\n")
	if err != nil || strings.Contains(text, "Touch") {
		t.Errorf("typed: %v\n%s", err, text)
	}
	// Half a line is typed when the token comes: it is dropped, and the terminal is as before.
	shell := u.command("bash", "-c", program+` check && stty -a && echo ready && read x && echo "left:[$x]"`)
	text, err = converse(shell, question+"\nready => \n", func(terminal *os.File) {
		terminal.WriteString("half a li")
		must(t, os.Rename(away, token))
	})
	if err != nil || !strings.Contains(text, "Touch your security key (blue)") || !strings.Contains(text, " echo ") || !strings.Contains(text, "left:[]") {
		t.Errorf("plugged in: %v\n%s", err, text)
	}
	must(t, os.Rename(token, away))
	// Nobody comes: there is still the question, with no end but the user's.
	text, err = dialog(u.command(program, "--wait", "0", "check"), "Recovery key for .*: => "+strings.ReplaceAll(key, "\n", " ")+"\n")
	if err != nil {
		t.Errorf("not waiting: %v\n%s", err, text)
	}
	// Where nothing can be typed, there is no question.
	text, err = converse(u.command(program, "token", "test"), "Plug in your token…\nTouch\n", func(*os.File) { os.Rename(away, token) })
	if err != nil || strings.Contains(text, "type") {
		t.Errorf("token test: %v\n%s", err, text)
	}
}

// A person who mistypes the PIN is asked again, having seen what is left, until the token wants to be unplugged.
func TestPINOnTerminal(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	token := u.token("pin", softtoken.Options{PIN: "135790"})
	u.with("BKFS_FIDO2_PIN_COMMAND=echo 135790").enroll(token, "--fido2-with-client-pin=yes", "--label", "blue")
	u = u.with("BKFS_FIDO2_DEVICE=" + soft(token))

	text, err := dialog(u.command(program, "token", "test"), `PIN of blue \(8 tries left\): => 000000
wrong PIN: 7 tries left\s+PIN of blue \(7 tries left\): => 135790
`)
	if err != nil || strings.Contains(text, "135790") || strings.Index(text, "Touch your security key (blue)") < strings.Index(text, "PIN of blue") {
		t.Errorf("%v\n%s", err, text)
	}
	text, err = dialog(u.command(program, "token", "test"), `8 tries left\): => 000000
7 tries left\): => 000001
6 tries left\): => 000002
`)
	if err == nil || !strings.Contains(text, "unplug the token") || strings.Contains(text, "5 tries left):") {
		t.Errorf("three wrong ones: %v\n%s", err, text)
	}
	// Each run plugs the token in anew.
	dialog(u.command(program, "token", "test"), "5 tries left\\): => 0000\n4 tries left\\): => 0000\n3 tries left\\): => 0000\n")
	text, err = dialog(u.command(program, "token", "test"), "after 2 more wrong PINs.*\\s+PIN of blue \\(2 tries left\\): => 0000\nafter 1 more wrong PIN .*\\s+PIN of blue \\(1 try left\\): => 0000\n")
	if err == nil || !strings.Contains(text, "PIN is blocked: only a reset") {
		t.Errorf("the last one: %v\n%s", err, text)
	}
	text, err = dialog(u.command(program, "token", "test"), "")
	if err == nil || strings.Contains(text, "PIN of blue") || !strings.Contains(text, "PIN is blocked") {
		t.Errorf("blocked: %v\n%s", err, text)
	}
}

// Of several tokens that need their PIN the user says which.
func TestWhosePIN(t *testing.T) {
	t.Parallel()
	u := newUser(t)
	a, b := u.token("a", softtoken.Options{PIN: "111111"}), u.token("b", softtoken.Options{PIN: "222222"})
	u.with("BKFS_FIDO2_PIN_COMMAND=echo 111111").enroll(a, "--fido2-with-client-pin=yes", "--label", "blue")
	_, err := dialog(u.with("BKFS_FIDO2_DEVICE="+soft(a)).command(program, "key", "add", "--fido2-device", soft(b), "--fido2-with-client-pin=yes", "--label", "green"),
		"PIN of blue .*: => 111111\nPIN of green .*: => 222222\n")
	must(t, err)
	u = u.with("BKFS_FIDO2_DEVICE=" + soft(a, b))
	before := u.seen(a).PIN
	text, err := dialog(u.command(program, "token", "test"), "1  .*blue\\s+2  .*green\\s+Which token .1-2.. => 2\nPIN of green .*: => 222222\n")
	if err != nil || u.seen(a).PIN != before || !strings.Contains(text, "opens key slot green") {
		t.Errorf("%v, the other token saw %d PINs\n%s", err, u.seen(a).PIN-before, text)
	}
	// Without a terminal it is the first.
	u.with("BKFS_FIDO2_PIN_COMMAND=echo 111111").bkfs("token", "test")
}

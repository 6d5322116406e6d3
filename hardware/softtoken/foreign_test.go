package softtoken

import (
	"bytes"
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// foreign runs one of libfido2's own tools with input, on a terminal of its own for PINs, which are typed in the
// order in which they are asked for.
func foreign(t *testing.T, input, tool string, pins string, args ...string) (string, error) {
	t.Helper()
	c := exec.CommandContext(soon(t), tool, args...)
	c.Stdin = strings.NewReader(input)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if pins != "" {
		term, err := openTerminal()
		if err != nil {
			t.Fatal(err)
		}
		defer term.close()
		// A cooked terminal, whose line discipline hands on one line a read.
		attr, err := unix.IoctlGetTermios(int(term.slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		attr.Lflag |= unix.ICANON
		if err := unix.IoctlSetTermios(int(term.slave.Fd()), unix.TCSETS, attr); err != nil {
			t.Fatal(err)
		}
		c.ExtraFiles = []*os.File{term.slave}
		c.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true, Ctty: 3}
		go typePINs(term.master, strings.Fields(pins))
	}
	err := c.Run()
	return out.String(), err
}

// typePINs answers each prompt; readpassphrase flushes what was typed before it asks.
func typePINs(master *os.File, pins []string) {
	buf := make([]byte, 4096)
	for _, pin := range pins {
		_ = master.SetReadDeadline(time.Now().Add(10 * time.Second))
		for said := ""; !strings.Contains(said, ": "); {
			n, err := master.Read(buf)
			if err != nil {
				return
			}
			said += string(buf[:n])
		}
		if _, err := master.WriteString(pin + "\n"); err != nil {
			return
		}
	}
}

// TestForeign has libfido2's own tools do what they can with the token: information, PIN, credentials with every
// level of credProtect, resident and not, assertions with hmac-secret, reset.
func TestForeign(t *testing.T) {
	for _, tool := range []string{"fido2-token", "fido2-cred", "fido2-assert"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("libfido2's tools are the other side of this test: %v", err)
		}
	}
	for name, behaviour := range map[string]Behaviour{"CTAP21": {}, "CTAP20": {CTAP20: true}, "Protocol1": {Protocols: []uint{1}}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, s := newServer(t, Options{Behaviour: behaviour})
			dev := s.Device()
			run := func(input, tool, pins string, args ...string) string {
				t.Helper()
				out, err := foreign(t, input, tool, pins, args...)
				if err != nil {
					t.Fatalf("%s %v: %v\n%s", tool, args, err, out)
				}
				return out
			}
			if out := run("", "fido2-token", "", "-I", dev); !strings.Contains(out, "hmac-secret") || !strings.Contains(out, "noclientPin") {
				t.Errorf("information:\n%s", out)
			}
			run("", "fido2-token", "1234 1234", "-S", dev)
			run("", "fido2-token", "1234 5678 5678", "-C", dev)
			if out, err := foreign(t, "", "fido2-token", "0000 5678 5678", "-C", dev); err == nil {
				t.Errorf("a wrong PIN was taken:\n%s", out)
			}
			if out := run("", "fido2-token", "", "-I", dev); !regexp.MustCompile(`pin retries: 7\b`).MatchString(out) {
				t.Errorf("after a wrong PIN:\n%s", out)
			}
			hash := base64.StdEncoding.EncodeToString(make([]byte, 32))
			salt := base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{9}, 32))
			user := base64.StdEncoding.EncodeToString([]byte("someone"))
			for _, kind := range []string{"es256", "eddsa"} {
				args := []string{"-M", "-h", dev, kind}
				if !behaviour.CTAP20 {
					args = []string{"-M", "-h", "-c", "3", dev, kind}
				}
				made := run(strings.Join([]string{hash, "example.org", "me", user}, "\n")+"\n", "fido2-cred", "5678", args...)
				verify := []string{"-V", "-h"}
				if !behaviour.CTAP20 {
					verify = append(verify, "-c", "3", "-v")
				}
				parts := strings.Split(run(made, "fido2-cred", "", append(verify, kind)...), "\n")
				secrets := map[string]bool{}
				for range 2 {
					in := strings.Join([]string{hash, "example.org", parts[0], salt}, "\n") + "\n"
					out := run(in, "fido2-assert", "5678", "-G", "-h", "-v", dev)
					key := filepath.Join(t.TempDir(), "key")
					if err := os.WriteFile(key, []byte(strings.Join(parts[1:], "\n")), 0o600); err != nil {
						t.Fatal(err)
					}
					run(out, "fido2-assert", "", "-V", "-h", "-v", key, kind)
					secrets[strings.Split(out, "\n")[4]] = true
				}
				if len(secrets) != 1 {
					t.Errorf("%s: two secrets for one salt", kind)
				}
			}
			run(strings.Join([]string{hash, "example.org", "me", user}, "\n")+"\n", "fido2-cred", "5678", "-M", "-r", dev)
			out := run(strings.Join([]string{hash, "example.org"}, "\n")+"\n", "fido2-assert", "5678", "-G", "-r", "-v", dev)
			if !strings.Contains(out, user) {
				t.Errorf("the resident credential's user is missing:\n%s", out)
			}
			if !behaviour.CTAP20 {
				if out := run("", "fido2-token", "5678", "-L", "-r", dev); !strings.Contains(out, "example.org") {
					t.Errorf("relying parties:\n%s", out)
				}
				out := run("", "fido2-token", "5678", "-L", "-k", "example.org", dev)
				fields := strings.Fields(out)
				if len(fields) < 3 || !strings.Contains(out, "es256") {
					t.Fatalf("resident credentials:\n%s", out)
				}
				run("", "fido2-token", "5678", "-D", "-i", fields[1], dev)
				if out, err := foreign(t, "", "fido2-token", "5678", "-L", "-k", "example.org", dev); err == nil {
					t.Errorf("still there after it was deleted:\n%s", out)
				}
			}
			run("", "fido2-token", "", "-R", dev)
			st, err := Read(path)
			if err != nil || st.PINSet {
				t.Errorf("after the reset: %+v, %v", st, err)
			}
		})
	}
}

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
)

// person answers questions in order, or isn't there.
type person struct {
	answers []string
	asked   []string
}

func (p *person) Available() bool { return len(p.answers) > 0 }

func (p *person) Secret(_ context.Context, question string) ([]byte, error) {
	p.asked = append(p.asked, question)
	if len(p.answers) == 0 {
		return nil, errNoTerminal
	}
	answer := p.answers[0]
	p.answers = p.answers[1:]
	return []byte(answer), nil
}

func (p *person) Line(ctx context.Context, question string) (string, error) {
	b, err := p.Secret(ctx, question)
	return string(b), err
}

func testApp(t *testing.T, p *person) (*app, *bytes.Buffer) {
	t.Helper()
	dir := t.TempDir()
	env := map[string]string{"HOME": dir}
	out := &bytes.Buffer{}
	return &app{
		term: &terminal{out: out, err: io.Discard}, ask: p,
		getenv: func(k string) string { return env[k] },
	}, out
}

// pipe returns a source that reads text from a descriptor.
func pipe(t *testing.T, text string) source {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.WriteString(text); err != nil {
		t.Fatal(err)
	}
	w.Close()
	fd, err := dup(r)
	if err != nil {
		t.Fatal(err)
	}
	return source{name: "passphrase", fd: fmt.Sprint(fd)}
}

func TestSourceRead(t *testing.T) {
	tests := []struct {
		class string
		from  func(t *testing.T) source
		want  string
		err   string
	}{
		{"value", func(*testing.T) source { return source{value: []byte("a b")} }, "a b", ""},
		{"command", func(*testing.T) source { return source{command: `printf '%s\n' "a  b"`} }, "a  b", ""},
		{"command without a shell", func(*testing.T) source { return source{command: `printf %s $HOME`} }, "$HOME", ""},
		{"descriptor", func(t *testing.T) source { return pipe(t, "a b\n") }, "a b", ""},
		{"descriptor with CR LF", func(t *testing.T) source { return pipe(t, "a\r\n") }, "a", ""},
		{"only one line break goes", func(t *testing.T) source { return pipe(t, "a\n\n") }, "a\n", ""},
		{"value before command", func(*testing.T) source { return source{value: []byte("v"), command: "false"} }, "v", ""},
		{"empty", func(t *testing.T) source { return pipe(t, "\n") }, "", "empty"},
		{"too long", func(t *testing.T) source { return pipe(t, strings.Repeat("x", maxSecret+1)) }, "", "longer than"},
		{"not a descriptor", func(*testing.T) source { return source{fd: "x"} }, "", "descriptor"},
		{"closed descriptor", func(*testing.T) source { return source{fd: "987"} }, "", "descriptor"},
		{"command fails", func(*testing.T) source { return source{command: "sh -c 'echo half; exit 3'"} }, "", "exit status 3"},
		{"no such command", func(*testing.T) source { return source{command: "/does/not/exist"} }, "", "/does/not/exist"},
		{"bad quoting", func(*testing.T) source { return source{command: "echo 'x"} }, "", "quotation"},
		{"endless command", func(*testing.T) source { return source{command: "yes"} }, "", "longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.class, func(t *testing.T) {
			s := tt.from(t)
			got, err := s.read(t.Context())
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Fatalf("got %q, error %v, want an error with %q", got, err, tt.err)
				}
				return
			}
			if err != nil || string(got) != tt.want {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestTakeSecretsEmptiesEnvironment(t *testing.T) {
	names := []string{
		"BKFS_PASSPHRASE", "BKFS_PASSCOMMAND", "BKFS_PASSPHRASE_FD",
		"BKFS_NEW_PASSPHRASE", "BKFS_NEW_PASSCOMMAND", "BKFS_NEW_PASSPHRASE_FD",
		"BKFS_RECOVERY_KEY", "BKFS_RECOVERY_KEY_COMMAND", "BKFS_RECOVERY_KEY_FD",
		"BKFS_FIDO2_PIN_COMMAND", "BKFS_FIDO2_PIN_FD",
	}
	for _, n := range names {
		t.Setenv(n, "3")
		if !strings.Contains(secretVariables(), n+" ") {
			t.Errorf("%s isn't documented", n)
		}
	}
	s := takeSecrets()
	for _, n := range names {
		if _, ok := os.LookupEnv(n); ok {
			t.Errorf("%s is still in the environment", n)
		}
	}
	for _, src := range []source{s.passphrase, s.newPassphrase, s.recovery, s.pin} {
		if !src.given() || src.command == "" || src.fd == "" {
			t.Errorf("%s: not all sources were taken: %+v", src.name, src)
		}
	}
}

// A new secret never comes from an old one's source, nor the other way round.
func TestNewPassphraseSources(t *testing.T) {
	old, fresh := source{value: []byte("old")}, source{value: []byte("new")}
	tests := []struct {
		class   string
		secrets secretSources
		person  person
		want    string
		err     error
		asked   int
	}{
		{"new source", secretSources{passphrase: old, newPassphrase: fresh}, person{answers: []string{"typed"}}, "new", nil, 0},
		{"old source isn't read", secretSources{passphrase: old}, person{}, "", errNoSecret, 0},
		{"old source isn't read, terminal is", secretSources{passphrase: old}, person{answers: []string{"typed", "typed"}}, "typed", nil, 2},
		{"typed twice differently", secretSources{}, person{answers: []string{"a", "b"}}, "", errAny, 2},
		{"typed empty", secretSources{}, person{answers: []string{""}}, "", errNoSecret, 1},
	}
	for _, tt := range tests {
		t.Run(tt.class, func(t *testing.T) {
			a, _ := testApp(t, &tt.person)
			a.secrets = tt.secrets
			got, err := a.readNewPassphrase(t.Context())
			if (err != nil) != (tt.err != nil) || tt.err != nil && !errors.Is(tt.err, errAny) && !errors.Is(err, tt.err) {
				t.Fatalf("got error %v, want %v", err, tt.err)
			}
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			if len(tt.person.asked) != tt.asked {
				t.Errorf("asked %q, want %d questions", tt.person.asked, tt.asked)
			}
		})
	}
}

var errAny = errors.New("any error")

// The PIN that was given is used once: a token locks itself after a few tries.
func TestPINIsGivenOnce(t *testing.T) {
	a, _ := testApp(t, &person{})
	a.secrets.pin = source{name: "PIN", command: "echo 1234"}
	if pin, err := a.askPIN(t.Context(), "PIN", 8); err != nil || string(pin) != "1234" {
		t.Fatalf("first: got %q, %v, want 1234", pin, err)
	}
	if pin, err := a.askPIN(t.Context(), "PIN", 7); err == nil {
		t.Errorf("second: got %q, want an error", pin)
	}
}

func TestReadLine(t *testing.T) {
	tests := []struct{ class, in, want, err string }{
		{"line", "abc\nrest", "abc", ""},
		{"empty line", "\nrest", "", ""},
		{"end without line break", "abc", "abc", ""},
		{"end", "", "", "wasn't answered"},
		{"too long", strings.Repeat("x", maxSecret+1) + "\n", "", "longer than"},
	}
	for _, tt := range tests {
		t.Run(tt.class, func(t *testing.T) {
			got, err := readLine(strings.NewReader(tt.in))
			if tt.err == "" && (err != nil || string(got) != tt.want) {
				t.Errorf("got %q, %v, want %q", got, err, tt.want)
			}
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("got error %v, want %q", err, tt.err)
			}
		})
	}
}

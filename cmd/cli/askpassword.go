package cli

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"bkfs/archive/seal"
)

// askPasswordTimeout is systemd-ask-password's own default; then nobody is there.
const askPasswordTimeout = 90 * time.Second

// asker asks on the terminal and, when there is none, through systemd's password agents: the desktop's, plymouth's,
// or systemd-tty-ask-password-agent.
type asker struct {
	tty
	agents agents
}

func (p *asker) Available() bool { return p.tty.Available() || p.agents.available() }

func (p *asker) Secret(ctx context.Context, question string) ([]byte, error) {
	if p.tty.Available() || !p.agents.available() {
		return p.tty.Secret(ctx, question)
	}
	return p.agents.secret(ctx, question)
}

// onTerminal tells whether somebody can be told, and asked, more than a password.
func (a *app) onTerminal() bool {
	ask := a.ask
	if l, ok := ask.(*listener); ok {
		ask = l.prompter
	}
	if p, ok := ask.(*asker); ok {
		return p.tty.Available()
	}
	return ask.Available()
}

// agents are systemd's (https://systemd.io/PASSWORD_AGENTS).
type agents struct{ *app }

// available follows --ask-password or BKFS_ASK_PASSWORD. Unless one of them says so, only a service of systemd asks
// this way, as systemd's own programs do there: a script, cron or a container must not wait for somebody who never
// comes.
func (g agents) available() bool {
	wanted := g.askPassword
	if !wanted.set {
		if b, err := parseYes(g.getenv("BKFS_ASK_PASSWORD")); err == nil {
			wanted = optionalBool{true, b}
		}
	}
	if wanted.set && !wanted.b || !wanted.set && g.getenv("INVOCATION_ID") == "" {
		return false
	}
	if _, err := exec.LookPath("systemd-ask-password"); err != nil {
		return false
	}
	for _, dir := range []string{g.getenv("XDG_RUNTIME_DIR"), "/run"} { // a user's own agents since systemd 257
		if dir == "" {
			continue
		}
		if fi, err := os.Stat(filepath.Join(dir, "systemd/ask-password")); err == nil && fi.IsDir() {
			return true
		}
	}
	return false
}

func (g agents) secret(ctx context.Context, question string) ([]byte, error) {
	question = strings.TrimRight(question, ": ")
	cmd := exec.CommandContext(ctx, "systemd-ask-password", "--no-tty", "--icon=dialog-password", "--id=bkfs",
		fmt.Sprintf("--timeout=%d", int(askPasswordTimeout.Seconds())), "--", question)
	cmd.Stderr = os.Stderr
	secret, err := secretOf(ctx, cmd)
	if err != nil {
		if ctx.Err() == nil {
			err = say(errNoSecret, "nobody answered %q: %v", question, err)
		}
		return nil, err
	}
	secret = trimLineBreak(secret)
	if len(secret) == 0 {
		seal.Wipe(secret)
		return nil, say(errNoSecret, "nobody answered %q", question)
	}
	return secret, nil
}

package cli

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"bkfs/hardware"
	"bkfs/hardware/softtoken"
	"bkfs/keyring"
)

// unlockSpec says where tokens are looked for to unlock: the flag, the
// environment, or any token that is plugged in.
func (u *unlocker) unlockSpec() (hardware.Spec, error) { return u.app.unlockSpec() }

func (a *app) unlockSpec() (hardware.Spec, error) {
	text := a.unlockDevice
	if text == "" {
		text = a.getenv("BKFS_FIDO2_DEVICE")
	}
	if text == "" {
		text = "auto"
	}
	spec, err := hardware.ParseSpec(text)
	if err != nil {
		return nil, fmt.Errorf("--unlock-fido2-device or BKFS_FIDO2_DEVICE: %w", err)
	}
	return spec, nil
}

// tokenSession is the tokens of one command, and the notices about them.
type tokenSession struct {
	*hardware.Tokens
	notices *notifier
}

// Close also takes away notices that nobody needs any more.
func (s *tokenSession) Close() {
	s.notices.close()
	_ = s.Tokens.Close() // a software token's power
}

// tokens opens nothing yet. slots are those whose credentials are looked for; a new one is called label. The caller
// closes it.
func (a *app) tokens(spec hardware.Spec, slots []keyring.Slot, label string) *tokenSession {
	n := a.newNotifier()
	name := func(t hardware.Asked) string {
		switch {
		case t.Credential >= 0 && t.Credential < len(slots) && slots[t.Credential].Label != "":
			return shown(slots[t.Credential].Label)
		case t.Credential < 0 && label != "":
			return shown(label)
		}
		return shown(t.Device)
	}
	return &tokenSession{notices: n, Tokens: hardware.New(spec, hardware.Options{
		Exec: []string{selfPath(), hardware.HelperCommand},
		Log:  a.log(),
		UI: hardware.UI{
			Touch: func(asked []hardware.Asked) {
				text := touchText(asked, name)
				a.term.notice("%s…", text)
				n.show(text)
			},
			PIN: func(ctx context.Context, t hardware.Asked, retries int) ([]byte, error) {
				return a.askPIN(ctx, name(t), retries)
			},
			Retype: a.onTerminal() && !a.secrets.pin.given(), // an agent may be a program
			Choose: func(ctx context.Context, tokens []hardware.Choice) (int, error) {
				return a.chooseToken(ctx, tokens, name)
			},
			Notice: func(text string) { a.term.notice("%s", text) },
			Soft:   a.warnSoft,
		},
	})}
}

func touchText(asked []hardware.Asked, name func(hardware.Asked) string) string {
	names := make([]string, len(asked))
	for i, t := range asked {
		names[i] = name(t)
	}
	if len(names) > 1 {
		return fmt.Sprintf("Touch one of your security keys (%s)", strings.Join(names, "; "))
	}
	return fmt.Sprintf("Touch your security key (%s)", names[0])
}

// warnSoft says what software tokens are worth, once a command and of all that it uses.
func (a *app) warnSoft(names []string) {
	if a.softWarned {
		return
	}
	a.softWarned = true
	for _, s := range a.enrolSpec {
		if s.Kind == hardware.Soft && !slices.Contains(names, s.String()) {
			names = append(names, s.String())
		}
	}
	for i, n := range names {
		names[i] = shown(n)
	}
	a.term.warn("%s: %s", strings.Join(names, ", "), softtoken.Warning)
}

// askPIN reads a PIN from its source, once, or asks for it.
func (a *app) askPIN(ctx context.Context, token string, retries int) ([]byte, error) {
	if a.secrets.pin.given() {
		if a.pinUsed {
			return nil, hint(hardware.ErrPINRequired, "the PIN that was given isn't tried again; no try is left to chance")
		}
		a.pinUsed = true
		return a.secrets.pin.read(ctx)
	}
	if !a.ask.Available() {
		return nil, hint(hardware.ErrPINRequired, "set BKFS_FIDO2_PIN_COMMAND or BKFS_FIDO2_PIN_FD, or run bkfs on a terminal")
	}
	left := ""
	if retries >= 0 {
		left = fmt.Sprintf(" (%d %s left)", retries, plural(retries, "try", "tries"))
	}
	if retries > 0 && retries <= fewRetries {
		a.term.warn("after %d more wrong %s the token blocks its PIN for good: only a reset, which destroys its credentials, makes it usable again",
			retries, plural(retries, "PIN", "PINs"))
	}
	return a.ask.Secret(ctx, fmt.Sprintf("PIN of %s%s: ", token, left))
}

// fewRetries is when a wrong PIN becomes dangerous.
const fewRetries = 2

// chooseToken lists several tokens and asks which is meant. To unlock without a terminal, the first one is.
func (a *app) chooseToken(ctx context.Context, tokens []hardware.Choice, name func(hardware.Asked) string) (int, error) {
	if !a.onTerminal() {
		if tokens[0].Credential >= 0 {
			return 0, nil
		}
		return 0, hint(hardware.ErrSeveral, "name one with --fido2-device; `bkfs token list` shows them")
	}
	for i, t := range tokens {
		label := ""
		if t.Credential >= 0 {
			label = name(hardware.Asked{Credential: t.Credential})
		}
		a.term.notice("%s", strings.TrimRight(fmt.Sprintf("  %d  %s  %s  %s", i+1, shown(t.Product), t.Device, strings.Trim(label, `"`)), " "))
	}
	answer, err := a.ask.Line(ctx, fmt.Sprintf("Which token (1-%d)? ", len(tokens)))
	if err != nil {
		return 0, err
	}
	n, err := strconv.Atoi(answer)
	if err != nil || n < 1 || n > len(tokens) {
		return 0, fmt.Errorf("%q is none of them", answer)
	}
	return n - 1, nil
}

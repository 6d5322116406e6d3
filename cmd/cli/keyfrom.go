package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"bkfs/archive/seal"
	"bkfs/hardware"
	"bkfs/keyring"
)

// firstFrom makes the key slots of a new repository for the key that unlocks
// another one. left are the other's slots whose keys aren't here to be carried
// over: a slot's secret is bound to its repository.
func (m *maker) firstFrom(ctx context.Context, o initFlags) (slots []keyring.Slot, recovery string, left []keyring.Entry, err error) {
	used, heard, ring, err := m.unlockOther(ctx, o.keyFrom)
	if err != nil {
		return nil, "", nil, fmt.Errorf("--key-from: %w", err)
	}
	defer seal.Wipe(heard)
	slot, err := m.carry(ctx, used, heard)
	if err != nil {
		return nil, "", nil, fmt.Errorf("--key-from: carry key slot %s over: %w", used.ID, err)
	}
	slots = append(slots, slot)
	for _, e := range ring.Entries() {
		if e.ID != used.ID.String() {
			left = append(left, e)
		}
	}
	if m.secrets.newPassphrase.given() {
		s, err := m.passphrase(ctx)
		if err != nil {
			return nil, "", nil, err
		}
		slots = append(slots, s)
	}
	want := (m.flags.recovery || used.Type.Token()) && !o.noRecovery
	if m.flags.recoveryFile != "" && !want {
		return nil, "", nil, errors.New("--recovery-key-file: no recovery key is made; add --recovery-key")
	}
	if want {
		var s keyring.Slot
		if s, recovery, err = m.newRecovery(); err != nil {
			return nil, "", nil, err
		}
		slots = append(slots, s)
	}
	return slots, recovery, left, nil
}

// unlockOther unlocks a repository and returns the slot that did it and the
// passphrase or recovery key that was given for it, if any; the caller wipes it.
func (a *app) unlockOther(ctx context.Context, path string) (used keyring.Slot, heard []byte, ring keyring.Ring, err error) {
	if path, err = filepath.Abs(path); err != nil {
		return used, nil, ring, err
	}
	r, err := repositoryAt(ctx, path)
	if err != nil {
		return used, nil, ring, err
	}
	listener := &listener{prompter: a.ask}
	a.ask = listener
	sources := []*source{&a.secrets.passphrase, &a.secrets.recovery, &a.secrets.pin}
	for _, s := range sources {
		s.keep = true
	}
	u, err := a.unlock(ctx, r)
	a.ask = listener.prompter
	if err != nil {
		seal.Wipe(listener.heard)
		return used, nil, ring, err
	}
	u.key.Destroy()
	a.pinUsed = false // it was right: the same token asks for it once more
	e, err := u.ring.Find(u.slot)
	if err != nil {
		return used, nil, ring, err
	}
	heard = listener.heard
	for _, s := range []struct {
		*source
		fits bool
	}{{&a.secrets.recovery, e.Type == keyring.TypeRecovery}, {&a.secrets.passphrase, e.Type.Passphrase()}} {
		if s.fits && len(s.value) > 0 {
			seal.Wipe(heard)
			heard = bytes.Clone(s.value)
		}
	}
	return *e.Slot, heard, u.ring, nil
}

// listener remembers the last secret that was typed, PINs apart.
type listener struct {
	prompter
	heard []byte
}

func (l *listener) Secret(ctx context.Context, question string) ([]byte, error) {
	typed, err := l.prompter.Secret(ctx, question)
	if err == nil && !strings.HasPrefix(question, "PIN ") {
		seal.Wipe(l.heard)
		l.heard = bytes.Clone(typed)
	}
	return typed, err
}

// carry makes a slot for the key of another repository's slot. Salts and
// parameters are fresh: nothing of the slot can be used again but the secret.
func (m *maker) carry(ctx context.Context, used keyring.Slot, heard []byte) (keyring.Slot, error) {
	var parts keyring.Secret
	defer func() { parts.Destroy() }()
	meta := keyring.Meta{Label: m.flags.label}
	if meta.Label == "" {
		meta.Label = used.Label
	}
	var err error
	if used.Type == keyring.TypeRecovery {
		if parts.Recovery, err = keyring.ParseRecovery(heard); err != nil {
			return keyring.Slot{}, err
		}
	}
	if used.Type.Passphrase() {
		params, err := calibrate(ctx)
		if err != nil {
			return keyring.Slot{}, err
		}
		if parts.Passphrase, err = kdf(ctx, heard, params); err != nil {
			return keyring.Slot{}, err
		}
		meta.Argon2 = &params
	}
	if used.Type.Token() {
		credential := *used.FIDO2
		credential.Salt = make([]byte, keyring.SaltSize)
		rand.Read(credential.Salt)
		if parts.Token, err = m.secretOf(ctx, used, credential); err != nil {
			return keyring.Slot{}, err
		}
		meta.FIDO2 = &credential
	}
	return keyring.NewSlot(m.id, m.key, used.Type, parts, meta)
}

// secretOf asks the token of a slot for another secret of its credential.
func (m *maker) secretOf(ctx context.Context, used keyring.Slot, credential keyring.FIDO2) (*seal.Key, error) {
	spec, err := m.unlockSpec()
	if err != nil {
		return nil, err
	}
	tokens := m.tokens(spec, []keyring.Slot{used}, "")
	defer tokens.Close()
	matches, err := tokens.Find(ctx, []keyring.FIDO2{credential})
	if err != nil {
		return nil, err
	}
	if len(matches) == 0 {
		return nil, say(hardware.ErrNoToken, "the token of key slot %s isn't there any more", used.ID)
	}
	m.term.notice("Once more, for the new repository.")
	_, key, err := tokens.Secret(ctx, matches, []keyring.FIDO2{credential})
	return key, err
}

// showLeft lists what a new repository's user may miss.
func (a *app) showLeft(carried keyring.Slot, left []keyring.Entry) {
	if len(left) == 0 {
		return
	}
	a.term.notice("The key of slot %s opens both repositories. These keys open only the other one; `bkfs key add` gives\nthe new one slots of its own for them:", carried.ID)
	for _, e := range left {
		a.term.notice("  %s  %s  %s", shown(e.ID), shown(string(e.Type)), name(e.Label))
	}
}

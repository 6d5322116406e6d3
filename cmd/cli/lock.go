package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/pflag"

	"bkfs/cmd/daemon"
	"bkfs/hardware"
	"bkfs/keyring"
)

// minIdle keeps a mount from going before its first use.
const minIdle = time.Second

// lockFlags are mount's flags for ending by itself.
type lockFlags struct {
	lock daemon.Lock
	set  *pflag.FlagSet
}

func (f *lockFlags) flags(fl *pflag.FlagSet) {
	f.set = fl
	fl.BoolVar(&f.lock.OnRemoval, "lock-on-removal", false, "flush, unmount and forget the keys when the token that unlocked is unplugged; for a\nmachine you walk away from with the token. While files are open it waits for them")
	fl.DurationVar(&f.lock.IdleTimeout, "idle-timeout", 0, "flush, unmount and forget the keys when nothing was open or used for `DURATION`, like\n30m; for a machine that stays on. An open file, or a shell in the mount, keeps it")
	fl.BoolVar(&f.lock.Force, "force-lock", false, "with --lock-on-removal or --idle-timeout: don't wait for open files. What was written\nis kept, and programs get errors from the files they have open; for when locking\nmatters more than they do")
}

// parse refuses what doesn't go together.
func (f *lockFlags) parse() (daemon.Lock, error) {
	switch {
	case f.set.Changed("idle-timeout") && f.lock.IdleTimeout < minIdle:
		return f.lock, hint(fmt.Errorf("--idle-timeout %s is too short: at least %s", f.lock.IdleTimeout, minIdle),
			"leave it out, and the mount stays until it is unmounted")
	case f.lock.Force && !f.lock.OnRemoval && f.lock.IdleTimeout == 0:
		return f.lock, hint(errors.New("--force-lock says how to lock, and nothing says when"),
			"add --lock-on-removal or --idle-timeout, or leave it out")
	}
	return f.lock, nil
}

// errNothingToWatch is told before anybody touches a token where no token can
// unlock, else after.
func errNothingToWatch(why string) error {
	return hint(fmt.Errorf("--lock-on-removal has no token to watch: %s", why),
		"unlock with a token, or leave out --lock-on-removal; --idle-timeout needs no token")
}

// canWatch refuses where it is known already that no token will unlock.
func (a *app) canWatch(r *repository) error {
	ring, err := keyring.Parse(r.config.Slots)
	if err != nil {
		return fmt.Errorf("read the key slots: %w", err)
	}
	u := &unlocker{app: a, repo: r, ring: ring}
	if !u.has(keyring.TypeFIDO2, keyring.TypeFIDO2Passphrase) {
		return errNothingToWatch("the repository has no key slot for one")
	}
	spec, err := a.unlockSpec()
	if err != nil {
		return err
	}
	if spec.None() {
		return errNothingToWatch("tokens are turned off")
	}
	return nil
}

// watched notes the token that has unlocked, as it is now.
func watched(u *unlocked) (*daemon.Token, error) {
	if u.device == "" {
		return nil, errNothingToWatch("the repository was unlocked without one")
	}
	spec, err := hardware.ParseSpec(u.device)
	if err != nil || len(spec) != 1 {
		return nil, fmt.Errorf("watch the token %s: %w", shown(u.device), errors.Join(err, hardware.ErrSpec))
	}
	t, err := daemon.SeeToken(u.device, spec[0].Path, spec[0].Kind == hardware.Soft)
	if errors.Is(err, os.ErrNotExist) {
		return nil, say(hardware.ErrAbsent, "the token %s was unplugged before the mount was ready", shown(u.device))
	}
	return t, err
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"bkfs/archive"
	"bkfs/archive/store"
	"bkfs/cmd/daemon"
	"bkfs/fs"
	"bkfs/hardware"
	"bkfs/keyring"
)

// Exit codes. They are documented by `bkfs help exit-codes` and never change.
const (
	exitOK           = 0
	exitError        = 1
	exitPartial      = 3
	exitNoRepository = 10
	exitLocked       = 11
	exitWrongSecret  = 12
	exitNoToken      = 13
	exitTokenBusy    = 14
	exitDamaged      = 15
	exitNoSpace      = 16
	exitInterrupted  = 130
)

// outcome is a row of the table: what a code means, which errors lead to it
// and what the user can do when the error itself doesn't say.
type outcome struct {
	code    int
	meaning string
	errs    []error
	hint    string
}

// outcomes is the table. The first row with a matching error decides, so what
// is more specific comes first.
func outcomes() []outcome {
	return []outcome{
		{exitOK, "done", nil, ""},
		{exitInterrupted, "interrupted (Ctrl-C)", []error{context.Canceled}, ""},
		{exitNoRepository, "there is no repository",
			[]error{archive.ErrNoRepository},
			"name it with -r or BKFS_REPOSITORY, or make one with `bkfs init`"},
		{exitLocked, "the repository is in use by somebody else",
			[]error{archive.ErrLocked},
			"`bkfs umount` what has it mounted, or wait for the other command"},
		{exitWrongSecret, "the passphrase, recovery key or PIN is wrong, or there is none",
			[]error{keyring.ErrWrongSecret, hardware.ErrPINInvalid, errNoSecret, archive.ErrBadKey},
			""},
		// Before the next: a token that didn't answer may be the one that fits.
		{exitTokenBusy, "a token is busy, blocked or not set up, didn't answer, or wasn't touched in time",
			[]error{hardware.ErrTimeout, hardware.ErrBusy, hardware.ErrPINBlocked, hardware.ErrPINAuthBlocked,
				hardware.ErrPINRequired, hardware.ErrPINNotSet, hardware.ErrUVFailed, hardware.ErrRefused,
				hardware.ErrPolicy, hardware.ErrLost, hardware.ErrPermission, hardware.ErrSecret,
				hardware.ErrHelper, hardware.ErrNotDevice},
			""},
		{exitNoToken, "no token is plugged in, or none of them fits a key slot",
			[]error{hardware.ErrNoToken, hardware.ErrAbsent, hardware.ErrNotFIDO2, hardware.ErrNoHMACSecret},
			"plug in the token that was enrolled, or unlock with a passphrase or the recovery key"},
		{exitNoToken, "no token is plugged in, or none of them fits a key slot", []error{hardware.ErrUnsupported},
			"use a bkfs that was built with cgo and libfido2, or a passphrase or recovery key"},
		{exitNoToken, "no token is plugged in, or none of them fits a key slot", []error{hardware.ErrNoLibrary},
			"install libfido2 (on Debian: libfido2-1), or use a passphrase or recovery key"},
		{exitError, "any other error, wrong usage included", []error{archive.ErrFormat},
			"a newer bkfs may know this repository"},
		{exitError, "any other error, wrong usage included", []error{fs.ErrBusy},
			"let them end first, or `bkfs umount --lazy`"},
		{exitError, "any other error, wrong usage included", []error{fs.ErrNoAbort},
			"only root can without it; `mount -t fusectl fusectl /sys/fs/fuse/connections`, or leave out --force-lock"},
		{exitDamaged, "damaged data",
			[]error{archive.ErrDamaged, keyring.ErrDamagedSlot, keyring.ErrParams, store.ErrCorrupt},
			""},
		{exitNoSpace, "no space left where the repository is",
			[]error{archive.ErrNoSpace, store.ErrQuota},
			"make room there; nothing that was acknowledged is lost"},
		{exitPartial, "done in part: what couldn't be done is listed", []error{errPartial}, ""},
		{exitError, "any other error, wrong usage included", nil, ""},
	}
}

var (
	// errPartial marks an operation that went through for some of its parts.
	errPartial = errors.New("done in part")
	// errNoSecret means that there is neither a source for a secret nor a terminal.
	errNoSecret = errors.New("no passphrase or recovery key was given")
)

// hinted carries what to do beside what went wrong.
type hinted struct {
	err  error
	hint string
}

func (h *hinted) Error() string { return h.err.Error() }
func (h *hinted) Unwrap() error { return h.err }

// plain says in its own words what errors.Is knows as another error.
type plain struct {
	message string
	err     error
}

func (p *plain) Error() string { return p.message }
func (p *plain) Unwrap() error { return p.err }

// say is err in other words.
func say(err error, format string, args ...any) error {
	return &plain{fmt.Sprintf(format, args...), err}
}

// hint adds what to do to an error. The innermost hint wins: it knows most.
func hint(err error, format string, args ...any) error {
	var h *hinted
	if err == nil || errors.As(err, &h) {
		return err
	}
	return &hinted{err, fmt.Sprintf(format, args...)}
}

// describe turns an error into what is printed and exited with, here or in
// another process.
func describe(err error) *daemon.Failure {
	var h *hinted
	var f *daemon.Failure
	if errors.As(err, &f) {
		f = &daemon.Failure{Code: f.Code, Message: oneLine(err), Hint: f.Hint}
		if f.Hint == "" && errors.As(err, &h) {
			f.Hint = h.hint
		}
		return f
	}
	f = &daemon.Failure{Code: exitError, Message: oneLine(err)}
	var mistyped *keyring.RecoveryError
	if errors.As(err, &mistyped) {
		f.Code = exitWrongSecret
	}
	for _, o := range outcomes() {
		if matches(err, o.errs) {
			f.Code, f.Hint = o.code, o.hint
			break
		}
	}
	if errors.As(err, &h) {
		f.Hint = h.hint
	}
	if errors.Is(err, hardware.ErrPermission) { // first: whatever else the hint says, this may be why
		f.Hint = strings.TrimSuffix(permissionHint+"; "+f.Hint, "; ")
	}
	return f
}

// permissionHint says who gives a device to whom. udev's own rules, 60-fido-id and 70-uaccess, are systemd's.
const permissionHint = `udev gives a token to whoever sits at the machine; for you, elsewhere, write ` + "`" +
	`SUBSYSTEM=="hidraw", ENV{ID_FIDO_TOKEN}=="1", GROUP="plugdev", MODE="0660"` + "`" +
	` to /etc/udev/rules.d/71-fido.rules, join the group plugdev, and plug the token in again`

// oneLine keeps joined errors on the line that begins with the program's name.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

func matches(err error, targets []error) bool {
	for _, t := range targets {
		if errors.Is(err, t) {
			return true
		}
	}
	return false
}

// exitCodeHelp is the table as text.
func exitCodeHelp() string {
	var b strings.Builder
	b.WriteString("bkfs exits with one of these codes. Scripts may rely on them.\n\n")
	for _, code := range []int{exitOK, exitError, exitPartial, exitNoRepository, exitLocked, exitWrongSecret,
		exitNoToken, exitTokenBusy, exitDamaged, exitNoSpace, exitInterrupted} {
		rows := outcomes()
		i := slices.IndexFunc(rows, func(o outcome) bool { return o.code == code })
		fmt.Fprintf(&b, "  %3d  %s\n", code, rows[i].meaning)
	}
	return b.String()
}

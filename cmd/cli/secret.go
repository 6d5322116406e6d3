package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bkfs/archive/seal"
)

// maxSecret bounds a passphrase, a PIN or a recovery key's text, in bytes.
const maxSecret = 4096

// source is where one kind of secret comes from without a terminal: a value, a
// command or a descriptor, in this order. The zero value has nothing.
type source struct {
	name    string // the kind's name in the environment, for messages: "PASSPHRASE"
	value   []byte
	command string
	fd      string
	keep    bool // what was read is the value from then on: it is needed twice
}

// secretSources are all of them. New secrets have sources of their own: when
// one is set, the old ones are never read for it, nor the other way round.
type secretSources struct {
	passphrase    source
	newPassphrase source
	recovery      source
	pin           source
}

// takeSecrets reads the environment and removes the secrets from it, so that no
// child process inherits one.
func takeSecrets() secretSources {
	take := func(name string) string {
		v := os.Getenv(name)
		os.Unsetenv(name)
		return v
	}
	return secretSources{
		passphrase: source{"passphrase", []byte(take("BKFS_PASSPHRASE")),
			take("BKFS_PASSCOMMAND"), take("BKFS_PASSPHRASE_FD"), false},
		newPassphrase: source{"new passphrase", []byte(take("BKFS_NEW_PASSPHRASE")),
			take("BKFS_NEW_PASSCOMMAND"), take("BKFS_NEW_PASSPHRASE_FD"), false},
		recovery: source{"recovery key", []byte(take("BKFS_RECOVERY_KEY")),
			take("BKFS_RECOVERY_KEY_COMMAND"), take("BKFS_RECOVERY_KEY_FD"), false},
		pin: source{"PIN", nil,
			take("BKFS_FIDO2_PIN_COMMAND"), take("BKFS_FIDO2_PIN_FD"), false},
	}
}

// given tells whether there is anything to read.
func (s *source) given() bool { return len(s.value) > 0 || s.command != "" || s.fd != "" }

// read returns the secret; the caller wipes it. One line break at the end is
// not part of it. An empty secret is an error.
func (s *source) read(ctx context.Context) ([]byte, error) {
	secret, err := s.readRaw(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the %s: %w", s.name, err)
	}
	secret = trimLineBreak(secret)
	if len(secret) == 0 {
		return nil, say(errNoSecret, "read the %s: it is empty", s.name)
	}
	if s.keep {
		s.forget()
		s.value = bytes.Clone(secret)
	}
	return secret, nil
}

// forget wipes a value that isn't needed any more.
func (s *source) forget() {
	seal.Wipe(s.value)
	s.value = nil
}

func (s *source) readRaw(ctx context.Context) ([]byte, error) {
	switch {
	case len(s.value) > 0:
		return bytes.Clone(s.value), nil
	case s.command != "":
		return runPassCommand(ctx, s.command)
	default:
		fd, err := strconv.Atoi(s.fd)
		if err != nil || fd < 0 {
			return nil, fmt.Errorf("%q isn't a descriptor's number", s.fd)
		}
		if fd > 2 {
			syscall.CloseOnExec(fd)
		}
		f := os.NewFile(uintptr(fd), "descriptor "+s.fd)
		defer f.Close()
		return readSecret(f)
	}
}

// readSecret reads to the end, bounded, without leaving copies behind.
func readSecret(r io.Reader) ([]byte, error) {
	buf := make([]byte, maxSecret+1)
	n, err := io.ReadFull(r, buf)
	if err == nil {
		seal.Wipe(buf)
		return nil, fmt.Errorf("it is longer than %d bytes", maxSecret)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		seal.Wipe(buf)
		return nil, err
	}
	return buf[:n], nil
}

// runPassCommand runs a command without a shell and takes what it prints. Its
// own questions may go to the terminal.
func runPassCommand(ctx context.Context, command string) ([]byte, error) {
	words, err := splitWords(command)
	if err != nil {
		return nil, fmt.Errorf("split the command: %w", err)
	}
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Stdin = os.Stdin
	cmd.Stderr = os.Stderr
	return secretOf(ctx, cmd)
}

// secretOf runs a prepared command and takes what it prints.
func secretOf(ctx context.Context, cmd *exec.Cmd) ([]byte, error) {
	cmd.WaitDelay = time.Second
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run %s: %w", cmd.Args[0], err)
	}
	secret, readErr := readSecret(out)
	if readErr != nil {
		_ = cmd.Process.Kill() // Wait tells
	}
	err = cmd.Wait()
	switch {
	case ctx.Err() != nil:
		err = ctx.Err()
	case readErr != nil:
		err = readErr
	case err != nil:
		err = fmt.Errorf("run %s: %w", cmd.Args[0], err)
	}
	if err != nil {
		seal.Wipe(secret)
		return nil, err
	}
	return secret, nil
}

func trimLineBreak(b []byte) []byte {
	b = bytes.TrimSuffix(b, []byte("\n"))
	return bytes.TrimSuffix(b, []byte("\r"))
}

// secretVariables documents the sources.
func secretVariables() string {
	var b strings.Builder
	for _, v := range [][2]string{
		{"BKFS_PASSPHRASE", "the passphrase to unlock with"},
		{"BKFS_PASSCOMMAND", "a command that prints it; quoted as for a shell, but run without one"},
		{"BKFS_PASSPHRASE_FD", "the number of an open descriptor to read it from"},
		{"BKFS_NEW_PASSPHRASE", "the passphrase for a new key slot (init, key add, key change)"},
		{"BKFS_NEW_PASSCOMMAND", "… from a command"},
		{"BKFS_NEW_PASSPHRASE_FD", "… from a descriptor"},
		{"BKFS_RECOVERY_KEY", "the recovery key to unlock with"},
		{"BKFS_RECOVERY_KEY_COMMAND", "… from a command"},
		{"BKFS_RECOVERY_KEY_FD", "… from a descriptor"},
		{"BKFS_FIDO2_PIN_COMMAND", "a command that prints the token's PIN"},
		{"BKFS_FIDO2_PIN_FD", "… from a descriptor"},
	} {
		fmt.Fprintf(&b, "  %-26s %s\n", v[0], v[1])
	}
	return b.String()
}

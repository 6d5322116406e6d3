package guest

import (
	"encoding/hex"
	"errors"
	"io"
	"os"

	"golang.org/x/sys/unix"

	"bkfs/hardware/softtoken"
)

const reportSize = 64

// Report descriptors: a token's (CTAP 2.1, clause 11.2.8.1), and the one of HID 1.11's boot keyboard (appendix B.1).
const (
	tokenDescriptor    = "06d0f10901a1010920150026ff007508954081020921150026ff00750895409102c0"
	keyboardDescriptor = "05010906a101050719e029e715002501750195088102950175088103" +
		"95057501050819012905910295017503910395067508150025650507190029658100c0"
)

// Token is a software token that is plugged in.
type Token struct {
	*Device
	server   *softtoken.Server
	terminal *os.File
	done     chan error
}

// PlugToken plugs in the software token in the file path. Its reports pass between the token's pseudo-terminal, of
// which this is the client, and the kernel.
func PlugToken(path, name string) (*Token, error) {
	server, err := softtoken.Start(path)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Open(server.Device(), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, errors.Join(err, server.Close())
	}
	t := &Token{server: server, terminal: os.NewFile(uintptr(fd), server.Device()), done: make(chan error, 1)}
	t.Device, err = Plug(name, name, descriptor(tokenDescriptor), func(report []byte) error {
		_, err := t.terminal.Write(report)
		return err
	})
	if err != nil {
		t.terminal.Close()
		return nil, errors.Join(err, server.Close())
	}
	go func() { t.done <- t.pump() }()
	return t, nil
}

// pump sends the token's reports to the host.
func (t *Token) pump() error {
	report := make([]byte, reportSize)
	for {
		if _, err := io.ReadFull(t.terminal, report); errors.Is(err, os.ErrClosed) {
			return nil
		} else if err != nil {
			return err
		}
		if err := t.Input(report); err != nil {
			if errors.Is(err, os.ErrClosed) || errors.Is(err, unix.EINVAL) { // unplugged meanwhile
				return nil
			}
			return err
		}
	}
}

// Unplug takes the token out of the machine, and so the power from it.
func (t *Token) Unplug() error {
	err := t.Device.Unplug()
	t.terminal.Close()
	return errors.Join(err, <-t.done, t.server.Close())
}

// PlugKeyboard plugs in a device that is no token.
func PlugKeyboard(name string) (*Device, error) {
	return Plug(name, name, descriptor(keyboardDescriptor), func([]byte) error { return nil })
}

func descriptor(text string) []byte {
	b, err := hex.DecodeString(text)
	if err != nil {
		panic(err) // a constant of this file
	}
	return b
}

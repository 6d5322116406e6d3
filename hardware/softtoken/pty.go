package softtoken

import (
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// terminal is a pseudo-terminal in raw mode. The server keeps the slave open too, so that the master never sees
// a hang-up between two clients.
type terminal struct {
	master *os.File
	slave  *os.File
}

func openTerminal() (*terminal, error) {
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open /dev/ptmx: %w", err)
	}
	master := os.NewFile(uintptr(fd), "/dev/ptmx")
	slave, err := openSlave(fd)
	if err != nil {
		master.Close()
		return nil, err
	}
	return &terminal{master, slave}, nil
}

func openSlave(master int) (*os.File, error) {
	n, err := unix.IoctlGetInt(master, unix.TIOCGPTN)
	if err != nil {
		return nil, fmt.Errorf("number of the pseudo-terminal: %w", err)
	}
	if err := unix.IoctlSetPointerInt(master, unix.TIOCSPTLCK, 0); err != nil {
		return nil, fmt.Errorf("unlock the pseudo-terminal: %w", err)
	}
	path := "/dev/pts/" + strconv.Itoa(n)
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	slave := os.NewFile(uintptr(fd), path)
	if err := makeRaw(fd); err != nil {
		slave.Close()
		return nil, fmt.Errorf("raw mode of %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		slave.Close()
		return nil, err
	}
	return slave, nil
}

// makeRaw makes a read of the slave return exactly one report: VMIN 64, VTIME 0.
func makeRaw(fd int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return err
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = t.Cflag&^(unix.CSIZE|unix.PARENB) | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = reportSize, 0
	return unix.IoctlSetTermios(fd, unix.TCSETS, t)
}

// discard drops reports that clients left unread when they went away, so that the queue never fills up. The next
// client may have read some of them by then: like those of a hidraw node, they are for another channel.
func (t *terminal) discard() {
	_ = unix.IoctlSetInt(int(t.slave.Fd()), unix.TCFLSH, unix.TCIFLUSH)
}

func (t *terminal) close() {
	t.slave.Close()
	t.master.Close()
}

package integration

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// dialog runs a command with a terminal of its own and answers its questions, each only once it is asked: lines
// "question => answer", where the question is a regular expression. It returns all that was on the terminal.
func dialog(c *exec.Cmd, lines string) (transcript string, err error) { return converse(c, lines, nil) }

// converse is dialog where a line without an answer is something to wait for, and then to act on.
func converse(c *exec.Cmd, lines string, act func(terminal *os.File)) (transcript string, err error) {
	// Non-blocking, so that reading has a deadline.
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	master := os.NewFile(uintptr(fd), "ptmx")
	defer master.Close()
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err := errors.Join(err, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)); err != nil {
		return "", err
	}
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return "", err
	}
	c.Stdin, c.Stdout, c.Stderr = slave, slave, slave
	c.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	err = c.Start()
	slave.Close()
	if err != nil {
		return "", err
	}
	master.SetDeadline(time.Now().Add(patience))
	var text []byte
	asked := 0 // where the last question ended
	hear := func() bool {
		b := make([]byte, 4096)
		n, err := master.Read(b)
		text = append(text, b[:n]...)
		return err == nil
	}
	for line := range strings.Lines(lines) {
		question, answer, answered := strings.Cut(strings.TrimSuffix(line, "\n"), " => ")
		pattern := regexp.MustCompile(question)
		for !pattern.Match(text[asked:]) {
			if !hear() {
				c.Process.Kill()
				return string(text), errors.Join(fmt.Errorf("%q was never asked", question), c.Wait())
			}
		}
		asked = len(text)
		if !answered && act != nil {
			act(master)
			continue
		}
		if _, err := master.WriteString(answer + "\n"); err != nil {
			return string(text), err
		}
	}
	for hear() {
	}
	return string(text), c.Wait()
}

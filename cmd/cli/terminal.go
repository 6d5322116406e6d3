package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/mdp/qrterminal/v3"
	"github.com/schollz/progressbar/v3"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"bkfs/archive/seal"
	"bkfs/cmd/daemon"
)

// This file owns all terminal output. Its rules:
//
//   - stdout carries answers and nothing else: what a command was asked for, as
//     text or, with --json, as exactly one JSON value.
//   - stderr carries everything else: notices, warnings, progress, errors.
//   - An error is `bkfs: what went wrong`, then `hint: what to do`, once, last.
//   - Questions go to /dev/tty and are answered there, secrets without echo.
//     Without a terminal nothing is asked.
//   - Progress moves only on a terminal; a log file gets none.
//   - Names that come from a repository are quoted when they hold anything a
//     terminal could obey.
//   - No colours.

// terminal is where output goes.
type terminal struct {
	out, err       io.Writer
	outTTY, errTTY bool
	json           bool

	mu  sync.Mutex
	bar *progressbar.ProgressBar // what is moving on stderr, if anything
}

func newTerminal() *terminal {
	return &terminal{
		out: os.Stdout, err: os.Stderr,
		outTTY: term.IsTerminal(int(os.Stdout.Fd())), errTTY: term.IsTerminal(int(os.Stderr.Fd())),
	}
}

// print writes a line of the answer; with --json it writes nothing.
func (t *terminal) print(format string, args ...any) {
	if !t.json {
		fmt.Fprintf(t.out, format+"\n", args...)
	}
}

// answer writes v with --json, and calls text otherwise.
func (t *terminal) answer(v any, text func()) error {
	if !t.json {
		text()
		return nil
	}
	enc := json.NewEncoder(t.out)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	return nil
}

// table writes rows in columns; the first row is the heading.
func (t *terminal) table(rows [][]string) {
	if t.json {
		return
	}
	w := tabwriter.NewWriter(t.out, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, strings.TrimRight(strings.Join(row, "\t"), "\t"))
	}
	w.Flush()
}

// qr draws text as a QR code if stdout is a terminal.
func (t *terminal) qr(text string) {
	if t.json || !t.outTTY {
		return
	}
	qrterminal.GenerateWithConfig(text, qrterminal.Config{
		Level: qrterminal.M, Writer: t.out, HalfBlocks: true, QuietZone: 2,
		BlackChar: qrterminal.BLACK_BLACK, WhiteChar: qrterminal.WHITE_WHITE,
		BlackWhiteChar: qrterminal.BLACK_WHITE, WhiteBlackChar: qrterminal.WHITE_BLACK,
	})
}

// notice tells the user something on stderr.
func (t *terminal) notice(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	fmt.Fprintf(t.err, format+"\n", args...)
}

// warning is an error that doesn't stop anything.
func (t *terminal) warning(err error) {
	f := describe(err)
	t.warn("%s", f.Message)
	if f.Hint != "" {
		t.notice("hint: %s", f.Hint)
	}
}

func (t *terminal) warn(format string, args ...any) { t.notice("warning: "+format, args...) }

// failure is how every error ends up.
func (t *terminal) failure(f *daemon.Failure) {
	t.notice("bkfs: %s", f.Message)
	if f.Hint != "" {
		t.notice("hint: %s", f.Hint)
	}
}

// progress shows how far a long operation is. It may be called from several
// goroutines and at any rate.
func (t *terminal) progress(p daemon.Progress) {
	if !t.errTTY {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	total := int64(min(p.Total, 1<<62))
	if total == 0 {
		total = -1
	}
	if t.bar == nil {
		t.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(t.err),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(),
			progressbar.OptionSetWidth(30), progressbar.OptionSetPredictTime(true))
	}
	t.bar.Describe(p.Doing)
	if t.bar.GetMax64() != total {
		t.bar.ChangeMax64(total)
	}
	_ = t.bar.Set64(int64(min(p.Done, 1<<62)))
}

// progressDone takes the bar away.
func (t *terminal) progressDone() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.clear()
	t.bar = nil
}

func (t *terminal) clear() {
	if t.bar != nil {
		_ = t.bar.Clear()
	}
}

// shown makes a name from a repository fit for a terminal.
func shown(name string) string {
	if name != "" && utf8.ValidString(name) && !strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return name
	}
	return strconv.Quote(name)
}

// A prompter asks a person. It is a seam so that tests can answer.
type prompter interface {
	// Available tells whether there is anybody to ask.
	Available() bool
	// Secret asks without echo; the caller wipes the answer.
	Secret(ctx context.Context, question string) ([]byte, error)
	// Line asks with echo.
	Line(ctx context.Context, question string) (string, error)
}

// tty is the controlling terminal, whatever stdin and stdout are.
type tty struct{}

var errNoTerminal = errors.New("there is no terminal to ask on")

func (tty) Available() bool {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return false
	}
	f.Close()
	return true
}

func (tty) Secret(ctx context.Context, question string) ([]byte, error) {
	return ask(ctx, question, false)
}

func (tty) Line(ctx context.Context, question string) (string, error) {
	b, err := ask(ctx, question, true)
	return strings.TrimSpace(string(b)), err
}

// ask reads one line. A cancelled ctx ends it and restores the terminal.
func ask(ctx context.Context, question string, echo bool) ([]byte, error) {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil, errNoTerminal
	}
	defer f.Close()
	if !echo {
		restore, err := echoOff(f)
		if err != nil {
			return nil, fmt.Errorf("turn the terminal's echo off: %w", err)
		}
		defer restore()
	}
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Unix(1, 0)) })()
	fmt.Fprint(f, question)
	line, err := readLine(f)
	if !echo || err != nil {
		fmt.Fprintln(f)
	}
	if ctx.Err() != nil {
		seal.Wipe(line)
		if !echo {
			forget(f) // half a passphrase must not become the shell's next line
		}
		return nil, ctx.Err()
	}
	return line, err
}

// readLine reads byte by byte, so that nothing typed ahead is lost.
func readLine(r io.Reader) ([]byte, error) {
	line := make([]byte, 0, maxSecret)
	var b [1]byte
	for {
		n, err := r.Read(b[:])
		if n == 1 && b[0] == '\n' {
			return trimLineBreak(line), nil
		}
		if n == 1 {
			if len(line) == cap(line) {
				return line, fmt.Errorf("the answer is longer than %d bytes", maxSecret)
			}
			line = append(line, b[0])
		}
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				return line, nil
			}
			return nil, errors.New("the question wasn't answered")
		}
		if err != nil {
			return line, err
		}
	}
}

// forget drops what was typed and not read.
func forget(f *os.File) {
	raw, err := f.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetInt(int(fd), unix.TCFLSH, unix.TCIFLUSH) })
	}
}

func echoOff(f *os.File) (restore func(), err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var old *unix.Termios
	ctlErr := raw.Control(func(fd uintptr) {
		if old, err = unix.IoctlGetTermios(int(fd), unix.TCGETS); err == nil {
			quiet := *old
			quiet.Lflag = quiet.Lflag&^unix.ECHO | unix.ICANON | unix.ISIG
			quiet.Iflag |= unix.ICRNL
			err = unix.IoctlSetTermios(int(fd), unix.TCSETS, &quiet)
		}
	})
	if err = errors.Join(ctlErr, err); err != nil {
		return nil, err
	}
	return func() {
		_ = raw.Control(func(fd uintptr) { _ = unix.IoctlSetTermios(int(fd), unix.TCSETS, old) })
	}, nil
}

package softtoken

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	keepaliveInterval = 100 * time.Millisecond // clause 11.2.9.2.1
	messageTimeout    = 500 * time.Millisecond // to send the rest of a message, or of a report
	writeTimeout      = time.Second            // a client that does not read
	maxLock           = 10                     // seconds; clause 11.2.9.2.2
)

// Server is one powered token behind a pseudo-terminal.
type Server struct {
	path     string
	terminal *terminal
	cancel   context.CancelFunc
	done     sync.WaitGroup
	gone     chan struct{}
	err      error // why it stopped; read after done
}

// Start powers the token in the file path up. The device is there when Start returns.
func Start(path string) (*Server, error) {
	if err := update(path, func(s *state) error { s.Blinking = false; return nil }); err != nil {
		return nil, err
	}
	auth, err := newAuthenticator(path)
	if err != nil {
		return nil, fmt.Errorf("software token %s: %w", path, err)
	}
	t, err := openTerminal()
	if err != nil {
		return nil, fmt.Errorf("software token %s: %w", path, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{path: path, terminal: t, cancel: cancel, gone: make(chan struct{})}
	reports := make(chan []byte)
	s.done.Add(2)
	go func() {
		defer s.done.Done()
		defer close(reports)
		s.err = s.read(ctx, reports)
	}()
	go func() {
		defer s.done.Done()
		defer close(s.gone)
		(&connection{terminal: t, auth: auth, next: 1, touched: make(chan struct{}, 1)}).run(ctx, reports)
	}()
	return s, nil
}

// Device is the path of the slave, to be opened as if it were a hidraw node.
func (s *Server) Device() string { return s.terminal.slave.Name() }

// Gone is closed when the token was unplugged, by Close or by a quirk.
func (s *Server) Gone() <-chan struct{} { return s.gone }

// Close takes the power away.
func (s *Server) Close() error {
	s.cancel()
	_ = s.terminal.master.SetReadDeadline(time.Unix(1, 0))
	s.done.Wait()
	s.terminal.close()
	return s.err
}

// Serve serves the token in the file path until ctx ends or a quirk unplugs it. link, when not empty, becomes a symbolic link to the
// device while it is served; ready is called with the device's path.
func Serve(ctx context.Context, path, link string, ready func(device string)) error {
	s, err := Start(path)
	if err != nil {
		return err
	}
	defer s.Close()
	if link != "" {
		if err := relink(s.Device(), link); err != nil {
			return err
		}
		defer os.Remove(link)
	}
	if ready != nil {
		ready(s.Device())
	}
	select {
	case <-ctx.Done():
	case <-s.Gone():
	}
	return s.Close()
}

// relink points link at device; what it replaces must itself be a link.
func relink(device, link string) error {
	if info, err := os.Lstat(link); err == nil {
		if info.Mode()&os.ModeSymlink == 0 {
			return fmt.Errorf("link %s: there is something else in its place", link)
		}
		if err := os.Remove(link); err != nil {
			return err
		}
	}
	return os.Symlink(device, link)
}

// read hands on whole reports. Half a report is dropped after messageTimeout, so that a client killed in the
// middle of one does not shift all that follow.
func (s *Server) read(ctx context.Context, reports chan<- []byte) error {
	master := s.terminal.master
	for {
		buf := make([]byte, 1+reportSize)
		_ = master.SetReadDeadline(time.Time{})
		if ctx.Err() != nil { // Close sets its deadline after it cancels: seen here, or there
			return nil //nolint:nilerr // being closed is no error
		}
		n, err := master.Read(buf)
		if err == nil && n < len(buf) {
			_ = master.SetReadDeadline(time.Now().Add(messageTimeout))
			_, err = io.ReadFull(master, buf[n:])
		}
		switch {
		case ctx.Err() != nil, errors.Is(err, os.ErrClosed):
			return nil //nolint:nilerr // being closed, or unplugged by a quirk, is no error
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case err != nil:
			return fmt.Errorf("software token %s: read a report: %w", s.path, err)
		}
		select {
		case reports <- buf[1:]:
		case <-ctx.Done():
			return nil
		}
	}
}

// connection is the state of the token's transport. Only run's goroutine touches it.
type connection struct {
	terminal *terminal
	auth     *authenticator
	next     uint32 // channel to give out
	assembler
	busy    *transaction
	touched chan struct{} // a touch was asked for
	lock    struct {
		channel uint32
		until   time.Time
	}
}

type transaction struct {
	channel uint32
	cancel  context.CancelFunc
	status  atomic.Uint32 // the keepalive's status byte
	touched atomic.Bool   // a touch was asked for
	held    bool          // the answer was taken away: only keepalives go out
	answer  chan []byte
}

func (c *connection) run(ctx context.Context, reports <-chan []byte) {
	keepalive := time.NewTicker(keepaliveInterval)
	defer keepalive.Stop()
	stall := time.NewTimer(messageTimeout)
	defer stall.Stop()
	for {
		var answer chan []byte
		if c.busy != nil && !c.busy.held {
			answer = c.busy.answer
		}
		select {
		case report, ok := <-reports:
			if !ok {
				c.abandon()
				return
			}
			if c.strikes(FaultUnplug, false) {
				c.unplug()
				return
			}
			c.auth.seen.Add(1)
			whole, reply := c.feed(report)
			c.send(reply)
			if whole != nil {
				c.handle(ctx, whole)
			}
			stall.Reset(messageTimeout)
		case payload := <-answer:
			c.busy.cancel()
			if c.busy.held = c.strikes(FaultKeepalive, true); c.busy.held {
				break
			}
			unplug := c.strikes(FaultUnplug, true)
			if !unplug {
				c.send(&message{c.busy.channel, cmdCBOR, payload})
			}
			c.busy = nil
			if unplug {
				c.unplug()
				return
			}
		case <-c.touched:
			if c.strikes(FaultUnplug, true) {
				c.unplug()
				return
			}
		case <-keepalive.C:
			c.flood()
			if c.busy != nil {
				c.send(&message{c.busy.channel, cmdKeepalive, []byte{byte(c.busy.status.Load())}})
			}
		case <-stall.C:
			c.send(c.expire())
		}
	}
}

func (c *connection) handle(ctx context.Context, m *message) {
	switch m.command {
	case cmdInit:
		c.open(m)
	case cmdCancel:
		if c.busy != nil && c.busy.channel == m.channel {
			c.busy.cancel() // it answers with KEEPALIVE_CANCEL
		}
	case cmdPing, cmdCBOR, cmdWink, cmdLock, cmdMsg:
		if c.busy != nil || c.lock.channel != m.channel && time.Now().Before(c.lock.until) {
			c.send(hidError(m.channel, hidBusy))
			return
		}
		c.carryOut(ctx, m)
	default:
		c.send(hidError(m.channel, hidInvalidCommand))
	}
}

func (c *connection) carryOut(ctx context.Context, m *message) {
	u2f := c.auth.quirks.Load().U2FOnly
	switch {
	case m.command == cmdCBOR && !u2f:
		c.begin(ctx, m)
	case m.command == cmdMsg && u2f:
		c.send(&message{m.channel, cmdMsg, u2fAnswer(m.payload)})
	case m.command == cmdCBOR, m.command == cmdMsg:
		c.send(hidError(m.channel, hidInvalidCommand))
	case m.command == cmdWink && len(m.payload) != 0, m.command == cmdLock && len(m.payload) != 1:
		c.send(hidError(m.channel, hidInvalidLength))
	case m.command == cmdLock && m.payload[0] > maxLock:
		c.send(hidError(m.channel, hidInvalidParam))
	case m.command == cmdLock:
		c.lock.channel, c.lock.until = m.channel, time.Now().Add(time.Duration(m.payload[0])*time.Second)
		c.send(&message{m.channel, cmdLock, nil})
	default:
		c.send(m) // PING and WINK come back as they are
	}
}

// open answers INIT (clause 11.2.9.1.3): a new channel to the broadcast channel; to another a fresh start.
func (c *connection) open(m *message) {
	channel := m.channel
	_, _ = c.auth.refresh() // a command will tell what is wrong with the file
	if channel == broadcast {
		if c.busy != nil && c.busy.held {
			c.busy = nil // the client that waited is gone
		}
		if c.busy == nil {
			c.terminal.discard()
		}
		channel = c.next
		if c.next++; c.next == broadcast {
			c.next = 1
		}
	} else if c.busy != nil && c.busy.channel == channel {
		c.abandon()
	}
	reply := binary.BigEndian.AppendUint32(append([]byte(nil), m.payload...), channel)
	capabilities := byte(0x01 | 0x04 | 0x08) // WINK, CBOR, no MSG
	if c.auth.quirks.Load().U2FOnly {
		capabilities = 0x01
	}
	reply = append(reply, 2, 1, 0, 0, capabilities)
	c.send(&message{m.channel, cmdInit, reply})
}

func (c *connection) begin(ctx context.Context, m *message) {
	ctx, cancel := context.WithCancel(ctx)
	t := &transaction{channel: m.channel, cancel: cancel, answer: make(chan []byte, 1)}
	t.status.Store(statusProcessing)
	c.busy = t
	report := func(s uint32) {
		t.status.Store(s)
		if s == statusTouch {
			t.touched.Store(true)
			select {
			case c.touched <- struct{}{}:
			default:
			}
		}
	}
	go func() { t.answer <- c.auth.handle(ctx, m.payload, report) }()
}

// abandon ends the transaction without an answer, and waits for it: the next one must find the token free.
func (c *connection) abandon() {
	if c.busy == nil {
		return
	}
	c.busy.cancel()
	if !c.busy.held {
		<-c.busy.answer
	}
	c.busy = nil
}

func (c *connection) send(m *message) {
	if m == nil {
		return
	}
	c.write(c.auth.quirks.Load().distort(m, c.busy != nil && c.busy.touched.Load()))
}

func (c *connection) write(frames [][]byte) {
	_ = c.terminal.master.SetWriteDeadline(time.Now().Add(writeTimeout))
	for _, frame := range frames {
		if _, err := c.terminal.master.Write(frame); err != nil {
			return // the client is gone or does not read; it will begin anew with INIT
		}
	}
}

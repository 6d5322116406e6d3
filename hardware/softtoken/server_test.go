package softtoken

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// client is a HID client on the slave, with frames as libfido2 writes them.
type client struct {
	t       *testing.T
	f       *os.File
	channel uint32
}

func newServer(t *testing.T, o Options) (path string, s *Server) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "token.json")
	if err := Create(path, o); err != nil {
		t.Fatal(err)
	}
	s, err := Start(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return path, s
}

func dial(t *testing.T, s *Server) *client {
	t.Helper()
	fd, err := unix.Open(s.Device(), unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), s.Device())
	t.Cleanup(func() { f.Close() })
	c := &client{t: t, f: f, channel: broadcast}
	nonce := []byte("nonce678")
	c.send(cmdInit, nonce)
	m := c.receive()
	if m.command != cmdInit || len(m.payload) != 17 || !bytes.HasPrefix(m.payload, nonce) || m.payload[16] != 0x0d {
		t.Fatalf("INIT: got %+v", m)
	}
	c.channel = binary.BigEndian.Uint32(m.payload[8:])
	return c
}

func (c *client) send(command byte, payload []byte) {
	c.t.Helper()
	for _, f := range (&message{c.channel, command, payload}).frames() {
		if _, err := c.f.Write(append([]byte{0}, f...)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// receive gives the next message to the client's channel.
func (c *client) receive() *message {
	c.t.Helper()
	_ = c.f.SetReadDeadline(time.Now().Add(10 * time.Second))
	first := c.report()
	m := &message{binary.BigEndian.Uint32(first), first[4] & 0x7f, first[7:]}
	for n := int(binary.BigEndian.Uint16(first[5:])); ; m.payload = append(m.payload, c.report()[5:]...) {
		if n <= len(m.payload) {
			m.payload = m.payload[:n]
			return m
		}
	}
}

// report skips those for others, as a client of a hidraw node does: the pseudo-terminal is one queue for all.
func (c *client) report() []byte {
	c.t.Helper()
	buf := make([]byte, reportSize)
	for {
		if _, err := io.ReadFull(c.f, buf); err != nil {
			c.t.Fatal(err)
		}
		if binary.BigEndian.Uint32(buf) == c.channel {
			return buf
		}
	}
}

// answer skips keepalives.
func (c *client) answer() (m *message, keepalives []byte) {
	c.t.Helper()
	for {
		if m = c.receive(); m.command != cmdKeepalive {
			return m, keepalives
		}
		keepalives = append(keepalives, m.payload...)
	}
}

func TestPing(t *testing.T) {
	_, s := newServer(t, Options{})
	c := dial(t, s)
	for _, n := range []int{0, 1, 57, 58, 2000} {
		want := bytes.Repeat([]byte{0x5a}, n)
		c.send(cmdPing, want)
		if m := c.receive(); m.command != cmdPing || m.channel != c.channel || !bytes.Equal(m.payload, want) {
			t.Errorf("PING of %d bytes: got %+v", n, m)
		}
	}
	c.send(0x2a, nil)
	if m := c.receive(); m.command != cmdError || m.payload[0] != hidInvalidCommand {
		t.Errorf("unknown command: got %+v", m)
	}
}

func TestBusyAndCancel(t *testing.T) {
	path, s := newServer(t, Options{Behaviour: Behaviour{Button: true}})
	c, other := dial(t, s), dial(t, s)
	c.send(cmdCBOR, []byte{commandSelection})
	if m := c.receive(); m.command != cmdKeepalive {
		t.Fatalf("got %+v, want a keepalive", m)
	}
	other.send(cmdCBOR, []byte{commandGetInfo})
	if m := other.receive(); m.command != cmdError || m.payload[0] != hidBusy {
		t.Errorf("another channel: got %+v, want busy", m)
	}
	other.send(cmdCancel, nil) // not its transaction
	c.send(cmdCancel, nil)
	m, keepalives := c.answer()
	if m.command != cmdCBOR || status(m.payload[0]) != errKeepaliveCancel {
		t.Errorf("cancelled: got %+v", m)
	}
	for _, k := range keepalives {
		if k != statusTouch && k != statusProcessing {
			t.Errorf("keepalive status %d", k)
		}
	}
	if st, err := Read(path); err != nil || st.Blinking {
		t.Errorf("still blinking: %+v, %v", st, err)
	}
	other.send(cmdCBOR, []byte{commandGetInfo})
	if m, _ := other.answer(); m.command != cmdCBOR || status(m.payload[0]) != statusOK {
		t.Errorf("afterwards: got %+v", m)
	}
}

// TestInitAborts takes a transaction back by INIT on its own channel.
func TestInitAborts(t *testing.T) {
	_, s := newServer(t, Options{Behaviour: Behaviour{Button: true}})
	c := dial(t, s)
	c.send(cmdCBOR, []byte{commandSelection})
	c.send(cmdInit, []byte("nonce678"))
	if m, _ := c.answer(); m.command != cmdInit || m.channel != c.channel {
		t.Fatalf("got %+v", m)
	}
	c.send(cmdCBOR, []byte{commandGetInfo})
	if m, _ := c.answer(); m.command != cmdCBOR || status(m.payload[0]) != statusOK {
		t.Errorf("afterwards: got %+v", m)
	}
}

// TestHalfMessages has clients that die in the middle of a message, and of a report.
func TestHalfMessages(t *testing.T) {
	_, s := newServer(t, Options{})
	c := dial(t, s)
	first := (&message{c.channel, cmdPing, make([]byte, 100)}).frames()[0]
	if _, err := c.f.Write(append([]byte{0}, first...)); err != nil {
		t.Fatal(err)
	}
	if m := c.receive(); m.command != cmdError || m.payload[0] != hidTimeout {
		t.Fatalf("half a message: got %+v, want a timeout", m)
	}
	if _, err := c.f.Write(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	// What is sent before the token drops the half is misread, and its end is a half report again.
	for range 10 {
		c.send(cmdPing, []byte{1})
		_ = c.f.SetReadDeadline(time.Now().Add(2 * messageTimeout))
		buf := make([]byte, reportSize)
		if _, err := io.ReadFull(c.f, buf); err == nil && buf[4] == cmdPing|0x80 {
			return
		}
	}
	t.Error("no answer after half a report")
}

// TestUnread has clients leave more answers unread than the pseudo-terminal holds (4 KiB); the next one is served.
func TestUnread(t *testing.T) {
	_, s := newServer(t, Options{})
	for range 10 {
		c := dial(t, s)
		c.send(cmdPing, make([]byte, 1000))
		c.f.Close()
	}
	c := dial(t, s)
	c.send(cmdCBOR, []byte{commandGetInfo})
	if m, _ := c.answer(); m.channel != c.channel || status(m.payload[0]) != statusOK {
		t.Errorf("got %+v", m)
	}
}

func TestServeLink(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token.json")
	if err := Create(path, Options{}); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(filepath.Dir(path), "dev")
	for range 2 {
		ctx, cancel := context.WithCancel(t.Context())
		device := make(chan string, 1)
		done := make(chan error, 1)
		go func() { done <- Serve(ctx, path, link, func(d string) { device <- d }) }()
		want := <-device
		if got, err := os.Readlink(link); err != nil || got != want {
			t.Errorf("link: got %q, %v, want %q", got, err, want)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := os.Lstat(link); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the link is still there: %v", err)
		}
	}
	if err := Serve(t.Context(), path, path, nil); err == nil {
		t.Error("a link took the state file's place")
	}
}

// TestLock keeps others out until the lock is given back.
func TestLock(t *testing.T) {
	_, s := newServer(t, Options{})
	holder, other := dial(t, s), dial(t, s)
	ping := func(c *client) byte {
		c.send(cmdPing, nil)
		if m := c.receive(); m.command == cmdError {
			return m.payload[0]
		}
		return 0
	}
	for _, step := range []struct {
		lock []byte
		want byte // answer to LOCK
		busy byte // what the other one gets
	}{
		{[]byte{11}, hidInvalidParam, 0}, {nil, hidInvalidLength, 0}, {[]byte{10}, 0, hidBusy}, {[]byte{0}, 0, 0},
	} {
		holder.send(cmdLock, step.lock)
		var got byte
		if m := holder.receive(); m.command == cmdError {
			got = m.payload[0]
		}
		if got != step.want || ping(other) != step.busy || ping(holder) != 0 {
			t.Errorf("lock %v: got %#x, want %#x; or the wrong one is kept out", step.lock, got, step.want)
		}
	}
	holder.send(cmdWink, []byte{1})
	if m := holder.receive(); m.command != cmdError || m.payload[0] != hidInvalidLength {
		t.Errorf("WINK with a payload: got %+v", m)
	}
}

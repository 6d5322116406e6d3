package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"
)

// requestTimeout bounds how long a client may take to say what it wants, and
// how long it may take to read a line.
const (
	requestTimeout = 10 * time.Second
	maxClients     = 16
)

// handler answers one request. The server alone writes to the connection.
type handler func(ctx context.Context, req Request, progress func(Progress)) (any, error)

// server is the control socket. Close waits for the requests under way.
type server struct {
	listener *net.UnixListener
	path     string // the socket, to be removed
	hello    Hello
	handle   handler
	describe func(error) *Failure
	log      *slog.Logger

	ctx    context.Context // of all requests; done when the server is closing
	cancel context.CancelFunc
	slots  chan struct{} // maxClients tokens
	wg     sync.WaitGroup
}

func newServer(dirs []string, name string, hello Hello, h handler, describe func(error) *Failure, log *slog.Logger) (*server, error) {
	l, path, err := listen(dirs, name)
	if err != nil {
		return nil, err
	}
	hello.Protocol = protocol
	s := &server{listener: l, path: path, hello: hello, handle: h, describe: describe, log: log, slots: make(chan struct{}, maxClients)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.wg.Go(s.accept)
	return s, nil
}

func (s *server) accept() {
	for {
		conn, err := s.listener.AcceptUnix()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			s.log.Warn("control socket", "error", err)
			select { // out of descriptors, perhaps: don't spin
			case <-s.ctx.Done():
				return
			case <-time.After(time.Second):
			}
			continue
		}
		s.slots <- struct{}{}
		s.wg.Go(func() {
			defer func() { <-s.slots }()
			defer conn.Close()
			if err := s.serve(conn); err != nil {
				s.log.Debug("control socket", "error", err)
			}
		})
	}
}

func (s *server) serve(conn *net.UnixConn) error {
	if err := sameUser(conn); err != nil {
		return err
	}
	if err := conn.SetDeadline(time.Now().Add(requestTimeout)); err != nil {
		return err
	}
	// Closing ends reads only: what a request has found out is still written.
	defer context.AfterFunc(s.ctx, func() { _ = conn.SetReadDeadline(time.Unix(1, 0)) })()
	if err := json.NewEncoder(conn).Encode(s.hello); err != nil {
		return err
	}
	r := bufio.NewReader(io.LimitReader(conn, maxRequest))
	line, err := r.ReadBytes('\n')
	if err == io.EOF && len(line) == 0 {
		return nil // it only wanted to know who is here
	}
	if err != nil {
		return err
	}
	var req Request
	if err := json.Unmarshal(line, &req); err != nil {
		return s.send(conn, event{Failure: s.describe(fmt.Errorf("read the request: %w", err))})
	}
	if err := errors.Join(conn.SetReadDeadline(time.Time{}), s.ctx.Err()); err != nil {
		return err
	}
	return s.answer(conn, req)
}

// answer runs the request until it ends, the client goes away or the server
// closes.
func (s *server) answer(conn *net.UnixConn, req Request) error {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	s.wg.Go(func() { // ends when the connection does, at the latest when serve closes it
		_, _ = io.Copy(io.Discard, conn)
		cancel()
	})
	defer conn.Close()

	var mu sync.Mutex // progress may come from several goroutines
	progress := func(p Progress) {
		mu.Lock()
		defer mu.Unlock()
		if s.send(conn, event{Progress: &p}) != nil {
			cancel()
		}
	}
	result, err := s.handle(ctx, req, progress)
	mu.Lock()
	defer mu.Unlock()
	if err != nil {
		return s.send(conn, event{Failure: s.describe(err)})
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return s.send(conn, event{Failure: s.describe(fmt.Errorf("write the answer: %w", err))})
	}
	return s.send(conn, event{Result: raw})
}

func (s *server) send(conn *net.UnixConn, e event) error {
	if err := conn.SetWriteDeadline(time.Now().Add(requestTimeout)); err != nil {
		return err
	}
	return json.NewEncoder(conn).Encode(e)
}

// remove takes the socket away, so that nobody new finds the daemon. Requests
// under way go on.
func (s *server) remove() {
	os.Remove(s.path)
	s.listener.Close()
}

// close ends the requests under way and waits for them.
func (s *server) close() {
	s.remove()
	s.cancel()
	s.wg.Wait()
}

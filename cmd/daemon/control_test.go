package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"bkfs/archive/seal"
)

// serveTest runs a control socket with h and returns where it is.
func serveTest(t *testing.T, h handler) (dirs []string, id seal.RepositoryID, repo string, s *server) {
	t.Helper()
	repo = t.TempDir()
	dirs = []string{filepath.Join(t.TempDir(), "run")}
	id = seal.NewRepositoryID()
	name, err := socketName(id, repo, false)
	if err != nil {
		t.Fatal(err)
	}
	hello := Hello{PID: os.Getpid(), ID: id, Repository: repo, Mountpoint: "/mnt/x"}
	s, err = newServer(dirs, name, hello, h, func(err error) *Failure { return &Failure{Code: 42, Message: err.Error()} },
		slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.close)
	return dirs, id, repo, s
}

func TestControl(t *testing.T) {
	dirs, id, repo, s := serveTest(t, func(_ context.Context, req Request, progress func(Progress)) (any, error) {
		if req.Op == OpStats {
			return nil, errors.New("no stats today")
		}
		progress(Progress{Doing: "a", Done: 1, Total: 2})
		progress(Progress{Doing: "b", Done: 2, Total: 2})
		return map[string]string{"name": req.Name}, nil
	})
	c, err := ForRepository(dirs, id, repo)
	if err != nil {
		t.Fatalf("for repository: %v", err)
	}
	if m, err := ForMountpoint(dirs, "/mnt/x"); err != nil || m.Hello.ID != id {
		t.Errorf("for mountpoint: got %+v, %v, want id %s", m, err, id)
	}
	if _, err := ForMountpoint(dirs, "/mnt/y"); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("for another mountpoint: got %v, want ErrNoDaemon", err)
	}
	if _, err := ForRepository(dirs, id, t.TempDir()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("for a copy of the repository: got %v, want ErrNoDaemon", err)
	}

	var seen []string
	var result struct{ Name string }
	err = c.Call(t.Context(), Request{Op: OpSnapshotCreate, Name: "ü\n"}, func(p Progress) { seen = append(seen, p.Doing) }, &result)
	if err != nil || result.Name != "ü\n" || strings.Join(seen, "") != "ab" {
		t.Errorf("call: got %q, progress %q, error %v", result.Name, seen, err)
	}
	var f *Failure
	if err := c.Call(t.Context(), Request{Op: OpStats}, nil, nil); !errors.As(err, &f) || f.Code != 42 || f.Message != "no stats today" {
		t.Errorf("failing call: got %v, want code 42", err)
	}
	s.close()
	if _, err := ForRepository(dirs, id, repo); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("after close: got %v, want ErrNoDaemon", err)
	}
}

// A client that goes away ends what it asked for, and closing the server does
// too, without cutting off the answer.
func TestControlCancel(t *testing.T) {
	started, ended := make(chan struct{}), make(chan struct{}, 2)
	dirs, id, repo, s := serveTest(t, func(ctx context.Context, _ Request, _ func(Progress)) (any, error) {
		started <- struct{}{}
		<-ctx.Done()
		ended <- struct{}{}
		return nil, errors.New("ended")
	})
	c, err := ForRepository(dirs, id, repo)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error)
	go func() { result <- c.Call(ctx, Request{Op: OpCheck}, nil, nil) }()
	<-started
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled call: got %v, want context.Canceled", err)
	}
	<-ended

	go func() { result <- c.Call(t.Context(), Request{Op: OpCheck}, nil, nil) }()
	<-started
	s.close()
	var f *Failure
	if err := <-result; !errors.As(err, &f) {
		t.Errorf("call while closing: got %v, want the handler's failure", err)
	}
}

func TestControlRefuses(t *testing.T) {
	dirs, _, _, s := serveTest(t, func(context.Context, Request, func(Progress)) (any, error) { return Done{}, nil })
	t.Run("malformed request", func(t *testing.T) {
		conn, r := dialTest(t, s)
		if _, err := conn.Write([]byte("{nonsense\n")); err != nil {
			t.Fatal(err)
		}
		var e event
		if err := json.NewDecoder(r).Decode(&e); err != nil || e.Failure == nil {
			t.Errorf("got %+v, %v, want a failure", e, err)
		}
	})
	t.Run("endless request", func(t *testing.T) {
		conn, r := dialTest(t, s)
		chunk := make([]byte, maxRequest/4)
		for range 8 { // the server may close before it has all
			if _, err := conn.Write(chunk); err != nil {
				break
			}
		}
		conn.SetReadDeadline(time.Now().Add(20 * time.Second))
		if line, err := r.ReadString('\n'); err == nil {
			t.Errorf("got the answer %q, want a closed connection", line)
		}
	})
	t.Run("directory of others", func(t *testing.T) {
		if err := os.Chmod(dirs[0], 0o755); err != nil {
			t.Fatal(err)
		}
		if got := All(dirs); len(got) != 0 {
			t.Errorf("got %d daemons from a directory others can enter, want none", len(got))
		}
		if _, _, err := listen(dirs, "x.sock"); err == nil {
			t.Error("listened in a directory others can enter")
		}
	})
}

func dialTest(t *testing.T, s *server) (*net.UnixConn, *bufio.Reader) {
	t.Helper()
	conn, err := dialPath(s.path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	r := bufio.NewReader(conn)
	if _, err := r.ReadString('\n'); err != nil {
		t.Fatalf("hello: %v", err)
	}
	return conn, r
}

// A socket that a killed daemon left is replaced; one that answers is not. A
// directory may have any length.
func TestListen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("d", 200))
	l, path, err := listen([]string{dir}, "x.sock")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := listen([]string{dir}, "x.sock"); err == nil {
		t.Error("listened twice on one socket")
	}
	l.Close()
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("the test needs the left socket: %v", err)
	}
	l, _, err = listen([]string{dir}, "x.sock")
	if err != nil {
		t.Fatalf("over a left socket: %v", err)
	}
	l.Close()
}

package daemon

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"time"

	"bkfs/archive/seal"
)

// helloTimeout bounds how long a client waits for a daemon to say who it is.
const helloTimeout = 3 * time.Second

// ErrNoDaemon means that no daemon answers for what was asked.
var ErrNoDaemon = errors.New("not mounted")

// Client talks to one daemon. Each call is a connection of its own.
type Client struct {
	path  string
	Hello Hello
}

// Hello is what a daemon says of itself before any request.
type Hello struct {
	Protocol   int               `json:"protocol"`
	PID        int               `json:"pid"`
	Repository string            `json:"repository"` // absolute path
	ID         seal.RepositoryID `json:"id"`
	Mountpoint string            `json:"mountpoint"` // absolute path
	Archive    string            `json:"archive,omitempty"`
	ReadOnly   bool              `json:"read_only"`
	Slot       string            `json:"slot,omitempty"` // the key slot that opened it
	Since      time.Time         `json:"since"`
	Log        string            `json:"log,omitempty"`
}

// ForRepository finds the daemon that has the repository in dir open for
// writing. Without one it is ErrNoDaemon.
func ForRepository(dirs []string, id seal.RepositoryID, dir string) (*Client, error) {
	name, err := socketName(id, dir, false)
	if err != nil {
		return nil, err
	}
	for _, d := range dirs {
		if private(d) != nil {
			continue
		}
		if c, err := connect(filepath.Join(d, name)); err == nil {
			return c, nil
		}
	}
	return nil, ErrNoDaemon
}

// ForMountpoint finds the daemon behind a mountpoint, an absolute path.
func ForMountpoint(dirs []string, mountpoint string) (*Client, error) {
	for _, c := range All(dirs) {
		if c.Hello.Mountpoint == mountpoint {
			return c, nil
		}
	}
	return nil, ErrNoDaemon
}

// All lists this user's daemons that answer.
func All(dirs []string) []*Client {
	var out []*Client
	for _, path := range sockets(dirs) {
		if c, err := connect(path); err == nil {
			out = append(out, c)
		}
	}
	return out
}

func connect(path string) (*Client, error) {
	conn, err := dialPath(path)
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	c := &Client{path: path}
	if err := conn.SetDeadline(time.Now().Add(helloTimeout)); err != nil {
		return nil, err
	}
	if err := c.readHello(bufio.NewReader(io.LimitReader(conn, maxRequest)), conn); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Client) readHello(r *bufio.Reader, conn *net.UnixConn) error {
	if err := sameUser(conn); err != nil {
		return fmt.Errorf("talk to the daemon: %w", err)
	}
	line, err := r.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("talk to the daemon: %w", err)
	}
	if err := json.Unmarshal(line, &c.Hello); err != nil {
		return fmt.Errorf("talk to the daemon: %w", err)
	}
	if c.Hello.Protocol != protocol {
		return fmt.Errorf("talk to the daemon: process %d is another version of bkfs", c.Hello.PID)
	}
	return nil
}

// Call sends a request and waits for its result, however long that takes.
// A failure comes back as *Failure. Cancelling ctx cancels the operation in
// the daemon too, except for OpUnmount, which then goes on by itself.
func (c *Client) Call(ctx context.Context, req Request, progress func(Progress), into any) error {
	conn, err := dialPath(c.path)
	if err != nil {
		return fmt.Errorf("talk to the daemon: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()

	r := bufio.NewReader(io.LimitReader(conn, maxEvent))
	if err := c.readHello(r, conn); err != nil {
		return err
	}
	if err := json.NewEncoder(conn).Encode(req); err != nil {
		return fmt.Errorf("ask the daemon: %w", err)
	}
	dec := json.NewDecoder(r)
	for {
		var e event
		err := dec.Decode(&e)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("the daemon (process %d) ended before it answered: %w", c.Hello.PID, err)
		case e.Failure != nil:
			return e.Failure
		case e.Progress != nil:
			if progress != nil {
				progress(*e.Progress)
			}
		default:
			return decodeResult(e.Result, into)
		}
	}
}

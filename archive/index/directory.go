package index

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"bkfs/archive/seal"
)

// Errors of Open.
var (
	// ErrForeign says that the directory holds files which aren't an index's.
	// Nothing was touched.
	ErrForeign = errors.New("directory holds other files than an index")
	// ErrInUse says that another index has the directory open.
	ErrInUse = errors.New("index is in use")
)

const (
	instanceFile = "instance"
	stateFile    = "state"
)

// The state file says what the database may have lived through. There is none
// while it is closed in good order; while it is open the file holds the id of
// the system's boot.
const stateOpening = "opening" // badger is looking at its files

// ownFile says whether a name is one that badger or this package makes.
func ownFile(name string) bool {
	switch name {
	case instanceFile, stateFile, "MANIFEST", "MANIFEST-REWRITE", "KEYREGISTRY", "REWRITE-KEYREGISTRY", "DISCARD", "LOCK":
		return true
	}
	base, ext, _ := strings.Cut(name, ".")
	if base == "" || strings.Trim(base, "0123456789") != "" {
		return false
	}
	return ext == "sst" || ext == "vlog" || ext == "mem"
}

// directory is the index's directory, locked for as long as it is open.
type directory struct {
	path string
	f    *os.File
}

func openDirectory(path string) (*directory, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	d := &directory{path, f}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			return nil, ErrInUse
		}
		return nil, fmt.Errorf("lock: %w", err)
	}
	if _, err := d.files(); err != nil {
		f.Close()
		return nil, err
	}
	return d, nil
}

func (d *directory) close() error { return d.f.Close() }

// files are the names in the directory; ErrForeign unless all are ours.
func (d *directory) files() ([]string, error) {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return nil, err
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		if !e.Type().IsRegular() || !ownFile(e.Name()) {
			return nil, fmt.Errorf("%w: %q", ErrForeign, e.Name())
		}
		names = append(names, e.Name())
	}
	return names, nil
}

// wipe removes all of the index. The instance goes first: without it the rest
// is garbage, whatever happens meanwhile.
func (d *directory) wipe() error {
	names, err := d.files()
	if err != nil {
		return err
	}
	for _, name := range append([]string{instanceFile}, names...) {
		if err := os.Remove(filepath.Join(d.path, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// instance reads the database's key; fs.ErrNotExist when there is no database.
func (d *directory) instance(keys *seal.Keys) (*seal.Object, error) {
	b, err := d.read(instanceFile, instanceSize)
	if err != nil {
		return nil, err
	}
	return parseInstance(b, keys)
}

func (d *directory) newInstance(keys *seal.Keys) (*seal.Object, error) {
	var id [32]byte
	rand.Read(id[:])
	o, err := keys.Object(seal.PurposeIndex, id)
	if err != nil {
		return nil, err
	}
	return o, d.write(instanceFile, appendInstance(nil, id, o))
}

// state is empty when the database was closed in good order.
func (d *directory) state() (string, error) {
	b, err := d.read(stateFile, 64)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err == nil && len(b) == 0 {
		return stateOpening, nil // torn by a crash
	}
	return string(b), err
}

func (d *directory) setState(state string) error {
	if state != "" {
		return d.write(stateFile, []byte(state))
	}
	if err := os.Remove(filepath.Join(d.path, stateFile)); err != nil {
		return err
	}
	return d.f.Sync()
}

// read refuses files longer than limit.
func (d *directory) read(name string, limit int) ([]byte, error) {
	f, err := os.Open(filepath.Join(d.path, name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, int64(limit)+1))
	if err == nil && len(b) > limit {
		err = fmt.Errorf("file %s: %w", name, errMalformed)
	}
	return b, err
}

// write makes a file durable. It may be torn by a crash, which its readers see.
func (d *directory) write(name string, b []byte) error {
	f, err := os.OpenFile(filepath.Join(d.path, name), os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return d.f.Sync()
}

// available is how many bytes this user may still write there.
func (d *directory) available() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(d.f.Fd()), &st); err != nil {
		return 0, fmt.Errorf("space of %s: %w", d.path, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// bootID names this run of the system; empty where it isn't told.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

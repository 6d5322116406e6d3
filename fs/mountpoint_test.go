package fs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseMount(t *testing.T) {
	for _, c := range []struct {
		name, line string
		want       mountEntry
		ok         bool
	}{
		{"plain", "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue",
			mountEntry{"/mnt2", "98:0", "ext3", "/dev/root"}, true},
		{"no optional fields", "1 2 0:52 / /m rw - fuse.bkfs x rw", mountEntry{"/m", "0:52", "fuse.bkfs", "x"}, true},
		{"escapes", `1 2 0:52 / /a\040b\134 rw - fuse.bkfs \011 rw`, mountEntry{`/a b\`, "0:52", "fuse.bkfs", "\t"}, true},
		{"escape cut short", `1 2 0:52 / /a\04 rw - t s rw`, mountEntry{`/a\04`, "0:52", "t", "s"}, true},
		{"no separator", "1 2 0:52 / /m rw fuse.bkfs x rw", mountEntry{}, false},
		{"too few fields", "1 2 0:52 / - fuse.bkfs x rw", mountEntry{}, false},
		{"no type", "1 2 0:52 / /m rw - ", mountEntry{}, false},
	} {
		if got, ok := parseMount(c.line); got != c.want || ok != c.ok {
			t.Errorf("%s: got %+v %v, want %+v %v", c.name, got, ok, c.want, c.ok)
		}
	}
}

func FuzzParseMount(f *testing.F) {
	f.Add(`1 2 0:52 / /a\040b rw - fuse.bkfs x rw`)
	f.Fuzz(func(t *testing.T, line string) {
		if m, ok := parseMount(line); ok && (m.device == "" || strings.Contains(m.device, " ")) {
			t.Errorf("got device %q", m.device)
		}
	})
}

func TestCheckMountpoint(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.Mkdir(path("empty"), 0o755),
		os.MkdirAll(path("full/x"), 0o755),
		os.WriteFile(path("file"), nil, 0o644),
		os.Symlink("empty", path("link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		dir, want string
		err       error
	}{
		{path("empty"), path("empty"), nil},
		{path("link"), path("empty"), nil},
		{path("missing"), "", ErrNoMountpoint},
		{path("missing/below"), "", ErrNoMountpoint},
		{path("file"), "", ErrMountpointNotDir},
		{path("file/below"), "", ErrMountpointNotDir},
		{path("full"), "", ErrMountpointNotEmpty},
		{"/proc", "", ErrMounted},
	} {
		if got, err := CheckMountpoint(c.dir); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %q, %v, want %q, %v", c.dir, got, err, c.want, c.err)
		}
	}
}

func TestGuardRefuses(t *testing.T) {
	if err := Guard(filepath.Join(t.TempDir(), "missing")); !errors.Is(err, ErrNoMountpoint) {
		t.Errorf("missing directory: got %v", err)
	}
	if err := Guard("/proc"); !errors.Is(err, ErrMounted) {
		t.Errorf("mountpoint in use: got %v", err)
	}
}

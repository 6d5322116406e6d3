package main

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed init
var initScript []byte

// contents is what the guest gets beside what is installed here.
type contents struct {
	kernel string // directory of the modules
	bkfs   string
	tests  string
}

// staging is the guest's root while it is put together.
type staging struct{ root string }

func makeInitrd(ctx context.Context, path, root string, c contents) error {
	s := staging{root}
	for _, dir := range []string{"bin", "dev", "etc", "etc/udev/rules.d", "modules", "proc", "run", "sys", "tmp"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for to, text := range map[string]string{
		"etc/passwd": "root:x:0:0::/:/bin/sh\nperson:x:1000:1000::/tmp:/bin/sh\n",
		"etc/group":  "root:x:0:\nplugdev:x:46:\nperson:x:1000:\n",
		"init":       string(initScript),
	} {
		if err := os.WriteFile(filepath.Join(root, to), []byte(text), 0o755); err != nil {
			return err
		}
	}
	modules, err := filepath.Glob(filepath.Join(c.kernel, "*.ko"))
	if err != nil {
		return err
	}
	if len(modules) == 0 {
		return fmt.Errorf("no modules in %s; `integration/hidraw/kernel %s` puts them there", c.kernel, c.kernel)
	}
	for _, m := range modules {
		if err := s.copy(m, "modules/"+filepath.Base(m), 0o644); err != nil {
			return err
		}
	}
	if err := s.copy(c.tests, "bin/guest.test", 0o755); err != nil {
		return err
	}
	for _, p := range []struct {
		from, to string
		mode     os.FileMode
	}{
		{c.bkfs, "bin/bkfs", 0o755},
		{"busybox", "bin/busybox", 0o755},
		{"fido2-token", "bin/fido2-token", 0o755},
		{"fusermount3", "bin/fusermount3", os.ModeSetuid | 0o755},
		{"udevadm", "bin/udevadm", 0o755},
		{"/lib/udev/fido_id", "usr/lib/udev/fido_id", 0o755},
	} {
		if err := s.program(ctx, p.from, p.to, p.mode); err != nil {
			return err
		}
	}
	const rule = "usr/lib/udev/rules.d/60-fido-id.rules"
	if err := s.copy("/"+rule, rule, 0o644); err != nil {
		return err
	}
	for to, target := range map[string]string{"bin/systemd-udevd": "udevadm", "lib/udev": "/usr/lib/udev"} {
		if err := os.Symlink(target, filepath.Join(root, to)); err != nil {
			return err
		}
	}
	return s.pack(ctx, path)
}

// program adds a program with the libraries it is linked with, which keep their places.
func (s staging) program(ctx context.Context, from, to string, mode os.FileMode) error {
	from, err := exec.LookPath(from)
	if err != nil {
		return fmt.Errorf("%w; `integration/deps hidraw` installs it", err)
	}
	if err := s.copy(from, to, mode); err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "ldd", from).CombinedOutput()
	if err != nil {
		if bytes.Contains(out, []byte("not a dynamic executable")) {
			return nil
		}
		return fmt.Errorf("ldd %s: %w: %s", from, err, out)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "not found") {
			return fmt.Errorf("ldd %s: %s", from, strings.TrimSpace(line))
		}
		for _, word := range strings.Fields(line) {
			if !strings.HasPrefix(word, "/") {
				continue
			}
			if err := s.copy(word, word, 0o755); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s staging) copy(from, to string, mode os.FileMode) error {
	to = filepath.Join(s.root, to)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer out.Close()
	if _, err := io.Copy(out, in); err != nil {
		return err
	}
	if err := out.Chmod(mode); err != nil {
		return err
	}
	return out.Close()
}

// pack writes the archive the kernel unpacks, in which everything is root's.
func (s staging) pack(ctx context.Context, path string) error {
	var names bytes.Buffer
	err := filepath.WalkDir(s.root, func(path string, _ iofs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, err := filepath.Rel(s.root, path)
		names.WriteString(name + "\x00")
		return err
	})
	if err != nil {
		return err
	}
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	defer out.Close()
	var complaints strings.Builder
	c := exec.CommandContext(ctx, "cpio", "--create", "--format=newc", "--owner=+0:+0", "--null", "--quiet")
	c.Dir, c.Stdin, c.Stdout, c.Stderr = s.root, &names, out, &complaints
	if err := c.Run(); err != nil {
		return fmt.Errorf("cpio: %w: %s", err, complaints.String())
	}
	return out.Close()
}

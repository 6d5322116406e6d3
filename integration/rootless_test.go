package integration

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Somebody who isn't root mounts through fusermount3. The device node may be root's here, so the test has one
// of its own in a private mount namespace.
func TestWithoutRoot(t *testing.T) {
	t.Parallel()
	needRoot(t)
	u := newUser(t)
	must(t, unix.Chmod(u.dir, 0o755))
	node := u.path("fuse")
	must(t, unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))))
	must(t, unix.Chmod(node, 0o666))
	dir := u.path("home")
	for _, dir := range []string{dir, dir + "/run", dir + "/mnt", dir + "/source"} {
		must(t, os.Mkdir(dir, 0o700))
	}
	must(t, os.WriteFile(dir+"/source/file", prose(1, 300<<10), 0o640))
	must(t, os.Link(dir+"/source/file", dir+"/source/link"))
	u.do("chown", "-R", "65534:65534", dir)

	script := `
set -e
mount --bind "$NODE" /dev/fuse
exec setpriv --reuid 65534 --regid 65534 --clear-groups sh -ec '
	bkfs init
	bkfs mount "$HOME/mnt"
	cp -a "$HOME/source" "$HOME/mnt/tree"
	mkdir "$HOME/mnt/tree/.snapshots/one"
	rsync -aHXn --checksum --itemize-changes "$HOME/source/" "$HOME/mnt/tree/"
	bkfs status >&2
	bkfs umount "$HOME/mnt"
	bkfs mount "$HOME/mnt"
	rsync -aHXn --checksum --itemize-changes "$HOME/source/" "$HOME/mnt/tree/.snapshots/one/"
	bkfs umount "$HOME/mnt"
'`
	v := *u
	v.vars = home(dir)
	out := v.with("NODE="+node, "BKFS_NEW_PASSPHRASE="+passphrase, "BKFS_PASSPHRASE="+passphrase).
		do("unshare", "-m", "--propagation", "private", "sh", "-c", script)
	if out != "" {
		t.Errorf("rsync found differences:\n%s", out)
	}
}

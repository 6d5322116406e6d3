package integration

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// Somebody who isn't root unmounts through fusermount3, and can end a mount under its users only where the kernel
// lists the connections.
func TestLockWithoutRoot(t *testing.T) {
	t.Parallel()
	needRoot(t)
	u := newUser(t)
	must(t, unix.Chmod(u.dir, 0o755))
	node := u.path("fuse")
	must(t, unix.Mknod(node, unix.S_IFCHR|0o666, int(unix.Mkdev(10, 229))))
	must(t, unix.Chmod(node, 0o666))
	dir := u.path("home")
	for _, dir := range []string{dir, dir + "/run", dir + "/mnt"} {
		must(t, os.Mkdir(dir, 0o700))
	}
	u.do("chown", "-R", "65534:65534", dir)

	script := `
set -e
mount --bind "$NODE" /dev/fuse
as() { setpriv --reuid 65534 --regid 65534 --clear-groups bash -euc "$1"; }
as '
	bkfs softtoken create "$HOME/token"
	bkfs init --fido2-device "soft:$HOME/token"
	code=0; bkfs mount --lock-on-removal --force-lock "$HOME/mnt" 2>"$HOME/refused" || code=$?
	cat "$HOME/refused" >&2
	test $code = 1
	grep "^bkfs: .*force-lock" "$HOME/refused" >&2
	grep "^hint: .*fusectl" "$HOME/refused" >&2
	! mountpoint -q "$HOME/mnt"
	bkfs mount --lock-on-removal "$HOME/mnt"
	mkdir "$HOME/mnt/a"
	exec 3>"$HOME/mnt/a/f"
	mv "$HOME/token" "$HOME/away"
	until bkfs status | grep LOCKING >&2; do :; done
	echo one >&3
	exec 3>&-
	until bkfs status | grep "mounted     no" >&2; do :; done
	mv "$HOME/away" "$HOME/token"
'
mount -t fusectl fusectl /sys/fs/fuse/connections
as '
	bkfs mount --lock-on-removal --force-lock "$HOME/mnt"
	exec 3>>"$HOME/mnt/a/f"
	echo two >&3
	mv "$HOME/token" "$HOME/away"
	until bkfs status | grep "mounted     no" >&2; do :; done
	! echo three >&3
	exec 3>&-
	mv "$HOME/away" "$HOME/token"
	bkfs mount "$HOME/mnt"
	cat "$HOME/mnt/a/f"
	bkfs umount "$HOME/mnt"
'`
	v := *u
	v.vars = home(dir)
	token := "soft:" + dir + "/token"
	out := v.with("NODE="+node, "BKFS_FIDO2_DEVICE="+token).do("unshare", "-m", "--propagation", "private", "bash", "-c", script)
	if i := len(out) - len("one\ntwo\n"); i < 0 || out[i:] != "one\ntwo\n" {
		t.Errorf("the file after locking twice, at the end of:\n%s", out)
	}
}

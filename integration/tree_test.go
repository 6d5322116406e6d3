package integration

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pkg/xattr"
	"golang.org/x/sys/unix"
)

// must stops the test when arranging something fails.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// noise returns n bytes nothing can compress, the same ones for the same seed.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

// prose returns n bytes of something like text.
func prose(seed uint64, n int) []byte {
	words := strings.Fields("the repository keeps every archive and its snapshots until somebody removes them by name")
	r := rand.New(rand.NewPCG(seed, seed))
	var b bytes.Buffer
	for b.Len() < n {
		b.WriteString(words[r.IntN(len(words))])
		b.WriteByte(" \n"[min(r.IntN(12)/11, 1)])
	}
	return b.Bytes()[:n]
}

// oddTree makes a tree with everything a file system can hold that this user may make.
func oddTree(t testing.TB, dir string) {
	t.Helper()
	file := func(name string, data []byte) string {
		p := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(p), 0o755))
		must(t, os.WriteFile(p, data, 0o644))
		return p
	}

	// Sizes around the splitter's and the kernel's boundaries; compressible and not; twice the same.
	for _, n := range []int{0, 1, 4095, 4096, 4097, 64<<10 - 1, 64 << 10, 128<<10 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1, 5<<20 + 123} {
		file(fmt.Sprintf("sizes/noise-%d", n), noise(uint64(n), n))
		file(fmt.Sprintf("sizes/prose-%d", n), prose(uint64(n), n))
	}
	file("sizes/twin", noise(1<<20, 1<<20))
	for i := range 2000 {
		file(fmt.Sprintf("many/%d/file %d.txt", i%7, i), prose(uint64(i), i%900))
	}
	file(strings.Repeat("deep/", 60)+"end", []byte("down here\n"))
	must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o700))

	// Names.
	for _, name := range []string{
		"not\xff\xfeutf-8", strings.Repeat("n", 255), strings.Repeat("ü", 127), "new\nline", "tab\tand\x01control",
		" leading and trailing ", "-rf", "--", "back\\slash", `"quotes'`, "*?[a]", "...", ".hidden", "~", "日本語 😀", "e\u0301", "é",
		".snapshot", "snapshots", "latest",
	} {
		file("names/"+name, []byte(name))
	}

	// Links.
	first := file("links/first", noise(7, 300<<10))
	must(t, os.Link(first, filepath.Join(dir, "links/second")))
	must(t, os.Link(first, filepath.Join(dir, "empty/third")))
	for name, target := range map[string]string{
		"to-file": "first", "dangling": "no/such/thing", "absolute": "/etc/hostname", "loop": "loop",
		"odd": "a\nb\xff", "long": strings.Repeat("long/", 800) + "end", "up": "../sizes",
	} {
		must(t, os.Symlink(target, filepath.Join(dir, "links", name)))
	}
	unix.Link(filepath.Join(dir, "links/dangling"), filepath.Join(dir, "links/dangling-too"))

	// Holes: before, between and after data.
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	for _, off := range []int64{10 << 20, 10<<20 + 4096, 40<<20 + 17} {
		_, err := sparse.WriteAt(noise(uint64(off), 5000), off)
		must(t, err)
	}
	must(t, sparse.Truncate(64<<20))
	must(t, sparse.Close())

	// Modes, attributes.
	for _, mode := range []uint32{0, 0o400, 0o604, 0o777, 0o4755, 0o2755, 0o1644} {
		p := file(fmt.Sprintf("modes/%04o", mode), []byte("mode"))
		must(t, unix.Chmod(p, mode))
	}
	must(t, unix.Chmod(filepath.Join(dir, "empty"), 0o3771))
	attributed := file("xattrs/file", []byte("with attributes"))
	for name, value := range map[string]string{
		"user.note": "hello", "user.empty": "", "user.binary": "\x00\xff\n", "user.large": string(noise(3, 2000)),
		"user." + strings.Repeat("x", 200): "long name",
	} {
		must(t, xattr.Set(attributed, name, []byte(value)))
	}
	must(t, xattr.Set(filepath.Join(dir, "xattrs"), "user.dir", []byte("directories too")))

	if os.Geteuid() == 0 {
		privileged(t, dir, file)
	}

	// Times, last: the past, the future, and nanoseconds; on a directory too.
	for name, at := range map[string]time.Time{
		"times/1970": time.Unix(0, 1), "times/1901": time.Unix(-1<<31+1, 0), "times/2242": time.Unix(8589934592, 999999999),
		"times/now": time.Unix(1763900000, 123456789),
	} {
		p := file(name, []byte("time"))
		must(t, os.Chtimes(p, at, at))
	}
	old := time.Unix(981173106, 987654321)
	must(t, os.Chtimes(filepath.Join(dir, "many"), old, old))
}

// privileged adds what only root can make.
func privileged(t testing.TB, dir string, file func(string, []byte) string) {
	t.Helper()
	for i, owner := range [][2]int{{1000, 1000}, {0, 7}, {123456, 4294967294 - 1}} {
		must(t, os.Chown(file(fmt.Sprintf("owners/%d", i), []byte("owned")), owner[0], owner[1]))
	}
	node := func(name string, mode uint32, major, minor uint32) {
		must(t, unix.Mknod(filepath.Join(dir, name), mode, int(unix.Mkdev(major, minor))))
	}
	node("fifo", unix.S_IFIFO|0o640, 0, 0)
	node("socket", unix.S_IFSOCK|0o755, 0, 0)
	node("null", unix.S_IFCHR|0o666, 1, 3)
	node("block", unix.S_IFBLK|0o600, 259, 70000)
	node("whiteout", unix.S_IFCHR, 0, 0)
	must(t, xattr.Set(filepath.Join(dir, "xattrs/file"), "trusted.secret", []byte("for root")))
	capable := file("xattrs/capable", []byte("#!"))
	must(t, xattr.Set(capable, "security.capability", []byte("\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")))
	must(t, xattr.LSet(filepath.Join(dir, "links/dangling"), "trusted.link", []byte("symlinks too")))
}

// withACLs adds access and default ACLs.
func withACLs(u *user, dir string) {
	u.Helper()
	u.do("setfacl", "-m", "u:1000:rwx,g:7:r-x", filepath.Join(dir, "xattrs/file"))
	u.do("setfacl", "-d", "-m", "u:1001:rx", filepath.Join(dir, "xattrs"))
}

// copyTree copies a tree with all cp can copy.
func copyTree(from, to string) error { return exec.Command("cp", "-a", from, to).Run() }

// digest stands for contents in messages and comparisons.
func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// same checks that two trees hold the same: names, types, bytes, links, owners, modes, times, ACLs and attributes.
func (u *user) same(want, got string) {
	u.Helper()
	r := u.run("rsync", "-aHAXn", "--delete", "--checksum", "--itemize-changes", want+"/", got+"/")
	if r.code != 0 || r.stdout != "" || r.stderr != "" {
		u.Errorf("%s differs from %s (rsync exit code %d):\n%.4000s%.2000s", got, want, r.code, r.stdout, r.stderr)
	}
}

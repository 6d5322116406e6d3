package fs

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"bkfs/archive"

	"github.com/google/go-cmp/cmp"
)

// Vectors as the kernel passes them (getfattr -e hex), and damaged ones with
// what is wrong. mode is what the list amounts to.
var aclVectors = []struct {
	name  string
	hex   string
	wrong string // part of the error; "" when it is right
	mode  uint32
}{
	{"setfacl -m u:1:rwx,g:2:r-x", "02000000" +
		"01000600ffffffff" + "0200070001000000" + "04000400ffffffff" +
		"0800050002000000" + "10000700ffffffff" + "20000400ffffffff", "", 0o674},
	{"setfacl -d -m u::rwx,g::r-x,o::-", "02000000" +
		"01000700ffffffff" + "04000500ffffffff" + "20000000ffffffff", "", 0o750},
	{"no entries", "02000000", "", 0},
	{"nothing", "", "0 bytes", 0},
	{"short header", "020000", "3 bytes", 0},
	{"half an entry", "0200000001000600", "8 bytes", 0},
	{"version 1", "01000000", "version 1", 0},
	{"unknown tag", "0200000003000600ffffffff", "tag 0x3", 0},
	{"four permission bits", "0200000001000f00ffffffff", "permissions 017", 0},
	{"owner twice", "02000000" + "01000600ffffffff" + "01000600ffffffff", "out of order", 0},
	{"others before owner", "02000000" + "20000000ffffffff" + "01000600ffffffff", "out of order", 0},
	{"named group before named user", "02000000" +
		"01000600ffffffff" + "0800050002000000" + "0200070001000000", "out of order", 0},
	{"owner only", "0200000001000600ffffffff", "missing", 0},
	{"named user without a mask", "02000000" +
		"01000600ffffffff" + "0200070001000000" + "04000400ffffffff" + "20000400ffffffff", "missing", 0},
}

func TestParseACL(t *testing.T) {
	for _, v := range aclVectors {
		b, err := hex.DecodeString(v.hex)
		if err != nil {
			t.Fatal(err)
		}
		l, err := parseACL(b)
		switch {
		case v.wrong != "":
			if !errors.Is(err, errACL) || !strings.Contains(err.Error(), v.wrong) {
				t.Errorf("%s: got error %v, want one with %q", v.name, err, v.wrong)
			}
		case err != nil:
			t.Errorf("%s: %v", v.name, err)
		case !bytes.Equal(l.bytes(), b):
			t.Errorf("%s: got back %x", v.name, l.bytes())
		case l.perm() != v.mode:
			t.Errorf("%s: got mode %o, want %o", v.name, l.perm(), v.mode)
		}
	}
}

func TestParseACLTooLong(t *testing.T) {
	b := make([]byte, aclHeader+(aclMax+1)*aclEntrySize)
	b[0] = aclVersion
	if _, err := parseACL(b); !errors.Is(err, errACL) {
		t.Errorf("got error %v", err)
	}
}

func FuzzParseACL(f *testing.F) {
	for _, v := range aclVectors {
		b, _ := hex.DecodeString(v.hex)
		f.Add(b, uint32(0o640))
	}
	f.Fuzz(func(t *testing.T, b []byte, mode uint32) {
		l, err := parseACL(b)
		if err != nil {
			return
		}
		again, err := parseACL(l.bytes())
		if err != nil || !cmp.Equal(again.bytes(), l.bytes()) {
			t.Fatalf("%x isn't read back: %v", l.bytes(), err)
		}
		if len(l) == 0 {
			return
		}
		if got := l.restrict(mode & 0o777); got&^mode != 0 {
			t.Fatalf("restrict(%o) gave %o", mode&0o777, got)
		}
		l.chmod(mode & 0o777)
		if got := l.perm(); got != mode&0o777 {
			t.Fatalf("mode %o after chmod %o", got, mode&0o777)
		}
		if err := l.check(); err != nil {
			t.Fatal(err)
		}
	})
}

func list(entries ...aclEntry) acl { return entries }

func entry(tag, perm uint16, id uint32) aclEntry { return aclEntry{tag, perm, id} }

// What POSIX.1e 23.1.5.1 and acl(5), "object creation and default ACLs", say.
func TestInherit(t *testing.T) {
	minimal := list(entry(tagUserObj, 7, 0), entry(tagGroupObj, 5, 0), entry(tagOther, 0, 0))
	named := list(entry(tagUserObj, 7, 0), entry(tagUser, 7, 1), entry(tagGroupObj, 5, 0),
		entry(tagMask, 7, 0), entry(tagOther, 0, 0))
	restricted := list(entry(tagUserObj, 6, 0), entry(tagUser, 7, 1), entry(tagGroupObj, 5, 0),
		entry(tagMask, 6, 0), entry(tagOther, 0, 0))
	const file, dir, link = archive.ModeFile, archive.ModeDir, archive.ModeSymlink
	for _, c := range []struct {
		name        string
		defaults    []byte
		mode, umask uint32
		want        uint32
		xattrs      map[string][]byte
	}{
		{"umask, no default ACL", nil, file | 0o666, 0o027, file | 0o640, nil},
		{"umask spares the special bits", nil, dir | 0o3777, 0o7022, dir | 0o3755, nil},
		{"empty default ACL is none", acl(nil).bytes(), file | 0o666, 0o022, file | 0o644, nil},
		{"no umask with a default ACL", minimal.bytes(), file | 0o666, 0o077, file | 0o640, map[string][]byte{}},
		{"directories pass it on", minimal.bytes(), dir | 0o777, 0o077, dir | 0o750,
			map[string][]byte{aclDefault: minimal.bytes()}},
		{"named entries are kept, the mask restricted", named.bytes(), file | 0o666, 0o077, file | 0o660,
			map[string][]byte{aclAccess: restricted.bytes()}},
		{"symbolic links have none", named.bytes(), link, 0o077, link | 0o777, nil},
	} {
		mode, xattrs, err := inherit(c.defaults, c.mode, c.umask)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if mode != c.want {
			t.Errorf("%s: got mode %o, want %o", c.name, mode, c.want)
		}
		if diff := cmp.Diff(c.xattrs, xattrs); diff != "" {
			t.Errorf("%s: attributes: want -, got +\n%s", c.name, diff)
		}
	}
	if _, _, err := inherit([]byte{1}, file, 0); err == nil {
		t.Error("a malformed default ACL was inherited")
	}
}

// With a mask, chmod's group bits are the mask's (POSIX.1e 23.1.5).
func TestACLChmod(t *testing.T) {
	l := list(entry(tagUserObj, 7, 0), entry(tagUser, 7, 1), entry(tagGroupObj, 5, 0),
		entry(tagMask, 7, 0), entry(tagOther, 0, 0))
	l.chmod(0o641)
	want := list(entry(tagUserObj, 6, 0), entry(tagUser, 7, 1), entry(tagGroupObj, 5, 0),
		entry(tagMask, 4, 0), entry(tagOther, 1, 0))
	if diff := cmp.Diff(want, l, cmp.AllowUnexported(aclEntry{})); diff != "" {
		t.Errorf("want -, got +\n%s", diff)
	}
}

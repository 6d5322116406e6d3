package fs

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func TestParseOptions(t *testing.T) {
	for _, c := range []struct {
		list string
		want Options
	}{
		{"", Options{}},
		{"ro,allow_other,suid,dev,fsname=/a b,noexec", Options{
			ReadOnly: true, AllowOther: true, Suid: true, Dev: true, FsName: "/a b", Extra: []string{"noexec"}}},
		{"ro,rw,suid,nosuid,no_default_permissions,default_permissions", Options{}},
		{"defaults,_netdev,nofail,x-systemd.automount,comment=a,users,context=a:b", Options{Extra: []string{"context=a:b"}}},
	} {
		var got Options
		if err := got.Parse(c.list); err != nil {
			t.Errorf("%q: %v", c.list, err)
		} else if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%q: want -, got +\n%s", c.list, diff)
		}
	}
	for _, list := range []string{"auto_unmount", "nonempty", "ro,allow_root", "fsname", "frobnicate", "max_read=4096", "ro=1", "context"} {
		if err := new(Options).Parse(list); err == nil {
			t.Errorf("%q was accepted", list)
		}
	}
}

func TestMountFlags(t *testing.T) {
	const usual = unix.MS_NOATIME | unix.MS_NOSUID | unix.MS_NODEV
	for _, c := range []struct {
		name string
		o    Options
		bits uintptr
		rest []string
	}{
		{"private", Options{}, usual, nil},
		{"ro", Options{ReadOnly: true}, usual | unix.MS_RDONLY, nil},
		{"suid,dev", Options{Suid: true, Dev: true}, unix.MS_NOATIME, nil},
		{"nothing at all", Options{Suid: true, Dev: true, Extra: []string{"atime"}}, unix.MS_MGC_VAL, nil},
		{"flags and words", Options{Extra: []string{"noexec", "context=a"}}, usual | unix.MS_NOEXEC, []string{"context=a"}},
	} {
		if bits, rest := c.o.flags(); bits != c.bits || !cmp.Equal(rest, c.rest) {
			t.Errorf("%s: got %#x %q, want %#x %q", c.name, bits, rest, c.bits, c.rest)
		}
	}
	if err := (&Options{AllowOther: true, NoPermissions: true}).Check(); err == nil {
		t.Error("allow_other without permission checks was accepted")
	}
}

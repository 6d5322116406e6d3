package fs

import (
	"testing"
	"time"

	"bkfs/archive"

	"github.com/google/go-cmp/cmp"
	"github.com/hanwen/go-fuse/v2/fuse"
)

func TestChangeOf(t *testing.T) {
	now := time.Unix(100, 7)
	mode, uid, size := uint32(0o4755), uint32(3), uint64(9)
	in := fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{
		Mode: 0o104755, Size: size, Owner: fuse.Owner{Uid: uid, Gid: 4},
		Mtime: ^uint64(0), Mtimensec: 5, // one second before 1970
	}}
	for _, c := range []struct {
		name  string
		valid uint32
		want  archive.Change
	}{
		{"nothing", 0, archive.Change{}},
		{"a handle only", fuse.FATTR_FH | fuse.FATTR_LOCKOWNER, archive.Change{}},
		{"chmod", fuse.FATTR_MODE, archive.Change{Mode: &mode}},
		{"chown, one of two", fuse.FATTR_UID, archive.Change{UID: &uid}},
		{"truncate", fuse.FATTR_SIZE | fuse.FATTR_KILL_SUIDGID, archive.Change{Size: &size, KillSUIDGID: true}},
		{"time before 1970", fuse.FATTR_MTIME, archive.Change{Mtime: &archive.Time{Sec: -1, Nsec: 5}}},
		{"now", fuse.FATTR_ATIME | fuse.FATTR_ATIME_NOW, archive.Change{Atime: &archive.Time{Sec: 100, Nsec: 7}}},
	} {
		in.Valid = c.valid
		if diff := cmp.Diff(c.want, changeOf(&in, now)); diff != "" {
			t.Errorf("%s: want -, got +\n%s", c.name, diff)
		}
	}
}

func TestFillKeepsTimesBefore1970(t *testing.T) {
	var out fuse.Attr
	fill(&out, &archive.Attr{Mtime: archive.Time{Sec: -2, Nsec: 999999999}}, 1)
	if int64(out.Mtime) != -2 || out.Mtimensec != 999999999 {
		t.Errorf("got %d s %d ns", int64(out.Mtime), out.Mtimensec)
	}
}

package archive

import "time"

// An Ino is an inode number, unique in its tree and never given out twice
// there. The root directory of every tree is RootIno.
type Ino uint64

const (
	RootIno Ino = 1
	// MaxIno bounds inode numbers, so that tree number and inode number fit
	// into one 64-bit number for the kernel.
	MaxIno Ino = 1<<40 - 1

	// NameMax is the longest name, in bytes.
	NameMax = 255
	// XattrNameMax and XattrValueMax are the kernel's own limits, in bytes.
	XattrNameMax  = 255
	XattrValueMax = 64 << 10
	// xattrTotalMax bounds all names and values of one inode, in bytes.
	xattrTotalMax = 256 << 10
	// LinkMax is the largest number of names of one inode.
	LinkMax = 1<<31 - 1
	// SizeMax is the largest file, in bytes.
	SizeMax = 1<<63 - 1
)

// File types as in st_mode (POSIX sys/stat.h, Linux values).
const (
	ModeType    uint32 = 0o170000
	ModeSocket  uint32 = 0o140000
	ModeSymlink uint32 = 0o120000
	ModeFile    uint32 = 0o100000
	ModeBlock   uint32 = 0o060000
	ModeDir     uint32 = 0o040000
	ModeChar    uint32 = 0o020000
	ModeFIFO    uint32 = 0o010000

	modeSetUID   uint32 = 0o4000
	modeSetGID   uint32 = 0o2000
	modeGroupRun uint32 = 0o0010
)

// A Time is a moment as seconds since 1970-01-01 UTC (negative before) and
// nanoseconds in [0, 1e9).
type Time struct {
	Sec  int64
	Nsec uint32
}

// TimeOf converts t.
func TimeOf(t time.Time) Time { return Time{t.Unix(), uint32(t.Nanosecond())} }

// Time converts back.
func (t Time) Time() time.Time { return time.Unix(t.Sec, int64(t.Nsec)) }

func now() Time { return TimeOf(time.Now()) }

// An Attr is what stat(2) tells of an inode. Size is in bytes, Blocks in units
// of 512 bytes of logical size.
type Attr struct {
	Ino                        Ino
	Mode                       uint32 // type and permission bits
	Nlink, UID, GID, Rdev      uint32
	Size, Blocks               uint64
	Atime, Mtime, Ctime, Btime Time
	Generation                 uint64
}

// A Creation says what a new inode is to be.
type Creation struct {
	Mode     uint32 // type and permission bits; the umask is already applied
	Rdev     uint32
	UID, GID uint32
	Xattrs   map[string][]byte // set from the start, e.g. inherited ACLs
}

// A Change says which attributes SetAttr is to set; nil leaves one alone.
type Change struct {
	Mode, UID, GID      *uint32
	Size                *uint64
	Atime, Mtime, Ctime *Time
	KillSUIDGID         bool // drop set-user-ID, and set-group-ID of group-executable files
}

// An Entry is a directory entry. Cookie is its place in the directory's stable
// order: it depends on the name alone, so that a listing can be continued after
// it whatever was created or removed in between.
type Entry struct {
	Name   string
	Ino    Ino
	Mode   uint32 // type bits only
	Cookie uint64
	Attr   *Attr // only when ReadDir was asked for attributes
}

// Rename flags, as of renameat2(2).
const (
	RenameNoReplace uint32 = 1 << 0
	RenameExchange  uint32 = 1 << 1
)

package fs

import (
	"fmt"
	"log/slog"
	"strings"

	"golang.org/x/sys/unix"
)

// Options say how a repository is mounted. The zero value is a private,
// read-write mount without set-user-ID programs and devices.
type Options struct {
	Archive       string // show this archive's root as the mount's root
	ReadOnly      bool
	AllowOther    bool // other users may use the mount
	NoPermissions bool // the kernel doesn't check modes and ACLs; not with AllowOther
	Suid, Dev     bool // honour set-user-ID bits, device nodes; root only
	IDMapped      bool // the mount may be id-mapped (mount_setattr(2)); root only
	FsName        string
	Extra         []string // mountFlags, and labelled options for the kernel
	Guard         bool     // make the mountpoint immutable first: Guard
	Log           *slog.Logger
	Debug         bool // log every request
}

// mountFlags are the options that mount(2) takes as bits (those that a FUSE
// mount can have), and whether they set or clear them.
var mountFlags = map[string]struct { //nolint:gochecknoglobals // a table that nothing writes
	bit uintptr
	set bool
}{
	"exec": {unix.MS_NOEXEC, false}, "noexec": {unix.MS_NOEXEC, true},
	"nosuid": {unix.MS_NOSUID, true}, "nodev": {unix.MS_NODEV, true},
	"atime": {unix.MS_NOATIME, false}, "noatime": {unix.MS_NOATIME, true},
	"relatime": {0, true}, "diratime": {0, true}, "nodiratime": {0, true}, // no reading changes a time here
	"sync": {unix.MS_SYNCHRONOUS, true}, "async": {unix.MS_SYNCHRONOUS, false},
	"dirsync": {unix.MS_DIRSYNC, true},
}

// Parse sets what a list of mount options says, as of `mount -o`. Those that
// concern only fstab(5) are passed over; one that isn't known is an error.
func (o *Options) Parse(list string) error {
	for opt := range strings.SplitSeq(list, ",") {
		name, value, hasValue := strings.Cut(opt, "=")
		switch {
		case opt == "":
		case name == "fsname" && hasValue:
			o.FsName = value
		case strings.HasPrefix(name, "x-"), name == "comment" && hasValue:
		case hasValue && (name == "context" || name == "fscontext" || name == "defcontext" || name == "rootcontext"):
			// For the kernel's security modules.
			o.Extra = append(o.Extra, opt)
		case hasValue:
			return fmt.Errorf("mount option %q isn't known", opt)
		default:
			if err := o.flag(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *Options) flag(name string) error {
	switch name {
	case "ro":
		o.ReadOnly = true
	case "rw":
		o.ReadOnly = false
	case "allow_other":
		o.AllowOther = true
	case "default_permissions":
		o.NoPermissions = false
	case "no_default_permissions":
		o.NoPermissions = true
	case "suid":
		o.Suid = true
	case "nosuid":
		o.Suid = false
	case "dev":
		o.Dev = true
	case "nodev":
		o.Dev = false
	case "idmap":
		o.IDMapped = true
	case "defaults", "_netdev", "nofail", "auto", "noauto", "user", "nouser", "users", "owner", "group":
	case "subtype", "fsname", "auto_unmount", "nonempty", "allow_root", "writeback_cache":
		return fmt.Errorf("mount option %q isn't supported", name)
	default:
		if _, known := mountFlags[name]; !known {
			return fmt.Errorf("mount option %q isn't known", name)
		}
		o.Extra = append(o.Extra, name)
	}
	return nil
}

// Check refuses what doesn't go together, when all lists are parsed.
func (o *Options) Check() error {
	if o.AllowOther && o.NoPermissions {
		return fmt.Errorf("allow_other without permission checks would show everybody everything")
	}
	return nil
}

// flags returns Extra apart: bits for mount(2), and what is left for the kernel
// to read.
func (o *Options) flags() (bits uintptr, rest []string) {
	bits = unix.MS_NOATIME
	if !o.Suid {
		bits |= unix.MS_NOSUID
	}
	if !o.Dev {
		bits |= unix.MS_NODEV
	}
	if o.ReadOnly {
		bits |= unix.MS_RDONLY
	}
	for _, opt := range o.Extra {
		switch f, ok := mountFlags[opt]; {
		case !ok:
			rest = append(rest, opt)
		case f.set:
			bits |= f.bit
		default:
			bits &^= f.bit
		}
	}
	if bits == 0 {
		bits = unix.MS_MGC_VAL // go-fuse takes 0 to mean its default
	}
	return bits, rest
}

package fs

import (
	"encoding/binary"
	"errors"
	"fmt"

	"bkfs/archive"
)

// The names under which the kernel reads and writes POSIX ACLs.
const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
)

// Tags of ACL entries (linux/posix_acl.h).
const (
	tagUserObj  = 0x01
	tagUser     = 0x02
	tagGroupObj = 0x04
	tagGroup    = 0x08
	tagMask     = 0x10
	tagOther    = 0x20
)

const (
	aclVersion   = 2
	aclHeader    = 4
	aclEntrySize = 8
	// aclMax bounds the entries of a list, as an attribute's 64 KiB do.
	aclMax = (archive.XattrValueMax - aclHeader) / aclEntrySize
)

// An acl is a POSIX access control list (IEEE 1003.1e draft 17): in this order
// the owner's entry, named users, the owning group's, named groups, the mask
// (required with named entries) and all others'.
type acl []aclEntry

type aclEntry struct {
	tag, perm uint16
	id        uint32 // of named users and groups
}

var errACL = errors.New("malformed ACL")

// parseACL parses what the kernel passes as an extended attribute's value
// (linux/posix_acl_xattr.h: little-endian; version, then tag, perm, id). A list
// without entries is nil: it means that there is none.
func parseACL(b []byte) (acl, error) {
	if len(b) < aclHeader || (len(b)-aclHeader)%aclEntrySize != 0 {
		return nil, fmt.Errorf("%w: %d bytes", errACL, len(b))
	}
	if v := binary.LittleEndian.Uint32(b); v != aclVersion {
		return nil, fmt.Errorf("%w: version %d", errACL, v)
	}
	b = b[aclHeader:]
	if len(b)/aclEntrySize > aclMax {
		return nil, fmt.Errorf("%w: too many entries", errACL)
	}
	var l acl
	for ; len(b) > 0; b = b[aclEntrySize:] {
		l = append(l, aclEntry{
			tag:  binary.LittleEndian.Uint16(b),
			perm: binary.LittleEndian.Uint16(b[2:]),
			id:   binary.LittleEndian.Uint32(b[4:]),
		})
	}
	return l, l.check()
}

// check tells whether the entries are those that must be there, in order.
func (l acl) check() error {
	if len(l) == 0 {
		return nil
	}
	var seen, last uint16
	for _, e := range l {
		if e.perm&^0o7 != 0 {
			return fmt.Errorf("%w: permissions %#o", errACL, e.perm)
		}
		switch e.tag {
		case tagUser, tagGroup:
			if e.tag < last {
				return fmt.Errorf("%w: entry %#x out of order", errACL, e.tag)
			}
		case tagUserObj, tagGroupObj, tagMask, tagOther:
			if e.tag <= last {
				return fmt.Errorf("%w: entry %#x out of order", errACL, e.tag)
			}
		default:
			return fmt.Errorf("%w: tag %#x", errACL, e.tag)
		}
		seen |= e.tag
		last = e.tag
	}
	need := uint16(tagUserObj | tagGroupObj | tagOther)
	if seen&(tagUser|tagGroup) != 0 {
		need |= tagMask
	}
	if seen&need != need {
		return fmt.Errorf("%w: entries are missing", errACL)
	}
	return nil
}

// bytes is the reverse of parseACL.
func (l acl) bytes() []byte {
	b := make([]byte, 0, aclHeader+len(l)*aclEntrySize)
	b = binary.LittleEndian.AppendUint32(b, aclVersion)
	for _, e := range l {
		id := e.id
		if e.tag != tagUser && e.tag != tagGroup {
			id = ^uint32(0)
		}
		b = binary.LittleEndian.AppendUint16(b, e.tag)
		b = binary.LittleEndian.AppendUint16(b, e.perm)
		b = binary.LittleEndian.AppendUint32(b, id)
	}
	return b
}

// isMinimal tells whether the list says no more than permission bits do.
func (l acl) isMinimal() bool { return len(l) <= 3 }

// classes calls fn with the entries that the mode's three groups of bits stand
// for: the group's are the mask's where there is one (POSIX.1e 23.1.5).
func (l acl) classes(fn func(e *aclEntry, shift uint)) {
	group := -1
	for i := range l {
		switch l[i].tag {
		case tagUserObj:
			fn(&l[i], 6)
		case tagGroupObj:
			if group < 0 {
				group = i
			}
		case tagMask:
			group = i
		case tagOther:
			fn(&l[i], 0)
		}
	}
	if group >= 0 {
		fn(&l[group], 3)
	}
}

// perm returns the permission bits that the list amounts to.
func (l acl) perm() (bits uint32) {
	l.classes(func(e *aclEntry, shift uint) { bits |= uint32(e.perm) << shift })
	return bits
}

// chmod makes the list agree with a mode's permission bits.
func (l acl) chmod(mode uint32) {
	l.classes(func(e *aclEntry, shift uint) { e.perm = uint16(mode >> shift & 0o7) })
}

// restrict takes away from a new file's inherited list what the creator's mode
// lacks, and returns the mode that both leave (POSIX.1e 23.1.5.1).
func (l acl) restrict(mode uint32) uint32 {
	l.classes(func(e *aclEntry, shift uint) {
		e.perm &= uint16(mode >> shift & 0o7)
		mode &^= (^uint32(e.perm) & 0o7) << shift
	})
	return mode
}

// inherit works out the mode and the ACLs of a new inode from the directory's
// default ACL ("" when it has none), the mode asked for and the caller's umask,
// which counts only without a default ACL. The kernel leaves both to us
// (FUSE_DONT_MASK).
func inherit(dirDefault []byte, mode, umask uint32) (uint32, map[string][]byte, error) {
	if mode&archive.ModeType == archive.ModeSymlink {
		return archive.ModeSymlink | 0o777, nil, nil
	}
	var l acl
	if len(dirDefault) > 0 {
		var err error
		if l, err = parseACL(dirDefault); err != nil {
			return 0, nil, err
		}
	}
	if len(l) == 0 {
		return mode &^ (umask & 0o777), nil, nil
	}
	xattrs := make(map[string][]byte, 2)
	if mode&archive.ModeType == archive.ModeDir {
		xattrs[aclDefault] = l.bytes()
	}
	mode = l.restrict(mode)
	if !l.isMinimal() {
		xattrs[aclAccess] = l.bytes()
	}
	return mode, xattrs, nil
}

// chmodACL makes an inode's ACL, if it has one, agree with a new mode. It goes
// before the mode itself: an interruption between the two then leaves the
// kernel with the permissions asked for.
func (f *filesystem) chmodACL(t *archive.Tree, ino archive.Ino, mode uint32) error {
	b, err := t.Getxattr(f.ctx, ino, aclAccess)
	if errors.Is(err, archive.ErrNoAttr) {
		return nil
	}
	if err != nil {
		return err
	}
	l, err := parseACL(b)
	if err != nil {
		return fmt.Errorf("inode %d: %w: %w", ino, archive.ErrDamaged, err)
	}
	if l.perm() == mode&0o777 {
		return nil
	}
	l.chmod(mode)
	return t.Setxattr(f.ctx, ino, aclAccess, l.bytes(), 0)
}

// setAccessACL stores an access ACL, or, when it says no more than a mode does,
// drops the one there is; the mode follows it (acl(5), "correspondence").
func (f *filesystem) setAccessACL(t *archive.Tree, ino archive.Ino, b []byte, killSGID bool) error {
	l, err := parseACL(b)
	if err != nil {
		return fmt.Errorf("%w: %w", archive.ErrInvalid, err)
	}
	a, err := t.Attr(f.ctx, ino)
	if err != nil {
		return err
	}
	if l.isMinimal() {
		err = t.Removexattr(f.ctx, ino, aclAccess)
		if errors.Is(err, archive.ErrNoAttr) {
			err = nil
		}
	} else {
		err = t.Setxattr(f.ctx, ino, aclAccess, l.bytes(), 0)
	}
	if err != nil || len(l) == 0 {
		return err
	}
	mode := a.Mode&0o7000 | l.perm()
	if killSGID {
		mode &^= 0o2000
	}
	if mode == a.Mode&0o7777 {
		return nil
	}
	_, err = t.SetAttr(f.ctx, ino, archive.Change{Mode: &mode})
	return err
}

// setDefaultACL stores a directory's default ACL; an empty one removes it.
func (f *filesystem) setDefaultACL(t *archive.Tree, ino archive.Ino, b []byte) error {
	l, err := parseACL(b)
	if err != nil {
		return fmt.Errorf("%w: %w", archive.ErrInvalid, err)
	}
	if len(l) > 0 {
		return t.Setxattr(f.ctx, ino, aclDefault, l.bytes(), 0)
	}
	err = t.Removexattr(f.ctx, ino, aclDefault)
	if errors.Is(err, archive.ErrNoAttr) {
		return nil
	}
	return err
}

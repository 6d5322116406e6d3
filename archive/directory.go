package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"bkfs/archive/page"
)

// A directory is what the pages hold of a directory: two maps by cookie. names
// has what a copy of the directory has too: names, modes, owners, contents.
// stamps has what is its own: inode numbers, birth and change times. So a
// second copy of a tree shares all of names with the first, and costs stamps.
type directory struct {
	names, stamps page.Root
}

func (d directory) isEmpty() bool { return d.names.Count == 0 }

func appendDirectory(b []byte, d directory) []byte {
	return appendRoot(appendRoot(b, d.names), d.stamps)
}

func (d *decoder) directory() directory { return directory{d.root(), d.root()} }

// A dirEntry is one name in a directory. From pages it carries its node, unless
// that is shared.
type dirEntry struct {
	name string
	ino  Ino
	typ  uint32 // type bits of the mode
	node *node  // nil for shared nodes, and in overlays
}

// A baseEntry is an entry with its cookie.
type baseEntry struct {
	cookie uint64
	dirEntry
}

func cookieKey(c uint64) []byte { return binary.BigEndian.AppendUint64(nil, c) }

// appendName appends an entry's record in names.
func appendName(b []byte, e dirEntry) []byte {
	b = appendString(b, e.name)
	b = append(b, byte(e.typ>>12))
	if e.node == nil {
		return append(b, 0)
	}
	n := e.node
	b = append(b, 1)
	b = appendFace(b, n)
	b = appendTime(b, n.attr.Atime)
	b = appendTime(b, n.attr.Mtime)
	switch {
	case n.isDir():
		b = binary.AppendUvarint(b, uint64(n.attr.Nlink))
		b = appendRoot(b, n.entries.names)
	case n.isFile():
		b = appendExtents(b, n.content)
	}
	return b
}

// appendStamp appends an entry's record in stamps. Numbers are relative to the
// directory's, times to each other: both are mostly small then.
func appendStamp(b []byte, dir Ino, e dirEntry) []byte {
	b = binary.AppendVarint(b, int64(e.ino)-int64(dir))
	if e.node == nil {
		return b
	}
	birth, change := e.node.attr.Btime, e.node.attr.Ctime
	b = appendTime(b, birth)
	b = binary.AppendVarint(b, change.Sec-birth.Sec)
	b = binary.AppendVarint(b, int64(change.Nsec)-int64(birth.Nsec))
	if e.node.isDir() {
		b = appendRoot(b, e.node.entries.stamps)
	}
	return b
}

// decodeName reads the part of an entry that names has.
func decodeName(b []byte) (dirEntry, error) {
	d := decoder{b: b}
	e := dirEntry{name: string(d.bytes(NameMax)), typ: uint32(d.byte()) << 12}
	if d.bool() {
		n := d.face()
		n.attr.Nlink = 1
		n.attr.Atime, n.attr.Mtime = d.time(), d.time()
		switch {
		case n.isDir():
			n.attr.Nlink = d.uint32()
			n.entries.names = d.root()
		case n.isFile():
			n.content = d.extents()
		}
		if d.err == nil && n.attr.Mode&ModeType != e.typ {
			d.fail(errors.New("entry and inode are of different types"))
		}
		e.node = n
	}
	if d.err == nil && (checkName(e.name) != nil || !isType(e.typ)) {
		d.fail(errors.New("entry is out of range"))
	}
	d.end()
	return e, d.err
}

// addStamp completes an entry of directory dir by what stamps has.
func (e *dirEntry) addStamp(b []byte, dir Ino) error {
	d := decoder{b: b}
	e.ino = Ino(int64(dir) + d.varint())
	if d.err == nil && (e.ino == 0 || e.ino > MaxIno) {
		d.fail(errors.New("inode number is out of range"))
	}
	if n := e.node; n != nil {
		n.attr.Ino = e.ino
		n.attr.Btime = d.time()
		n.attr.Ctime.Sec = n.attr.Btime.Sec + d.varint()
		nsec := int64(n.attr.Btime.Nsec) + d.varint()
		if d.err == nil && (nsec < 0 || nsec >= 1e9) {
			d.fail(errors.New("nanoseconds are out of range"))
		}
		n.attr.Ctime.Nsec = uint32(nsec)
		if n.isDir() {
			n.parent = dir
			n.entries.stamps = d.root()
			if d.err == nil && n.entries.names.Count != n.entries.stamps.Count {
				d.fail(errors.New("names and stamps differ in number"))
			}
		}
	}
	d.end()
	return d.err
}

// entry reads one entry.
func (c *chunks) entry(ctx context.Context, dir Ino, from directory, cookie uint64) (e dirEntry, ok bool, err error) {
	name, ok, err := page.Get(ctx, c, from.names, cookieKey(cookie))
	if err != nil || !ok {
		return dirEntry{}, false, directoryError(dir, err)
	}
	stamp, ok, err := page.Get(ctx, c, from.stamps, cookieKey(cookie))
	if err != nil {
		return dirEntry{}, false, directoryError(dir, err)
	}
	if !ok {
		return dirEntry{}, false, directoryError(dir, damaged("a name has no stamp", nil))
	}
	if e, err = decodeName(name); err == nil {
		err = e.addStamp(stamp, dir)
	}
	if err != nil {
		return dirEntry{}, false, directoryError(dir, damaged("entry", err))
	}
	return e, true, nil
}

// entries reads up to limit entries with cookies in [from, to), in order.
func (c *chunks) entries(ctx context.Context, dir Ino, d directory, from, to uint64, limit int) (list []baseEntry, err error) {
	if d.isEmpty() {
		return nil, nil
	}
	err = page.Scan(ctx, c, d.names, cookieKey(from), func(key, value []byte) (bool, error) {
		cookie, err := decodeCookie(key)
		if err != nil || cookie >= to {
			return false, err
		}
		e, err := decodeName(value)
		if err != nil {
			return false, damaged("entry", err)
		}
		list = append(list, baseEntry{cookie, e})
		return len(list) < limit, nil
	})
	if err != nil || len(list) == 0 {
		return nil, directoryError(dir, err)
	}
	i := 0
	err = page.Scan(ctx, c, d.stamps, cookieKey(list[0].cookie), func(key, value []byte) (bool, error) {
		cookie, err := decodeCookie(key)
		if err != nil {
			return false, err
		}
		if cookie != list[i].cookie {
			return false, damaged("names and stamps differ", nil)
		}
		if err := list[i].addStamp(value, dir); err != nil {
			return false, damaged("entry", err)
		}
		i++
		return i < len(list), nil
	})
	if err == nil && i < len(list) {
		err = damaged("a name has no stamp", nil)
	}
	if err != nil {
		return nil, directoryError(dir, err)
	}
	return list, nil
}

// An entryEdit sets the entry of a cookie, or removes it when e is nil.
type entryEdit struct {
	cookie uint64
	e      *dirEntry
}

// apply edits a directory.
func (c *chunks) apply(ctx context.Context, dir Ino, d directory, edits []entryEdit) (directory, error) {
	names, stamps := make([]page.Edit, len(edits)), make([]page.Edit, len(edits))
	for i, edit := range edits {
		key := cookieKey(edit.cookie)
		names[i], stamps[i] = page.Edit{Key: key, Delete: true}, page.Edit{Key: key, Delete: true}
		if edit.e != nil {
			names[i] = page.Edit{Key: key, Value: appendName(nil, *edit.e)}
			stamps[i] = page.Edit{Key: key, Value: appendStamp(nil, dir, *edit.e)}
		}
	}
	sortEdits(names)
	sortEdits(stamps)
	var next directory
	var err error
	if next.names, err = page.Apply(ctx, c, c, d.names, names); err == nil {
		next.stamps, err = page.Apply(ctx, c, c, d.stamps, stamps)
	}
	if err != nil {
		return directory{}, fmt.Errorf("write directory %d: %w", dir, asDamage(err))
	}
	return next, nil
}

func decodeCookie(key []byte) (uint64, error) {
	if len(key) != 8 {
		return 0, damaged("directory key", errTruncated)
	}
	return binary.BigEndian.Uint64(key), nil
}

func directoryError(dir Ino, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("read directory %d: %w", dir, asDamage(err))
}

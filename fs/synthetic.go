package fs

import (
	"context"
	"errors"
	"fmt"

	"bkfs/archive"
)

// Names that the mount gives meaning to.
const (
	snapshotsName = ".snapshots"
	archivesName  = "snapshots"
	latestName    = "latest"
)

// archive finds an archive, living or removed, by number.
func (f *filesystem) archive(number uint32) (archive.Info, error) {
	for _, i := range f.repo.Archives() {
		if i.Number == number {
			return i, nil
		}
	}
	return archive.Info{}, fmt.Errorf("archive %d: %w", number, archive.ErrStale)
}

// snapshots returns an archive's snapshots, oldest first.
func (f *filesystem) snapshots(number uint32) ([]archive.Snapshot, error) {
	i, err := f.archive(number)
	if err != nil {
		return nil, err
	}
	return f.repo.Snapshots(i.Name)
}

// latest is where an archive's `latest` link leads.
func (f *filesystem) latest(number uint32) (string, error) {
	all, err := f.snapshots(number)
	if err != nil {
		return "", err
	}
	if len(all) == 0 {
		return "", archive.ErrNotExist
	}
	return all[len(all)-1].Name, nil
}

func (f *filesystem) latestAttr(number uint32) (archive.Attr, error) {
	target, err := f.latest(number)
	if err != nil {
		return archive.Attr{}, err
	}
	a, err := f.archiveAttr(number)
	a.Mode = archive.ModeSymlink | 0o777
	a.Size = uint64(len(target))
	return a, err
}

// archiveAttr is that of /snapshots/<archive>: the archive's root's as long as
// it exists, then the mount root's.
func (f *filesystem) archiveAttr(number uint32) (archive.Attr, error) {
	i, err := f.archive(number)
	if err != nil {
		return archive.Attr{}, err
	}
	if !i.Removed {
		t, err := f.repo.Live(i.Name)
		if err == nil {
			return snapshotsAttr(f.ctx, t)
		}
		if !errors.Is(err, archive.ErrNotExist) {
			return archive.Attr{}, err
		}
	}
	f.root.mu.Lock()
	defer f.root.mu.Unlock()
	return f.root.attr, nil
}

// snapshotsAttr is that of a .snapshots directory: owner and permissions are
// those of the archive's root, for a snapshot is of all of it.
func snapshotsAttr(ctx context.Context, t *archive.Tree) (archive.Attr, error) {
	a, err := t.Attr(ctx, archive.RootIno)
	if err != nil {
		return a, err
	}
	return archive.Attr{
		Mode:  archive.ModeDir | a.Mode&0o1777,
		Nlink: 1, // "don't count on it": find(1) takes 2 to mean no subdirectories
		UID:   a.UID, GID: a.GID,
		Atime: a.Ctime, Mtime: a.Ctime, Ctime: a.Ctime, Btime: a.Btime,
	}, nil
}

// walk finds a directory by path. The caller gets one reference to it.
func (f *filesystem) walk(t *archive.Tree, path []string) (archive.Attr, error) {
	if len(path) == 0 {
		return t.Attr(f.ctx, archive.RootIno)
	}
	dir := archive.RootIno
	var a archive.Attr
	for _, name := range path {
		var err error
		a, err = t.Lookup(f.ctx, dir, name)
		t.Forget(dir, 1)
		if errors.Is(err, archive.ErrNotDir) {
			err = archive.ErrNotExist
		}
		if err != nil {
			return a, err
		}
		dir = a.Ino
	}
	if a.Mode&archive.ModeType != archive.ModeDir {
		t.Forget(dir, 1)
		return a, archive.ErrNotExist
	}
	return a, nil
}

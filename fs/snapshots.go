package fs

import (
	"errors"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// Snapshots are taken, deleted and renamed by mkdir, rmdir and rename in a
// directory's .snapshots and in /snapshots/<archive>: both are "shelves" here.

// shelf tells of which archive n shows the snapshots.
func (f *filesystem) shelf(n node) (archive.Info, bool, error) {
	var number uint32
	switch n.kind {
	case kindSnapshots:
		number = n.view.tree.Number()
	case kindArchive:
		number = uint32(n.ino)
	default:
		return archive.Info{}, false, nil
	}
	i, err := f.archive(number)
	return i, true, err
}

// eachVersion calls fn for every snapshot that has n's directory, oldest first,
// with the directory's inode number there. A snapshot that can't be read counts
// as well: looking into it tells what is wrong, and the others stay in reach.
func (f *filesystem) eachVersion(n node, fn func(archive.Snapshot, archive.Ino)) error {
	all, err := f.snapshots(n.view.tree.Number())
	if err != nil {
		return err
	}
	path, err := n.view.tree.Path(f.ctx, n.ino)
	if err != nil {
		return err
	}
	for _, s := range all {
		ino, err := f.version(s, path)
		if errors.Is(err, archive.ErrNotExist) {
			continue
		}
		f.status("list snapshots", uint64(n.id), err) // logs what deserves it
		fn(s, ino)
	}
	return nil
}

// version returns the inode number of the directory at path in s.
func (f *filesystem) version(s archive.Snapshot, path []string) (archive.Ino, error) {
	if len(path) == 0 {
		return archive.RootIno, nil
	}
	t, err := f.repo.SnapshotTree(f.ctx, s.Archive, s.Name)
	if err != nil {
		return archive.RootIno, err
	}
	a, err := f.walk(t, path)
	if err != nil {
		return archive.RootIno, err
	}
	t.Forget(a.Ino, 1)
	return a.Ino, nil
}

// takeSnapshot takes a snapshot named name and answers with it as n shows it.
func (f *filesystem) takeSnapshot(n node, i archive.Info, name string, out *fuse.EntryOut) error {
	if name == latestName || name == snapshotsName {
		return archive.ErrExist
	}
	if i.Removed {
		return archive.ErrReadOnly
	}
	if _, err := f.repo.TakeSnapshot(f.ctx, i.Name, name, false); err != nil {
		return err
	}
	if n.kind == kindArchive {
		return f.lookupArchive(n, name, out)
	}
	return f.lookupSnapshot(n, name, out)
}

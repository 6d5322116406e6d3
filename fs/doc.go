// Package fs shows a repository as a filesystem: it answers the kernel's FUSE
// requests (go-fuse's low-level fuse.RawFileSystem) from package archive.
//
// # What the mount shows
//
//	/                                   the archives; mkdir makes one
//	/<archive>/...                      its live tree, read-write
//	/<archive>/<any dir>/.snapshots/    this directory in every snapshot;
//	                                    reachable, never listed
//	/snapshots/<archive>/<name>/...     the same snapshots, listed
//	/snapshots/<archive>/latest         a symbolic link to the newest
//
// With Options.Archive that archive's root is the mount's root, and only
// .snapshots leads to its snapshots.
//
// In .snapshots and in snapshots/<archive>, mkdir takes a snapshot of the
// archive, rmdir deletes one and rename renames one; everything else there is
// EROFS. Both belong to whoever owns the archive's root, with its permissions:
// a snapshot is of the whole archive, so writing to some directory in it isn't
// enough to delete one. "This directory" in a snapshot is the directory at the
// same path: a name is what users look for, and a tree is ordered by names.
//
// # Node ids
//
// A node id is a view's number and an inode number: there is no Go object for
// an inode. A view is one way into one tree. The live trees and the snapshots
// under /snapshots have their own tree's number; a snapshot that is reached
// through some directory's .snapshots has a number of its own while the kernel
// knows a node in it, for the kernel takes two paths to one directory id as a
// move. st_ino is always the tree's number and the inode number, so it doesn't
// change with the path taken, nor over a remount.
//
// # Invariants
//
// Every reference that archive gave out (Lookup, Mknod, Link, Symlink, ReadDir
// with attributes) is either handed to the kernel in a successful answer or
// taken back at once; FORGET returns the rest.
//
// All changes of a live tree come through this mount, so the kernel may keep
// entries, attributes, absent names and file contents for as long as it likes.
// Archives and snapshots come and go by other ways too: their names expire
// after a second, and archive.Repository.OnChange is passed on as
// notifications, never from within a request.
//
// # Permissions
//
// The kernel checks them (default_permissions, POSIX ACLs included), unless
// Options.NoPermissions lets the one user who may use the mount read all of it.
//
// # What it refuses
//
// Plain files at the mount's root (EPERM), the name .snapshots for anything
// else, a mountpoint that is missing, not empty or already mounted on.
package fs

// Package local keeps objects as files of one directory.
//
// It owns that directory's files as far as their names are object names, and
// its temporary files under .tmp. Other things may lie beside (the journal, the
// index, a lock); no object name that the archive uses reaches them.
//
// Invariant: a file appears under its object's name only when it is whole and
// on disk: it is written under .tmp, synced, moved without replacing, and the
// directory synced. The directory is held open, so a file system that goes away
// gives errors, and never a second repository underneath its mountpoint.
//
// Files have mode 0600, directories 0700. It refuses names that store.CheckName
// refuses, and never follows a symbolic link out of the directory.
package local

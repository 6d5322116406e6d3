// Package archive is the repository: live trees that can be read and written
// like a file system, their snapshots, and what makes both durable.
//
// The way of a byte: File.WriteAt puts it into a file's segment; the writer
// cuts segments into chunks (chunk), which packers group into blobs and packs
// (pack) and put into a store; the node's extents name the chunks. The index
// tells where a chunk is; it is a cache. A commit makes what is new durable in
// the journal; a checkpoint folds the trees' overlays into pages (page) and
// writes a root, after which the journal starts anew.
//
// Invariants: a journal record names only chunks that are in durable packs or
// in the journal; a root names only packs that are durable; nothing that was
// acknowledged by Sync, TakeSnapshot or Close is in memory alone; every byte
// that is read was authenticated.
//
// It refuses a second writer, formats it doesn't know, and to guess: what
// doesn't verify is ErrDamaged. FORMAT.md describes what is stored.
package archive

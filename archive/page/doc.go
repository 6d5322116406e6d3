// Package page owns bkfs's sorted maps: directories, inode trees, long extent
// lists, pack and snapshot lists, kept in content-addressed pages.
//
// A map is a prolly tree. Where a page ends is decided by its own entries only
// (a hash of the last key, and the size so far), so the same content is the
// same pages whatever edits led to it, maps that differ a little share nearly
// all pages, and an edit rewrites one page or so on each level.
//
// Invariant: pages are never changed, only made; a Root is a complete and
// frozen state, and Apply gives the next one without touching the last.
//
// It refuses keys over MaxKey and values over MaxValue, edits out of order, and
// pages whose bytes don't add up. It stores, caches, encrypts and verifies
// nothing: Source and Sink do. archive/FORMAT.md has the layout.
package page

// Package pack owns the two containers of stored content: the blob, one or more
// chunks compressed together, and the pack, many sealed blobs in one object of
// the store.
//
// Invariant: a pack is made in memory under a fresh random id and stored once;
// none is ever opened again to be changed. Every byte of it is authenticated,
// and no length and no chunk id is in the clear. Each blob describes itself, so
// a pack whose footer is lost still gives up its chunks (Walk).
//
// It refuses packs over MaxSize, blobs over MaxPayload, empty chunks, and what
// it doesn't know of a later format. Whether the bytes of a chunk belong to its
// id is for the caller to verify, except in Walk; where chunks are, the index
// knows. archive/FORMAT.md has the layout.
package pack

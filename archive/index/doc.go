// Package index remembers where each chunk is: chunk id → place in a pack.
//
// It owns one directory with a badger database and two small files of its own
// (instance, state). It is a cache: everything in it can be had again from the
// packs' footers, deleting it loses nothing, and what can't be trusted is
// discarded and started anew (Fresh says so).
//
// Invariant: a hit is true. It names a pack that its user declared live
// (AddPack, Retain), and what it says of that pack was sealed by a holder of
// the key when the pack was added. Packs are immutable and their ids random,
// so that stays true for ever: an old copy of the directory, or of single files
// of it, gives misses or hits that still hold. A pack counts as known only if
// all its entries are there: entries are written before their pack's marker,
// and after a power loss, which may keep the one and lose the other, they are
// counted.
//
// Every value is sealed with its key as associated data; keys are chunk ids
// (keyed hashes), pack ids (names of files beside) and a one-letter prefix.
//
// Badger maps its files and so dies on a full disk. The index therefore stops
// writing while there is little space, keeps new entries in memory, and goes on
// when there is room. It refuses directories with files that aren't its own,
// and a directory that another index has open.
package index

// Package journal owns the sealed, chained, append-only files that hold what
// has been acknowledged since the last root.
//
// Invariant: when Append returns nil its batch survives power loss, whole; what
// a crash cut short is never delivered, not even in part. A file is written by
// the one Writer that created it and is never opened again for writing, as a
// nonce is a position in the file.
//
// It refuses batches over MaxBatch, anything after a failed write, and to read
// past damage: a bad record with a later batch behind it is ErrDamaged, because
// that batch was written only when the bad one was safe. With none behind it,
// it is what a crash leaves, and the batch it belongs to is dropped.
//
// What the batches mean is for package archive. archive/FORMAT.md has the
// layout.
package journal

// Package seal owns bkfs's cryptography at rest: secrets in memory, the subkeys
// of a repository key, keyed hashes, and authenticated encryption of stored
// objects.
//
// Invariant: one AES-256-GCM key belongs to exactly one stored object (pack,
// journal file, root, index), because it is derived from that object's fresh
// random 256-bit id; within an object the record number is the nonce. A caller
// seals each record number at most once, and never seals again under an id it
// found on disk.
//
// It refuses unknown purposes, keys that aren't 32 bytes, and use after
// Destroy. It knows no file layout, does no I/O and has no algorithm choice:
// the suite is one, named in the authenticated config, never per record.
//
// What is out of its reach: the standard library's AES and HMAC states, which
// are made from these keys, live in the Go heap. Keys themselves do not.
//
// archive/FORMAT.md says all this byte by byte.
package seal

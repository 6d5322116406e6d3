// Package keyring owns the key slots: each wraps the repository key under a key
// encryption key that comes from a token, a passphrase, a recovery key, or a
// token and a passphrase together.
//
// Invariant: a slot opens only with its own secret, in its own repository, and
// with every field as it was written: what steers the derivation goes into it,
// the rest is associated data. A ring never loses a slot it doesn't understand,
// and never loses the last one it can open.
//
// It refuses parameters out of bounds before running them, and wrong secrets
// before unwrapping (the commitment is compared first, in constant time). It
// does no I/O and knows no hardware: Token says what it needs of one, and the
// passphrase arrives as the output of a KDF its caller ran.
//
// It also owns how keys and configs stand on paper (FormatRecovery, FormatPaper):
// text that a person can type, in which mistakes are found and named.
//
// archive/FORMAT.md says all this byte by byte.
package keyring

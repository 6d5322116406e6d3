// Package store is the seam between an archive and where its objects lie: a
// flat set of named, immutable byte strings.
//
// It owns the Store interface, the rules for names and the kinds of error.
// Implementations live in folders of their own (local) and all pass the suite
// in storetest.
//
// Invariant: an object either exists whole or not at all, and once Put has
// returned nil it survives power loss and never changes. Only Replace, which
// exists for the config, changes an object, and does so as a whole.
//
// A store sees sealed bytes only: it has no keys, interprets nothing, and
// retries nothing.
package store

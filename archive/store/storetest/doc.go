// Package storetest holds the suite that every store passes, and a store in
// memory for tests of what lies above.
//
// A new store's test is a hook: storetest.Run(t, func(t *testing.T) store.Store
// {…}). The suite states the contract of store.Store; a store that passes it
// can hold a repository. What needs a crash to be seen (durability) is tested
// with the whole program, in integration.
package storetest

// Package hardware talks to FIDO2 authenticators. Tokens is a keyring.Token over all devices a Spec names.
//
// Every call into libfido2 (through go-libfido2, the module's only cgo) happens in a helper process: the same
// binary, re-executed, which runs HelperMain, answers one request and exits. So a device that hangs, a driver that
// crashes and a library without timeouts cost the deadline of one call, and the PIN and secrets that libfido2
// leaves in its memory go away with the process.
//
// Invariants: nothing is opened before a method of Tokens is called, and never with the spec "none". A device is
// first asked silently (no touch, no PIN, no hmac-secret), so only the token that made a credential is disturbed.
// Requests, PINs and secrets pass over the helper's standard input and output only, never in argv, environment or
// files; the bytes that carried them are wiped. A PIN is tried once.
//
// It refuses secrets that are not 32 bytes or all zero, authenticator data whose UP or UV flags are not what the
// slot's policy asks for (hmac-secret is another secret with user verification), credentials for another relying
// party, and enrolment of a token that already has one of the slots.
//
// Without cgo the package compiles, and every call that would need a device says ErrUnsupported. With cgo the library
// is opened by the helper, so the program starts without it; then they say ErrNoLibrary.
package hardware

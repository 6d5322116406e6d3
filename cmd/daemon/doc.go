// Package daemon is the process behind a mount: it owns the opened repository
// and the FUSE server from the moment the key is handed over until everything
// is durable and closed.
//
// It also holds what other commands need to talk to that process: the control
// socket's protocol, its client, and the operations behind it, which run the
// same way in the daemon and in a command that opened the repository itself.
//
// Invariants:
//   - The repository is closed after the last file system request, never before:
//     unmount, then the automatic snapshots, then Close, then the answer to
//     whoever asked.
//   - A mount that ends by itself, because its token was unplugged or nobody used
//     it, ends the same way, and never while the kernel calls it busy, unless that
//     was asked for: then the connection is cut first, so that nothing is
//     acknowledged after the last commit began. The token is watched by its
//     node, and never opened.
//   - The repository key enters over a pipe and leaves the process nowhere. The
//     control socket can't read it, add a key slot or change one.
//   - The control socket answers only processes of the same user (SO_PEERCRED),
//     and bounds what it reads.
//
// It refuses to prompt: everything that needs a person happens before, in
// package cli. It never prints; it reports errors and logs.
package daemon

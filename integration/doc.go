// Package integration drives the built program the way its users do: from a shell, against real
// mounts, with software tokens, full disks, killed daemons and damaged repositories.
//
// Invariant: the daemon is always a process of its own (an in-process mount deadlocks on exec and on
// page faults), and no test leaves a mount or a daemon behind, failed or not.
//
// BKFS_BINARY names a program to test instead of building one.
package integration

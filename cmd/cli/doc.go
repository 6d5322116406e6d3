// Package cli is the command line: it owns the commands, everything that is
// printed or asked, and the exit codes.
//
// It reads secrets from the terminal, descriptors, commands and, taken out at
// the start, the environment; it unlocks with them and hands the repository key
// to package daemon or opens the repository itself.
//
// Invariants:
//   - A secret is never in argv, never in a child's environment, never in a log
//     or an error, and is wiped when it has been used.
//   - terminal.go alone writes to stdout, stderr and /dev/tty.
//   - exit.go alone decides how the program exits.
//   - Nothing waits for a person unless there is a terminal.
//
// It refuses to touch hardware when no fido2 slot could be meant.
package cli

// Command hidraw boots Debian's kernel under qemu, without hardware virtualisation, and runs the tests of package
// guest in it: real hidraw nodes need uhid, which the machine that runs the tests often lacks or forbids.
//
//	go run ./integration/hidraw [-run REGEXP]
//
// is what `make test-hidraw` runs. The guest is an initrd: bkfs, fido2-token and fusermount3 with the libraries they
// have here, busybox, udevd, which one test starts, the modules, and the compiled tests. No network, no disk.
//
// Invariant: success is only what the guest says on its second serial port: each test's PASS line and the exit
// status 0. A panic, a reboot, a missing line, a skipped test and a deadline are failures.
//
// BKFS_BINARY names a program to test instead of building one.
package main

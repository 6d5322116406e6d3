// Package guest is what runs in the guest that integration/hidraw boots: software tokens and other devices behind
// /dev/uhid, so that the kernel, libudev, libfido2 and bkfs find them as they find what is plugged in, and the tests
// that use them. Elsewhere the tests skip themselves: they plug devices into the machine they run on.
//
// Invariant: what a test plugs in it unplugs, so every test begins without any hidraw node.
package guest

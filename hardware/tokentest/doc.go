// Package tokentest is the suite that every keyring.Token passes: what keyring relies on when it wraps the
// repository key with a token's secret. It looks at behaviour only, so it holds for software and real tokens.
//
// Against a real one it runs when BKFS_TEST_FIDO2_DEVICE names it, as --fido2-device does:
//
//	BKFS_TEST_FIDO2_DEVICE=/dev/hidraw3 BKFS_TEST_FIDO2_PIN=123456 go test -v -count=1 -timeout 30m ./hardware/tokentest
//
// With auto, one token may be plugged in. BKFS_TEST_FIDO2_PIN is needed when the token has a PIN; a PIN that was
// wrong is not tried again. Each touch is asked for on stderr; there are about forty. Nothing on the token changes
// but its signature counter: credentials are non-resident, and there is no reset and no new PIN.
package tokentest

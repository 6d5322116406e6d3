// Package softtoken is a FIDO2 authenticator in software: CTAPHID framing, CTAP 2.1 commands (or 2.0 only), PIN/UV
// auth protocols 1 and 2, built-in user verification, resident and non-resident credentials, hmac-secret and
// credProtect, with its state in one JSON file. It is there for trying bkfs out and for tests; Warning says what it is
// worth as protection. Quirks make it misbehave as real tokens do.
//
// It is served behind a pseudo-terminal in raw mode, whose slave libfido2 opens as if it were a hidraw node:
// reading the report descriptor fails, so libfido2 falls back to 64-byte reports. Host to device a frame has
// 65 bytes, the report number first; device to host 64.
//
// Invariants: every persistent change (PIN retries, counters) is in the file before the answer to the command
// that caused it leaves; the file is replaced whole, under a lock, so that several processes may serve the same
// token. What a real token forgets when it loses power (key agreement, PIN token, consecutive PIN failures) is
// never in the file. Quirks act in quirk.go and fault.go only; without them no path differs from the standards.
//
// It refuses state files of a newer format, and state files that others may read. Optional parts of CTAP 2.1 that it
// lacks, and getInfo doesn't claim: authenticatorConfig, large blobs, bio enrolment, enterprise attestation.
//
// Sources: FIDO CTAP 2.0 (2019-01-30) and CTAP 2.1 (2021-06-15), whose clause numbers the comments use; WebAuthn
// level 2 for authenticator data.
package softtoken

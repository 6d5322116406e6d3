// Package tokentest is the suite that every keyring.Token passes: what keyring relies on when it wraps the
// repository key with a token's secret. It looks at behaviour only, so it holds for software and real tokens.
//
// It refuses nothing: whoever runs it against a real token must be there to touch it.
package tokentest

package keyring

import (
	"context"

	"bkfs/archive/seal"
)

// RPID is the relying party of new credentials.
const RPID = "bkfs"

// Token is all FIDO2 authenticators within reach. Package hardware has the
// real ones.
type Token interface {
	// Enroll makes a credential and returns it with its hmac-secret, which
	// the caller destroys.
	Enroll(ctx context.Context, r EnrollRequest) (FIDO2, *seal.Key, error)

	// Find asks silently (no touch, no PIN) which devices made which of the
	// credentials. No match is no error.
	Find(ctx context.Context, credentials []FIDO2) ([]Match, error)

	// Secret gets the hmac-secret of one of the matches that Find gave for
	// credentials, under that credential's own policy, and says which it is:
	// of several tokens the user picks one by touching it. This may ask for a
	// PIN. The caller destroys the secret.
	Secret(ctx context.Context, matches []Match, credentials []FIDO2) (Match, *seal.Key, error)
}

// Match says that a device made a credential.
type Match struct {
	Device     string // as Token names it, e.g. /dev/hidraw3
	Product    string // for the user
	Credential int    // position in the list given to Find
}

// EnrollRequest asks for a new credential.
type EnrollRequest struct {
	RPID         string
	RepositoryID seal.RepositoryID // user id, and user name in hex
	Label        string            // display name
	Algorithm    Algorithm

	// The slot's policy for ever: an hmac-secret differs with and without
	// user verification.
	RequirePIN bool
	RequireUP  bool
	RequireUV  bool

	Salt    []byte  // hmac-secret salt, 32 random bytes
	Exclude []FIDO2 // already enrolled: a device that has one of them refuses
}

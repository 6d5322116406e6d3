package softtoken

import (
	"slices"
	"strings"
	"time"
)

const (
	nextWindow  = 30 * time.Second // clause 6.3: between two getNextAssertion
	maxUserID   = 64               // bytes; WebAuthn, section 5.4.3
	maxUserName = 64               // bytes kept of a name: longer ones may be cut (clause 6.1.2)
	maxRPID     = 255
)

// applicable is a credential that may answer an assertion.
type applicable struct {
	*credential
	id   []byte
	user *userEntity // of a resident one
}

// userEntity is whom a resident credential is for.
type userEntity struct {
	ID          []byte `cbor:"id"`
	Name        string `cbor:"name,omitempty"`
	DisplayName string `cbor:"displayName,omitempty"`
}

// keep stores a resident credential in place of an older one for the same user.
func (c *command) keep(r *makeRequest, id []byte) error {
	same := func(have resident) bool { return have.RPID == r.RP.ID && slices.Equal(have.UserID, r.User.ID) }
	full := false
	err := c.count(func(s *state) {
		left := slices.DeleteFunc(slices.Clone(s.Resident), same)
		if full = len(left) == maxResident; !full {
			s.Resident = append(left, resident{id, r.RP.ID, r.User.ID, cut(r.User.Name), cut(r.User.DisplayName)})
		}
	})
	if full && err == nil {
		return errKeyStoreFull
	}
	return err
}

// cut shortens a name to what the token keeps, at a character's end.
func cut(name string) string {
	if len(name) <= maxUserName {
		return name
	}
	return strings.ToValidUTF8(name[:maxUserName], "")
}

// discover gives rpID's resident credentials that may be used now, the newest first.
func (c *command) discover(rpID string, verified bool) []applicable {
	var out []applicable
	for _, have := range slices.Backward(c.state.Resident) {
		if have.RPID != rpID {
			continue
		}
		cred, mine := c.open(have.ID, rpID)
		if mine && (verified || cred.protect == protectOptional) {
			out = append(out, applicable{cred, have.ID, &userEntity{have.UserID, have.Name, have.DisplayName}})
		}
	}
	return out
}

// round is an assertion with several answers (clause 6.3): what the first left to getNextAssertion.
type round struct {
	assertion
	left []applicable
	last time.Time
}

// nextAssertion is authenticatorGetNextAssertion.
func (c *command) nextAssertion() (any, error) {
	r := c.round
	if r == nil || len(r.left) == 0 || time.Since(r.last) > nextWindow {
		c.round = nil
		return nil, errNotAllowed
	}
	answer, err := c.assert(&r.assertion, r.left[0], true)
	if err != nil {
		c.round = nil
		return nil, err
	}
	r.left, r.last = r.left[1:], time.Now()
	return answer, nil
}

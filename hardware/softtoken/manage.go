package softtoken

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/fxamacker/cbor/v2"
)

// authenticatorCredentialManagement, clause 6.8.
const (
	subMetadata      = 0x01
	subFirstRP       = 0x02
	subNextRP        = 0x03
	subFirstCred     = 0x04
	subNextCred      = 0x05
	subDeleteCred    = 0x06
	subUpdateUser    = 0x07
	permissionManage = 0x04
)

type manageRequest struct {
	Subcommand *uint           `cbor:"1,keyasint"`
	Params     cbor.RawMessage `cbor:"2,keyasint"`
	Protocol   *uint           `cbor:"3,keyasint"`
	Auth       []byte          `cbor:"4,keyasint"`
}

type manageParams struct {
	RPIDHash   []byte      `cbor:"1,keyasint"`
	Credential *descriptor `cbor:"2,keyasint"`
	User       *userEntity `cbor:"3,keyasint"`
}

type rpEntity struct {
	ID string `cbor:"id"`
}

type manageResponse struct {
	Existing   *uint       `cbor:"1,keyasint,omitempty"`
	Space      *uint       `cbor:"2,keyasint,omitempty"`
	RP         *rpEntity   `cbor:"3,keyasint,omitempty"`
	RPIDHash   []byte      `cbor:"4,keyasint,omitempty"`
	RPs        uint        `cbor:"5,keyasint,omitempty"`
	User       *userEntity `cbor:"6,keyasint,omitempty"`
	Credential *descriptor `cbor:"7,keyasint,omitempty"`
	Key        *coseKey    `cbor:"8,keyasint,omitempty"`
	Total      uint        `cbor:"9,keyasint,omitempty"`
	Protect    uint        `cbor:"10,keyasint,omitempty"`
}

// listing is what an enumeration left to its "next" subcommand: one of both.
type listing struct {
	rps         []string
	credentials []resident
}

func (c *command) manage(body []byte) (any, error) {
	var r manageRequest
	if err := c.parse(body, &r); err != nil {
		return nil, err
	}
	if r.Subcommand == nil {
		return nil, errMissingParameter
	}
	left := c.listing
	c.listing = nil
	switch *r.Subcommand {
	case subNextRP:
		if left == nil || len(left.rps) == 0 {
			return nil, errNotAllowed
		}
		return c.tellRP(left.rps), nil
	case subNextCred:
		if left == nil || len(left.credentials) == 0 {
			return nil, errNotAllowed
		}
		return c.tellCredential(left.credentials)
	case subMetadata, subFirstRP, subFirstCred, subDeleteCred, subUpdateUser:
	default:
		return nil, errInvalidSubcommand
	}
	var p manageParams
	if r.Params != nil {
		if err := c.parse(r.Params, &p); err != nil {
			return nil, err
		}
	}
	if err := c.mayManage(&r); err != nil {
		return nil, err
	}
	switch *r.Subcommand {
	case subMetadata:
		existing, space := uint(len(c.state.Resident)), uint(maxResident-len(c.state.Resident))
		return &manageResponse{Existing: &existing, Space: &space}, c.manages("")
	case subFirstRP:
		return c.firstRP()
	case subFirstCred:
		return c.firstCredential(p.RPIDHash)
	case subDeleteCred:
		return nil, c.change(&p, func(s *state, i int) { s.Resident = slices.Delete(s.Resident, i, i+1) })
	default:
		return nil, c.updateUser(&p)
	}
}

// mayManage checks the PIN/UV auth token over the subcommand and its parameters as they were sent.
func (c *command) mayManage(r *manageRequest) error {
	if r.Auth == nil {
		return errPINRequired
	}
	p, err := c.protocol(r.Protocol)
	if err != nil {
		return err
	}
	message := append([]byte{byte(*r.Subcommand)}, r.Params...)
	if !p.usable(false) || p.permissions&permissionManage == 0 || !verify(p.version, p.token, r.Auth, message) {
		return errPINAuthInvalid
	}
	p.used = true
	c.used = p
	return nil
}

// manages tells whether the token may be used for rpID; empty: for all of them.
func (c *command) manages(rpID string) error {
	if c.used.rpID != "" && c.used.rpID != rpID {
		return errPINAuthInvalid
	}
	return nil
}

func (c *command) firstRP() (any, error) {
	if err := c.manages(""); err != nil {
		return nil, err
	}
	var rps []string
	for _, have := range c.state.Resident {
		if !slices.Contains(rps, have.RPID) {
			rps = append(rps, have.RPID)
		}
	}
	if len(rps) == 0 {
		return nil, errNoCredentials
	}
	answer := c.tellRP(rps)
	answer.RPs = uint(len(rps))
	return answer, nil
}

func (c *command) tellRP(rps []string) *manageResponse {
	c.listing = &listing{rps: rps[1:]}
	hash := sha256.Sum256([]byte(rps[0]))
	return &manageResponse{RP: &rpEntity{rps[0]}, RPIDHash: hash[:]}
}

func (c *command) firstCredential(rpIDHash []byte) (any, error) {
	if rpIDHash == nil {
		return nil, errMissingParameter
	}
	var found []resident
	for _, have := range c.state.Resident {
		if hash := sha256.Sum256([]byte(have.RPID)); bytes.Equal(hash[:], rpIDHash) {
			found = append(found, have)
		}
	}
	if len(found) == 0 {
		return nil, errNoCredentials
	}
	if err := c.manages(found[0].RPID); err != nil {
		return nil, err
	}
	answer, err := c.tellCredential(found)
	if err != nil {
		return nil, err
	}
	answer.Total = uint(len(found))
	return answer, nil
}

func (c *command) tellCredential(found []resident) (*manageResponse, error) {
	have := found[0]
	cred, mine := c.open(have.ID, have.RPID)
	if !mine {
		return nil, errOther
	}
	key, err := cred.public()
	if err != nil {
		return nil, err
	}
	c.listing = &listing{credentials: found[1:]}
	return &manageResponse{
		User:       &userEntity{have.UserID, have.Name, have.DisplayName},
		Credential: &descriptor{have.ID, publicKeyType}, Key: &key, Protect: uint(cred.protect),
	}, nil
}

// change alters the resident credential that p names.
func (c *command) change(p *manageParams, fn func(s *state, i int)) error {
	if p.Credential == nil {
		return errMissingParameter
	}
	result := error(errNoCredentials)
	err := c.count(func(s *state) {
		i := slices.IndexFunc(s.Resident, func(r resident) bool { return bytes.Equal(r.ID, p.Credential.ID) })
		if i < 0 {
			return
		}
		if result = c.manages(s.Resident[i].RPID); result == nil {
			fn(s, i)
		}
	})
	if err != nil {
		return err
	}
	return result
}

func (c *command) updateUser(p *manageParams) error {
	if p.User == nil {
		return errMissingParameter
	}
	same := true
	err := c.change(p, func(s *state, i int) {
		if same = bytes.Equal(s.Resident[i].UserID, p.User.ID); same {
			s.Resident[i].Name, s.Resident[i].DisplayName = cut(p.User.Name), cut(p.User.DisplayName)
		}
	})
	if err == nil && !same {
		return errInvalidParameter
	}
	return err
}

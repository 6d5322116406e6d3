package softtoken

import "errors"

// verifyUser tells whether this command verified the user: by a PIN/UV auth token, or by the built-in method.
func (c *command) verifyUser(o *options, protocol *uint, auth, clientDataHash []byte, permission byte, rpID string) (bool, error) {
	if auth != nil {
		return true, c.authorize(protocol, auth, clientDataHash, permission, rpID)
	}
	if !set(o.UV) {
		return false, nil
	}
	if !c.Behaviour.UV {
		if c.Behaviour.CTAP20 {
			return false, errUnsupportedOption
		}
		return false, errInvalidOption
	}
	return true, c.verifyBuiltIn()
}

// verifyBuiltIn runs the built-in method for a command that carries no token; when it fails, the PIN is next
// (clause 6.1.2, step 11.2).
func (c *command) verifyBuiltIn() error {
	err := c.performBuiltIn()
	if errors.Is(err, errUVInvalid) || errors.Is(err, errUVBlocked) {
		if c.hasPIN() && !c.Behaviour.CTAP20 {
			return errPINRequired
		}
		return errOperationDenied
	}
	return err
}

// performBuiltIn is performBuiltInUv (clause 6.5.3.1). Its simulation is a touch, which shows presence too.
func (c *command) performBuiltIn() error {
	if c.state.UVFailures >= maxUVRetries {
		return errUVBlocked
	}
	if err := c.touch(); err != nil {
		return err
	}
	failed, blocked := false, false
	err := c.count(func(s *state) {
		if failed = s.Behaviour.Quirks.failsUV(); failed {
			s.UVFailures++
		} else {
			s.UVFailures = 0
		}
		blocked = s.UVFailures >= maxUVRetries
	})
	switch {
	case err != nil:
		return err
	case blocked:
		return errUVBlocked
	case failed:
		return errUVInvalid
	}
	return nil
}

// authorize checks a pinUvAuthParam (clauses 6.1.2 step 11 and 6.2.2 step 6) and so verifies the user.
func (c *command) authorize(version *uint, mac, clientDataHash []byte, permission byte, rpID string) error {
	p, err := c.protocol(version)
	if err != nil {
		return err
	}
	if !p.usable(c.Behaviour.CTAP20) || !verify(p.version, p.token, mac, clientDataHash) {
		return errPINAuthInvalid
	}
	if p.permissions&permission == 0 || p.rpID != "" && p.rpID != rpID {
		return errPINAuthInvalid
	}
	p.use(rpID)
	c.used = p
	return nil
}

// presence waits for the user unless this command, or the token that it carries, has just seen one.
func (c *command) presence() error {
	if c.touched || c.used != nil && c.used.present() {
		return nil
	}
	return c.touch()
}

// spend takes a token's permissions once the user was there for one command (2.1: clause 6.2.2, step 11).
func (c *command) spend() {
	if c.used != nil && !c.Behaviour.CTAP20 {
		c.used.spend()
	}
}

//go:build cgo

package hardware

import (
	"testing"

	"bkfs/hardware/softtoken"
	"bkfs/hardware/tokentest"
	"bkfs/keyring"
)

const pin = "1234"

// TestSuite runs tokentest through libfido2 and a pseudo-terminal, over every kind of token there is.
func TestSuite(t *testing.T) {
	needPIN := func(r *keyring.EnrollRequest) { r.RequirePIN = true }
	for _, test := range []struct {
		name    string
		options softtoken.Options
		request func(*keyring.EnrollRequest)
	}{
		{"Default", softtoken.Options{}, nil},
		{"PIN", softtoken.Options{PIN: pin}, needPIN},
		{"PINOnlyToEnrol", softtoken.Options{PIN: pin}, nil},
		{"Protocol1", softtoken.Options{PIN: pin, Behaviour: softtoken.Behaviour{Protocols: []uint{1}}}, needPIN},
		{"Protocol2", softtoken.Options{PIN: pin, Behaviour: softtoken.Behaviour{Protocols: []uint{2}}}, needPIN},
		{"CTAP20", softtoken.Options{PIN: pin, Behaviour: softtoken.Behaviour{CTAP20: true}}, needPIN},
		{"UV", softtoken.Options{Behaviour: softtoken.Behaviour{UV: true}}, func(r *keyring.EnrollRequest) { r.RequireUV = true }},
		{"AlwaysUV", softtoken.Options{Behaviour: softtoken.Behaviour{UV: true, AlwaysUV: true}}, func(r *keyring.EnrollRequest) { r.RequireUV = true }},
		{"AlwaysUVByPIN", softtoken.Options{PIN: pin, Behaviour: softtoken.Behaviour{AlwaysUV: true}}, needPIN},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			path := newToken(t, test.options)
			tokentest.Run(t, tokentest.Subject{
				New: func(t *testing.T) keyring.Token {
					v := &voice{}
					for range 16 {
						v.pins = append(v.pins, pin)
					}
					return newTokens(t, v, Options{}, "soft:"+path)
				},
				Request: test.request,
			})
		})
	}
}

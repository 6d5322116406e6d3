package hardware

import (
	"context"
	"errors"
	"slices"

	"bkfs/keyring"
)

// Info is what `bkfs token list` shows of a device.
type Info struct {
	Device       string         `json:"device"`
	Product      string         `json:"product,omitempty"`
	Manufacturer string         `json:"manufacturer,omitempty"`
	VendorID     uint16         `json:"vendor_id,omitempty"`
	ProductID    uint16         `json:"product_id,omitempty"`
	AAGUID       keyring.AAGUID `json:"aaguid,omitzero"`
	Firmware     string         `json:"firmware,omitempty"`
	Versions     []string       `json:"versions,omitempty"`
	HMACSecret   bool           `json:"hmac_secret"`
	PIN          bool           `json:"pin"`         // one is set
	PINRetries   int            `json:"pin_retries"` // -1: unknown, or no PIN is set
	UV           bool           `json:"uv"`          // has user verification of its own, and it is set up
	AlwaysUV     bool           `json:"always_uv"`
	Err          error          `json:"-"` // why the device could not be asked; nothing below Product is known then
	Error        string         `json:"error,omitempty"`
}

// List asks every device what it is. It needs neither touch nor PIN. A source that could not be looked into is
// the error, beside the devices of the others.
func (t *Tokens) List(ctx context.Context) ([]Info, error) {
	devices, faults := t.devices(ctx)
	var out []Info
	for _, f := range t.inspect(ctx, devices, request{Details: true}) {
		out = append(out, describe(f))
	}
	if ctx.Err() != nil {
		return nil, ended(ctx)
	}
	return out, errors.Join(faults...)
}

func describe(f finding) Info {
	at := f.device.at
	i := Info{
		Device: f.device.name, Product: at.Product, Manufacturer: at.Manufacturer,
		VendorID: at.VendorID, ProductID: at.ProductID, PINRetries: -1,
	}
	if f.err != nil {
		i.Err, i.Error = f.err, f.err.Error()
		return i
	}
	p := f.answer.Properties
	if len(p.AAGUID) == len(i.AAGUID) {
		i.AAGUID = keyring.AAGUID(p.AAGUID)
	}
	i.Firmware, i.Versions, i.HMACSecret = p.Firmware, p.Versions, p.hmacSecret()
	i.PIN, i.PINRetries = p.Options[optionPIN], p.Retries
	i.UV, i.AlwaysUV = p.Options[optionUV], p.Options[optionAlwaysUV]
	return i
}

// usesPIN tells whether a PIN is set and does for what bkfs asks.
func (p *properties) usesPIN() bool { return p.Options[optionPIN] && !p.Options[optionUVOnly] }

func (p *properties) hmacSecret() bool { return slices.Contains(p.Extensions, extensionSecret) }

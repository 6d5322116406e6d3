package hardware

import "crypto/rand"

// inspect asks a device what it is and, silently, which of the credentials it made. It calls pending whenever the
// device has answered something.
func inspect(device *current, r *request, pending func()) (*properties, []uint, *fault) {
	p, f := device.properties(r.Device, r.Details, pending)
	if f != nil {
		return nil, nil, f
	}
	q := prober{device: device, path: r.Device, pending: pending, controls: map[control]*fault{}}
	out := make([]uint, len(r.Credentials))
	if !p.hmacSecret() {
		return p, out, nil // it made none of ours
	}
	found := false
	for i, c := range r.Credentials {
		v, f := q.ask(c)
		if f != nil && found {
			break // what it said before counts
		}
		if f != nil {
			return nil, nil, f
		}
		found = found || v == mine
		out[i] = uint(v)
	}
	return p, out, nil
}

// prober asks one device silently.
type prober struct {
	device   *current
	path     string
	pending  func()
	controls map[control]*fault // what the device says of credentials that nobody made
}

type control struct {
	rpID string
	size int
}

func (q *prober) ask(c reference) (verdict, *fault) {
	if q.device.over() {
		return unclear, nil
	}
	answer := q.device.silent(q.path, c)
	q.pending()
	v, f := judge(answer)
	if f != nil || v != unclear || answer.Code == codeKeepaliveCancel {
		return v, f
	}
	control, f := q.control(c)
	if f != nil {
		return notMine, f
	}
	return compare(answer, control), nil
}

// control asks for a random credential of the same size, once.
func (q *prober) control(c reference) (*fault, *fault) {
	k := control{c.RPID, len(c.ID)}
	if answer, ok := q.controls[k]; ok {
		return answer, nil
	}
	id := make([]byte, len(c.ID))
	_, _ = rand.Read(id) // never fails (crypto/rand)
	answer := q.device.silent(q.path, reference{c.RPID, id})
	q.pending()
	if _, f := judge(answer); f != nil {
		return nil, f
	}
	q.controls[k] = answer
	return answer, nil
}

// judge reads the answer to a silent probe. Tokens that refuse to be asked silently may still own the credential.
func judge(f *fault) (verdict, *fault) {
	if f == nil {
		return mine, nil
	}
	if f.Kind != faultCTAP {
		return notMine, f
	}
	switch f.Code {
	case codeChannelBusy, codeTimeout:
		return notMine, f
	// What a token can say that wants a touch or its PIN first (CTAP 2.1, clause 6.2.2), in the words of 2.0 and of
	// tokens that take "up" for an option they lack.
	case codeUPRequired, codePresenceRequired, codePINRequired, codePINAuthInvalid, codePINNotSet, codePINBlocked,
		codePINAuthBlocked, codeUnsupportedOption, codeInvalidOption, codeMissingParameter, codeDenied, codeNotAllowed,
		codeUVInvalid, codeUVBlocked, codeUserTimeout, codeActionTimeout,
		codeKeepaliveCancel: // it blinked, silent as the question was, until it was cancelled
		return unclear, nil
	}
	if f.Code > 0 {
		return notMine, nil
	}
	return notMine, f
}

// compare reads an unclear answer beside the one for a credential that nobody made: a token that denies that one has
// looked, and so made ours; a token that says the same of both tells nothing.
func compare(answer, control *fault) verdict {
	if v, f := judge(control); f == nil && v == notMine && control.Code != answer.Code {
		return mine
	}
	return unclear
}

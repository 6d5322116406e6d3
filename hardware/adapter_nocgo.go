//go:build !cgo

package hardware

// Without cgo there is no libfido2.

const supported = false

type current struct{}

func unsupported() *fault { return &fault{Kind: faultUnsupported} }

func (*current) cancel() {}

func (*current) over() bool { return false }

func locations() ([]location, *fault) { return nil, unsupported() }

func (*current) properties(string, bool, func()) (*properties, *fault) { return nil, unsupported() }

func (*current) silent(string, reference) *fault { return unsupported() }

func (*current) secret(*request) (authData, secret []byte, _ *fault) { return nil, nil, unsupported() }

func (*current) create(*request) (authData, id []byte, _ *fault) { return nil, nil, unsupported() }

package hardware

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"bkfs/hardware/softtoken"
	"bkfs/keyring"
)

const (
	defaultProbeTimeout = 3 * time.Second
	defaultTouchTimeout = 30 * time.Second
	maxAtOnce           = 16 // helper processes
	saltSize            = 32
	secretSize          = 32
	algES256            = -7
	algEdDSA            = -8

	optionPIN       = "clientPin"
	optionUV        = "uv"
	optionAlwaysUV  = "alwaysUv"
	optionNoPINMake = "makeCredUvNotRqd"               // credentials are made without the PIN
	optionUVOnly    = "noMcGaPermissionsWithClientPin" // the PIN doesn't replace the token's own verification
	extensionSecret = "hmac-secret"
	// CTAP 2.1, clause 12.1: a token may hide credentials from whoever isn't verified, unless told not to.
	extensionProtect = "credProtect"
)

// HelperCommand is the argument under which the program runs HelperMain.
const HelperCommand = "__hardware"

// Asked is a token that the user has to do something with.
type Asked struct {
	Device     string // for the user: product and path
	Credential int    // position in the list given to Find and Secret; -1 for one that is being made
}

// Choice is one of several tokens.
type Choice struct {
	Info
	Credential int // as in Asked
}

// UI is how Tokens speaks with the user; each function may be nil.
type UI struct {
	// Touch says that these tokens wait for a touch; of several, one is enough.
	Touch func(tokens []Asked)
	// PIN asks for a PIN once. retries is how many tries the token has left, -1 when unknown. The PIN is wiped
	// after use. Nil: ErrPINRequired.
	PIN func(ctx context.Context, token Asked, retries int) ([]byte, error)
	// Retype says that a person answers PIN, and is asked again after a wrong one.
	Retype bool
	// Choose picks one of several tokens, to enrol or to type a PIN for. Nil: ErrSeveral to enrol; to unlock, the
	// first.
	Choose func(ctx context.Context, tokens []Choice) (int, error)
	// Notice tells what else the user should know, such as a device that could not be asked.
	Notice func(text string)
	// Soft tells which software tokens were powered up, named as in a Spec. Nil: a notice.
	Soft func(names []string)
}

// Options of New; the zero value works.
type Options struct {
	Exec         []string // argv of the helper; nil is this program with HelperCommand
	UI           UI
	ProbeTimeout time.Duration // for a device that is asked silently; 0 is 3 s
	TouchTimeout time.Duration // for a call that waits for a touch; 0 is 30 s
	Log          *slog.Logger
}

// Tokens is the authenticators within reach of a Spec. Its methods may be called at the same time.
type Tokens struct {
	spec    Spec
	options Options

	mu     sync.Mutex
	soft   map[string]*softtoken.Server // by state file; powered up at first use
	fresh  []string                     // software tokens that the user wasn't told of yet
	auto   map[string]location          // by path: what enumeration found
	denied map[string]identity          // by name: devices that the last search has done with
	closed bool

	background sync.WaitGroup // probes that were given up and are ending
}

var _ keyring.Token = (*Tokens)(nil)

// New opens nothing yet.
func New(spec Spec, o Options) *Tokens {
	if len(o.Exec) == 0 {
		self, err := os.Executable()
		if err != nil {
			self = "/proc/self/exe"
		}
		o.Exec = []string{self, HelperCommand}
	}
	if o.ProbeTimeout <= 0 {
		o.ProbeTimeout = defaultProbeTimeout
	}
	if o.TouchTimeout <= 0 {
		o.TouchTimeout = defaultTouchTimeout
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Tokens{
		spec: spec, options: o, soft: map[string]*softtoken.Server{}, auto: map[string]location{}, denied: map[string]identity{},
	}
}

// Close waits for what was given up, and takes the power from the software tokens.
func (t *Tokens) Close() error {
	t.background.Wait()
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	var errs []error
	for _, s := range t.soft {
		errs = append(errs, s.Close())
	}
	clear(t.soft)
	return errors.Join(errs...)
}

// device is one thing that may be a token.
type device struct {
	name string   // as the user names it: a path, or soft:PATH
	at   location // where the helper opens it
}

func (d device) label() string {
	if d.at.Product == "" {
		return d.name
	}
	return fmt.Sprintf("%s, %s", d.at.Product, d.name)
}

// devices lists what the spec names, each once. A source that fails is told of and does not hide the others.
func (t *Tokens) devices(ctx context.Context) ([]device, []error) {
	if !supported && !t.spec.None() {
		return nil, []error{ErrUnsupported}
	}
	var out []device
	var faults []error
	found, errs := make([][]device, len(t.spec)), make([]error, len(t.spec))
	var wg sync.WaitGroup
	for i, source := range t.spec {
		wg.Go(func() { found[i], errs[i] = t.source(ctx, source) })
	}
	wg.Wait()
	for i, source := range t.spec {
		if errs[i] != nil {
			faults = append(faults, fmt.Errorf("%s: %w", source, errs[i]))
		}
		out = append(out, found[i]...)
	}
	t.tellSoft()
	seen := map[string]bool{}
	unique := out[:0]
	for _, d := range out {
		real, err := filepath.EvalSymlinks(d.at.Path)
		if err != nil {
			real = d.at.Path
		}
		if !seen[real] {
			seen[real] = true
			unique = append(unique, d)
		}
	}
	return unique, faults
}

func (t *Tokens) source(ctx context.Context, s Source) ([]device, error) {
	switch s.Kind {
	case Auto:
		a, err := t.call(ctx, t.options.ProbeTimeout, &request{Op: opList})
		if err != nil {
			return nil, err
		}
		t.mu.Lock()
		defer t.mu.Unlock()
		out := make([]device, len(a.Locations))
		for i, l := range a.Locations {
			if l.Product == "" { // libfido2 asks USB only
				l.Product = hidName(l.Path)
			}
			out[i] = device{l.Path, l}
			t.auto[l.Path] = l
		}
		return out, denied(hidrawClass, "/dev")
	case Soft:
		server, err := t.power(s.Path)
		if errors.Is(err, os.ErrNotExist) {
			err = fmt.Errorf("%w: %w", ErrAbsent, err)
		}
		if err != nil {
			return nil, err
		}
		return []device{{s.String(), location{Path: server.Device(), Product: softtoken.Product}}}, nil
	default:
		return []device{{s.Path, location{Path: s.Path, Product: hidName(s.Path)}}}, nil
	}
}

// power starts the software token in the file path, or finds it started.
func (t *Tokens) power(path string) (*softtoken.Server, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, os.ErrClosed
	}
	if s, ok := t.soft[path]; ok {
		return s, nil
	}
	s, err := softtoken.Start(path)
	if err != nil {
		return nil, err
	}
	t.soft[path] = s
	t.fresh = append(t.fresh, softPrefix+path)
	return s, nil
}

// tellSoft warns of software tokens, of all at once.
func (t *Tokens) tellSoft() {
	t.mu.Lock()
	var names []string
	for _, s := range t.spec { // in the user's order
		if slices.Contains(t.fresh, s.String()) {
			names = append(names, s.String())
		}
	}
	t.fresh = nil
	t.mu.Unlock()
	switch {
	case len(names) == 0:
	case t.options.UI.Soft != nil:
		t.options.UI.Soft(names)
	default:
		t.notice(strings.Join(names, ", ") + ": " + softtoken.Warning)
	}
}

// find gives the device that a Match names. Only devices that the spec names, or enumeration found, are opened.
func (t *Tokens) find(ctx context.Context, name string) (device, error) {
	if !supported {
		return device{}, ErrUnsupported
	}
	for _, s := range t.spec {
		if s.Kind != Auto && s.String() == name {
			found, err := t.source(ctx, s)
			if err != nil {
				return device{}, err
			}
			t.tellSoft()
			return found[0], nil
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if l, ok := t.auto[name]; ok {
		return device{name, l}, nil
	}
	return device{}, ErrAbsent
}

// hidName is what the kernel calls the hidraw device at path; empty when it is none.
func hidName(path string) string {
	uevent, err := os.ReadFile(filepath.Join("/sys/class/hidraw", filepath.Base(path), "device/uevent"))
	if err != nil || filepath.Dir(path) != "/dev" {
		return ""
	}
	for line := range strings.Lines(string(uevent)) {
		if name, ok := strings.CutPrefix(line, "HID_NAME="); ok {
			return strings.TrimSpace(name)
		}
	}
	return ""
}

func (t *Tokens) notice(text string) {
	t.options.Log.Info(text)
	if t.options.UI.Notice != nil {
		t.options.UI.Notice(text)
	}
}

func (t *Tokens) touch(tokens ...Asked) {
	if t.options.UI.Touch != nil && len(tokens) > 0 {
		t.options.UI.Touch(tokens)
	}
}

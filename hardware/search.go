package hardware

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"

	"bkfs/keyring"
)

const (
	pollInterval   = 500 * time.Millisecond // between two looks for tokens that were plugged in
	companionGrace = 500 * time.Millisecond // for others to match too, once a match is certain
)

// identity is a device node as it is now; plugged in again it has another.
type identity struct {
	dev, ino, rdev uint64
	changed        syscall.Timespec
}

func identify(d device) identity {
	info, err := os.Stat(d.at.Path)
	if err != nil {
		return identity{}
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return identity{}
	}
	return identity{st.Dev, st.Ino, st.Rdev, st.Ctim}
}

// search asks devices side by side, as they come. Only run's goroutine touches it.
type search struct {
	*Tokens
	references  []reference
	credentials []keyring.FIDO2
	patient     bool // goes on until something matches

	order    map[string]int // of the devices, as the spec names them
	asking   map[string]device
	found    []keyring.Match
	certain  bool
	answered bool
	sources  []error          // that could not be looked into in the last listing
	failed   map[string]error // by device

	listings chan listing
	results  chan finding
	slots    chan struct{}
}

type listing struct {
	devices []device
	faults  []error
}

func newSearch(t *Tokens, references []reference, credentials []keyring.FIDO2, patient bool) *search {
	return &search{
		Tokens: t, references: references, credentials: credentials, patient: patient,
		order: map[string]int{}, asking: map[string]device{}, failed: map[string]error{},
		listings: make(chan listing), results: make(chan finding), slots: make(chan struct{}, maxAtOnce),
	}
}

// run ends when the search has an outcome. Questions that are open then are taken back and end in the background.
func (s *search) run(ctx context.Context) error {
	probing, cancel := context.WithCancel(ctx)
	defer cancel()
	again := time.NewTimer(pollInterval)
	defer again.Stop()
	var grace <-chan time.Time
	s.list(probing)
	for listing := true; ; {
		select {
		case l := <-s.listings:
			listing = false
			s.begin(probing, l)
			again.Reset(pollInterval)
		case f := <-s.results:
			delete(s.asking, f.device.name)
			s.record(f)
			if s.certain && grace == nil {
				grace = time.After(companionGrace)
			}
		case <-grace:
			for name, d := range s.asking {
				s.failed[name] = fmt.Errorf("token %s: %w, and another one fits", d.label(), ErrTimeout)
			}
			return nil
		case <-again.C:
			if s.patient && !listing {
				listing = true
				s.list(probing)
			}
		case <-ctx.Done():
			if s.patient && errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil // it was to last so long
			}
			return ended(ctx)
		}
		if !listing && len(s.asking) == 0 && (len(s.found) > 0 || !s.patient) {
			return nil
		}
	}
}

func (s *search) list(ctx context.Context) {
	s.background.Go(func() {
		devices, faults := s.devices(ctx)
		select {
		case s.listings <- listing{devices, faults}:
		case <-ctx.Done():
		}
	})
}

// begin asks the devices that haven't been asked yet.
func (s *search) begin(ctx context.Context, l listing) {
	s.sources = l.faults
	clear(s.order)
	for i, d := range l.devices {
		s.order[d.name] = i
	}
	for name := range s.failed {
		if _, there := s.order[name]; !there {
			delete(s.failed, name) // unplugged
		}
	}
	for _, d := range l.devices {
		now := identify(d)
		if _, open := s.asking[d.name]; open || s.done(d.name, now) {
			continue
		}
		s.asking[d.name] = d
		s.background.Go(func() {
			select {
			case s.slots <- struct{}{}:
			case <-ctx.Done():
				return
			}
			defer func() { <-s.slots }()
			a, err := s.call(ctx, s.options.ProbeTimeout, &request{Op: opInspect, Device: d.at.Path, Credentials: s.references})
			if final(a, err) {
				s.settle(d.name, now)
			}
			select {
			case s.results <- finding{d, a, err}:
			case <-ctx.Done():
			}
		})
	}
}

// final tells whether a device will say the same when it is asked again.
func final(a *answer, err error) bool {
	switch {
	case err != nil:
		return errors.Is(err, ErrNotFIDO2) || errors.Is(err, ErrNotDevice)
	default:
		return !slices.ContainsFunc(a.Verdicts, func(v uint) bool { return verdict(v) != notMine })
	}
}

func (t *Tokens) settle(name string, id identity) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.denied[name] = id
}

func (t *Tokens) done(name string, id identity) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	denied, ok := t.denied[name]
	return ok && denied == id
}

// record takes what a device answered.
func (s *search) record(f finding) {
	if f.err != nil {
		s.failed[f.device.name] = fmt.Errorf("token %s: %w", f.device.label(), f.err)
		return
	}
	delete(s.failed, f.device.name)
	if !f.answer.Properties.hmacSecret() {
		s.failed[f.device.name] = fmt.Errorf("token %s: %w", f.device.label(), ErrNoHMACSecret)
	}
	s.answered = true
	for i, c := range s.credentials {
		m := keyring.Match{Device: f.device.name, Product: f.device.at.Product, Credential: i}
		v := f.answer.verdict(i, c)
		switch {
		case v == mine && !s.certain:
			s.certain = true
			s.found = []keyring.Match{m}
		case v == mine, v == unclear && !s.certain:
			s.found = append(s.found, m)
		}
	}
}

// verdict is what a token says of the credential c, which it was asked for as the i-th. Of one that is denied when
// asked silently, the model is all that can be told.
func (a *answer) verdict(i int, c keyring.FIDO2) verdict {
	v := verdict(a.Verdicts[i])
	if v == notMine && c.Hidden && a.Properties.hmacSecret() && bytes.Equal(a.Properties.AAGUID, c.AAGUID[:]) {
		return unclear
	}
	return v
}

// matches are in the order of the spec.
func (s *search) matches() []keyring.Match {
	slices.SortStableFunc(s.found, func(a, b keyring.Match) int { return s.order[a.Device] - s.order[b.Device] })
	return s.found
}

// faults lists what could not be asked, in the order of the spec.
func (s *search) faults() []error {
	out := slices.Clone(s.sources)
	names := make([]string, 0, len(s.failed))
	for name := range s.failed {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return s.order[a] - s.order[b] })
	for _, name := range names {
		out = append(out, s.failed[name])
	}
	return out
}

package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// MaxSlots bounds a ring.
const MaxSlots = 1024

var (
	// ErrLastSlot refuses to remove the last slot that could be opened.
	ErrLastSlot = errors.New("the last usable key slot can't be removed")
	// ErrNoSuchSlot means that no slot has the id.
	ErrNoSuchSlot = errors.New("no such key slot")
)

// Ring is a repository's key slots, in order. It is immutable: Add, Remove and
// Replace return another one. What it doesn't understand it keeps byte for byte.
type Ring struct {
	entries []Entry
}

// Entry is a slot of a ring, or what can be told of one that can't be used.
type Entry struct {
	ID    string // as it is written; may be empty or repeated when Err isn't nil
	Type  Type
	Label string
	Slot  *Slot // nil when Err isn't
	Err   error // ErrUnknownType, ErrDamagedSlot or ErrParams

	raw json.RawMessage
}

// Parse reads a config's slots. A slot that can't be used is no error here: one
// damaged slot doesn't lock the others.
func Parse(raw []json.RawMessage) (Ring, error) {
	if len(raw) > MaxSlots {
		return Ring{}, fmt.Errorf("%d key slots, at most %d", len(raw), MaxSlots)
	}
	entries := make([]Entry, len(raw))
	seen := make(map[string]bool, len(raw))
	for i, r := range raw {
		e := parseEntry(r)
		if e.Err == nil && seen[e.ID] {
			e.Slot, e.Err = nil, fmt.Errorf("%w: its id is another's too", ErrDamagedSlot)
		}
		seen[e.ID] = true
		entries[i] = e
	}
	return Ring{entries}, nil
}

func parseEntry(raw json.RawMessage) Entry {
	slot, err := ParseSlot(raw)
	if err == nil {
		return Entry{ID: slot.ID.String(), Type: slot.Type, Label: slot.Label, Slot: &slot, raw: raw}
	}
	e := Entry{Err: err, raw: raw}
	if len(raw) > MaxSlotSize {
		return e
	}
	// Each field for itself: a later version may have given one another form.
	var fields struct{ ID, Type, Label json.RawMessage }
	_ = json.Unmarshal(raw, &fields)
	e.ID = printable(fields.ID)
	e.Type = Type(printable(fields.Type))
	e.Label = printable(fields.Label)
	return e
}

// printable is the JSON string raw, or nothing if it isn't one fit to be shown.
func printable(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil || !isLabel(s) {
		return ""
	}
	return s
}

// Marshal gives the slots back for a config.
func (r Ring) Marshal() []json.RawMessage {
	raw := make([]json.RawMessage, len(r.entries))
	for i, e := range r.entries {
		raw[i] = slices.Clone(e.raw)
	}
	return raw
}

// Entries lists all slots in order, also those that can't be used.
func (r Ring) Entries() []Entry { return slices.Clone(r.entries) }

// Slots are the usable slots, in order.
func (r Ring) Slots() []Slot {
	var slots []Slot
	for _, e := range r.entries {
		if e.Slot != nil {
			slots = append(slots, *e.Slot)
		}
	}
	return slots
}

// Find returns the slot with the id.
func (r Ring) Find(id string) (Entry, error) {
	i, err := r.position(id)
	if err != nil {
		return Entry{}, err
	}
	return r.entries[i], nil
}

// Add appends a slot.
func (r Ring) Add(s Slot) (Ring, error) {
	if len(r.entries) >= MaxSlots {
		return r, fmt.Errorf("add key slot: there are %d, the most there may be", len(r.entries))
	}
	return r.splice("add", len(r.entries), len(r.entries), s)
}

// Replace puts a slot in the place of the one with the id.
func (r Ring) Replace(id string, s Slot) (Ring, error) {
	i, err := r.position(id)
	if err != nil {
		return r, fmt.Errorf("replace key slot: %w", err)
	}
	return r.splice("replace", i, i+1, s)
}

// Remove drops the slot with the id, whatever its type.
func (r Ring) Remove(id string) (Ring, error) {
	i, err := r.position(id)
	if err != nil {
		return r, fmt.Errorf("remove key slot: %w", err)
	}
	rest := Ring{slices.Delete(slices.Clone(r.entries), i, i+1)}
	if len(rest.Slots()) == 0 {
		return r, fmt.Errorf("remove key slot: %w", ErrLastSlot)
	}
	return rest, nil
}

func (r Ring) splice(what string, from, to int, s Slot) (Ring, error) {
	if err := s.check(); err != nil {
		return r, fmt.Errorf("%s key slot: %w", what, err)
	}
	raw, err := json.Marshal(s)
	if err != nil {
		return r, fmt.Errorf("%s key slot: %w", what, err)
	}
	e := parseEntry(raw)
	for i, other := range r.entries {
		if other.ID == e.ID && (i < from || i >= to) {
			return r, fmt.Errorf("%s key slot: %s is there already", what, e.ID)
		}
	}
	return Ring{slices.Replace(slices.Clone(r.entries), from, to, e)}, nil
}

func (r Ring) position(id string) (int, error) {
	i := slices.IndexFunc(r.entries, func(e Entry) bool { return id != "" && e.ID == id })
	if i < 0 {
		return 0, fmt.Errorf("%w: %.40q", ErrNoSuchSlot, id)
	}
	return i, nil
}

package storetest

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"bkfs/archive/store"
)

// Memory is a store in memory, for tests. The zero value is empty and ready.
type Memory struct {
	// Fault, unless nil, is asked before each operation ("put", "replace",
	// "get", "stat", "list", "delete", "space"); an error that it returns is
	// the operation's, which then does nothing. Set before use.
	Fault func(operation, name string) error

	mu      sync.Mutex
	objects map[string]object
}

type object struct {
	data []byte // never changed in place
	time time.Time
}

var _ store.Store = (*Memory)(nil)

func (m *Memory) begin(ctx context.Context, operation, name string) error {
	if m.Fault != nil {
		if err := m.Fault(operation, name); err != nil {
			return fmt.Errorf("%s %s: %w", operation, name, err)
		}
	}
	if operation != "list" && operation != "space" {
		if err := store.CheckName(name); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// Put implements store.Store.
func (m *Memory) Put(ctx context.Context, name string, data []byte) error {
	if err := m.begin(ctx, "put", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.objects[name]; ok {
		if bytes.Equal(old.data, data) {
			return nil
		}
		return fmt.Errorf("put %s: %w", name, store.ErrExist)
	}
	m.set(name, data)
	return nil
}

// Replace implements store.Store.
func (m *Memory) Replace(ctx context.Context, name string, data []byte) error {
	if err := m.begin(ctx, "replace", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set(name, data)
	return nil
}

// set is called with mu held.
func (m *Memory) set(name string, data []byte) {
	if m.objects == nil {
		m.objects = map[string]object{}
	}
	m.objects[name] = object{bytes.Clone(data), time.Now()}
}

// Get implements store.Store.
func (m *Memory) Get(ctx context.Context, name string, off int64, p []byte) error {
	if err := m.begin(ctx, "get", name); err != nil {
		return err
	}
	o, err := m.object("get", name)
	if err != nil {
		return err
	}
	if off < 0 {
		return fmt.Errorf("get %s: negative offset %d", name, off)
	}
	if size := int64(len(o.data)); off > size || int64(len(p)) > size-off {
		return fmt.Errorf("get %s: %w: it ends at %d", name, store.ErrCorrupt, size)
	}
	copy(p, o.data[off:])
	return nil
}

// Stat implements store.Store.
func (m *Memory) Stat(ctx context.Context, name string) (store.Info, error) {
	if err := m.begin(ctx, "stat", name); err != nil {
		return store.Info{}, err
	}
	o, err := m.object("stat", name)
	return store.Info{Name: name, Size: int64(len(o.data)), ModTime: o.time}, err
}

func (m *Memory) object(operation, name string) (object, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[name]
	if !ok {
		return object{}, fmt.Errorf("%s %s: %w", operation, name, store.ErrNotExist)
	}
	return o, nil
}

// List implements store.Store.
func (m *Memory) List(ctx context.Context, prefix, after string, fn func(store.Info) error) error {
	if err := m.begin(ctx, "list", prefix); err != nil {
		return err
	}
	if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
		if err := store.CheckName(prefix[:i]); err != nil {
			return fmt.Errorf("list %q: %w", prefix, err)
		}
	}
	m.mu.Lock()
	objects := maps.Clone(m.objects)
	m.mu.Unlock()
	for _, name := range slices.Sorted(maps.Keys(objects)) {
		if !strings.HasPrefix(name, prefix) || name <= after {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		o := objects[name]
		if err := fn(store.Info{Name: name, Size: int64(len(o.data)), ModTime: o.time}); err != nil {
			return err
		}
	}
	return nil
}

// Delete implements store.Store.
func (m *Memory) Delete(ctx context.Context, name string) error {
	if err := m.begin(ctx, "delete", name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

// Space implements store.Store: a terabyte, all of it free.
func (m *Memory) Space(ctx context.Context) (store.Space, error) {
	return store.Space{Total: 1 << 40, Free: 1 << 40, Available: 1 << 40}, m.begin(ctx, "space", "")
}

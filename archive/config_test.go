package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"testing"

	"bkfs/archive/seal"
	"bkfs/archive/store"
	"bkfs/archive/store/storetest"
)

// configs is a store with the two copies of a config, and its key.
type configs struct {
	storetest.Memory
	t   *testing.T
	key *seal.Key
	id  seal.RepositoryID
}

func newConfigs(t *testing.T) *configs {
	t.Helper()
	c := &configs{t: t, key: vectorKey(t), id: seal.NewRepositoryID()}
	if _, err := Create(t.Context(), c, c.key, c.id, []json.RawMessage{[]byte(`{"id":"one"}`)}); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *configs) read(name string) []byte {
	c.t.Helper()
	b, err := readWhole(c.t.Context(), c, name, configMax)
	if err != nil {
		c.t.Fatal(err)
	}
	return b
}

func (c *configs) set(name string, data []byte) {
	c.t.Helper()
	if err := c.Replace(c.t.Context(), name, data); err != nil {
		c.t.Fatal(err)
	}
}

// joinConfig puts a copy of a config together.
func joinConfig(body, mac []byte) []byte {
	return fmt.Appendf(nil, "bkfs repository config\n%s\nsha256 %x\nmac %x\n", body, sha256.Sum256(body), mac)
}

// edit replaces text in the bodies of some copies and makes their checksum
// right, as anybody can, but not their MAC.
func (c *configs) edit(old, new string, names ...string) {
	c.t.Helper()
	c.rot(old, new, names...)
	for _, name := range names {
		b := c.read(name)
		body, _, ok := bytes.Cut(bytes.TrimPrefix(b, []byte(configMagic)), []byte(configSumTag))
		mac, err := hex.DecodeString(string(bytes.TrimSpace(b[len(b)-65:])))
		if !ok || err != nil {
			c.t.Fatalf("not a config: %v\n%s", err, b)
		}
		c.set(name, joinConfig(body, mac))
	}
}

// rot replaces text in some copies and makes nothing right.
func (c *configs) rot(old, new string, names ...string) {
	c.t.Helper()
	for _, name := range names {
		b := c.read(name)
		if !bytes.Contains(b, []byte(old)) {
			c.t.Fatalf("no %q in %s:\n%s", old, name, b)
		}
		c.set(name, bytes.Replace(b, []byte(old), []byte(new), 1))
	}
}

// rewrite makes another config whose MAC is right, and leaves it in both copies.
func (c *configs) rewrite(change func(*Config)) {
	c.t.Helper()
	cfg, err := ReadConfig(c.t.Context(), c)
	if err != nil {
		c.t.Fatal(err)
	}
	change(cfg)
	if err := cfg.write(c.t.Context(), c, c.key); err != nil {
		c.t.Fatal(err)
	}
}

// verified reads and verifies the config as opening a repository does.
func (c *configs) verified() (*Config, error) {
	cfg, err := ReadConfig(c.t.Context(), c)
	if err != nil {
		return nil, err
	}
	return cfg, cfg.Verify(c.key)
}

func TestBadConfigs(t *testing.T) {
	const format = `"format": 1`
	both := []string{configName, configCopy}
	tests := []struct {
		name string
		bad  func(*configs)
		want error // nil: it is read, and verifies
	}{
		{"whole", func(*configs) {}, nil},
		{"none", func(c *configs) { c.drop(both...) }, ErrNoRepository},
		{"the first is missing", func(c *configs) { c.drop(configName) }, nil},
		{"the second is missing", func(c *configs) { c.drop(configCopy) }, nil},
		{"the first is empty", func(c *configs) { c.set(configName, nil) }, nil},
		{"both are empty", func(c *configs) { c.set(configName, nil); c.set(configCopy, nil) }, ErrDamaged},
		{"one is missing, one is empty", func(c *configs) { c.drop(configName); c.set(configCopy, nil) }, ErrDamaged},
		{"both are longer than a config may be", func(c *configs) {
			for _, name := range both {
				c.set(name, append(c.read(name), make([]byte, configMax)...))
			}
		}, ErrDamaged},
		{"an edited slot in one", func(c *configs) { c.edit("one", "two", configName) }, nil},
		{"an edited slot in both", func(c *configs) { c.edit("one", "two", both...) }, ErrDamaged},
		{"an edited header in one", func(c *configs) { c.edit(`"epoch": 0`, `"epoch": 1`, configCopy) }, nil},
		{"an edited header in both", func(c *configs) { c.edit(`"epoch": 0`, `"epoch": 1`, both...) }, ErrDamaged},
		{"a smaller chunk in both", func(c *configs) { c.edit(`"min": 65536`, `"min": 64`, both...) }, ErrDamaged},
		{"a rotten slot in one", func(c *configs) { c.rot("one", "two", configName) }, nil},
		{"a rotten slot in both", func(c *configs) { c.rot("one", "two", both...) }, ErrDamaged},
		{"a rotten format in one", func(c *configs) { c.rot(format, `"format": 2`, configName) }, nil},
		{"a rotten format in both", func(c *configs) { c.rot(format, `"format": 2`, both...) }, ErrDamaged},
		{"a rotten suite in one", func(c *configs) { c.rot("aes256gcm", "aes256gcn", configCopy) }, nil},
		{"a rotten feature in one", func(c *configs) { c.rot("features", "featurez", configCopy) }, nil},
		{"white space in both", func(c *configs) { c.edit(format, `"format":1`, both...) }, ErrDamaged},
		{"another MAC in both", func(c *configs) { c.rot("\nmac ", "\nmac 00", both...) }, ErrDamaged},
		{"no MAC in one", func(c *configs) { c.rot("\nmac ", "\nnone ", configName) }, nil},
		{"no MAC in both", func(c *configs) { c.rot("\nmac ", "\nnone ", both...) }, ErrDamaged},
		{"another checksum in one", func(c *configs) { c.rot("\nsha256 ", "\nsha256 00", configName) }, nil},
		{"no checksum in one", func(c *configs) { c.rot("\nsha256 ", "\nnone ", configName) }, nil},
		{"no checksum in both", func(c *configs) { c.rot("\nsha256 ", "\nnone ", both...) }, ErrDamaged},
		{"not a config", func(c *configs) { c.rot("bkfs", "abcd", both...) }, ErrDamaged},
		{"not JSON", func(c *configs) { c.edit(format, `"format": 1,,`, both...) }, ErrDamaged},
		{"a later format", func(c *configs) { c.rewrite(func(f *Config) { f.Format = 2 }) }, ErrFormat},
		{"a later format in one", func(c *configs) { c.edit(format, `"format": 2`, configName) }, ErrFormat},
		{"no format", func(c *configs) { c.edit(format, `"tamrof": 1`, both...) }, ErrFormat},
		{"another suite", func(c *configs) { c.rewrite(func(f *Config) { f.Suite = "rot13" }) }, ErrFormat},
		{"an incompatible feature", func(c *configs) { c.rewrite(func(f *Config) { f.Incompatible = []string{"holographic"} }) }, ErrFormat},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newConfigs(t)
			tt.bad(c)
			cfg, err := c.verified()
			if !errors.Is(err, tt.want) {
				t.Fatalf("got %v, want %v", err, tt.want)
			}
			if err == nil && (cfg.ID != c.id || string(cfg.Slots[0]) != `{"id":"one"}` && !bytes.Contains(cfg.Slots[0], []byte("one"))) {
				t.Errorf("got repository %s with slots %s, want %s", cfg.ID, cfg.Slots, c.id)
			}
		})
	}
}

func (c *configs) drop(names ...string) {
	for _, name := range names {
		if err := c.Delete(c.t.Context(), name); err != nil {
			c.t.Fatal(err)
		}
	}
}

// However far a torn write came, the other copy counts; with both torn there
// is none.
func TestTornConfig(t *testing.T) {
	c := newConfigs(t)
	whole := c.read(configName)
	for n := range len(whole) - 1 { // the last byte is a line's end
		c.set(configName, whole[:n])
		c.set(configCopy, whole)
		if _, err := c.verified(); err != nil {
			t.Fatalf("%d bytes of one copy, the other whole: %v", n, err)
		}
		c.set(configCopy, whole[:n])
		if _, err := ReadConfig(t.Context(), c); !errors.Is(err, ErrDamaged) {
			t.Fatalf("%d bytes of both copies: got %v, want ErrDamaged", n, err)
		}
	}
}

func TestConfigGenerations(t *testing.T) {
	c := newConfigs(t)
	old := c.read(configName)
	set := func([]json.RawMessage) ([]json.RawMessage, error) {
		return []json.RawMessage{[]byte(`{"id":"two"}`)}, nil
	}
	if _, err := UpdateSlots(t.Context(), t.TempDir(), c, c.key, set); err != nil {
		t.Fatal(err)
	}
	check := func(what string, generation uint64, slot string) {
		t.Helper()
		cfg, err := c.verified()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if cfg.Generation != generation || !bytes.Contains(cfg.Slots[0], []byte(slot)) {
			t.Errorf("%s: got generation %d with %s, want %d with %q", what, cfg.Generation, cfg.Slots, generation, slot)
		}
	}
	check("after an update", 2, "two")
	c.set(configCopy, old)
	check("the second is older", 2, "two")
	c.set(configCopy, c.read(configName))
	c.set(configName, old)
	check("the first is older", 2, "two")
	c.edit(`"generation": 2`, `"generation": 9`, configCopy)
	check("the higher generation is forged", 1, "one")
	if _, err := UpdateSlots(t.Context(), t.TempDir(), c, c.key, set); err != nil {
		t.Fatal(err)
	}
	check("after another update", 2, "two")
	if a, b := c.read(configName), c.read(configCopy); !bytes.Equal(a, b) {
		t.Errorf("the copies differ after an update:\n%s\n%s", a, b)
	}
}

// An update that fails leaves the old config or the new one.
func TestInterruptedUpdate(t *testing.T) {
	for n := 0; ; n++ {
		c := newConfigs(t)
		operations := 0
		c.Fault = func(string, string) error {
			if operations++; operations > n {
				return store.ErrUnavailable
			}
			return nil
		}
		_, failure := UpdateSlots(t.Context(), t.TempDir(), c, c.key, func(slots []json.RawMessage) ([]json.RawMessage, error) {
			return []json.RawMessage{[]byte(`{"id":"two"}`)}, nil
		})
		c.Fault = nil
		cfg, err := c.verified()
		if err != nil || cfg.Generation > 2 || failure == nil && cfg.Generation != 2 {
			t.Fatalf("after %d operations: generation %d, %v", n, cfg.Generation, err)
		}
		if failure == nil {
			break
		}
	}
}

func TestConfigOfAnotherRepository(t *testing.T) {
	c, other := newConfigs(t), newConfigs(t)
	other.key = mustKey(t)
	other.rewrite(func(f *Config) { f.ID = seal.NewRepositoryID() })
	c.set(configCopy, other.read(configName))
	if cfg, err := c.verified(); err != nil || cfg.ID != c.id {
		t.Errorf("the second copy is another's: got %v, want repository %s", err, c.id)
	}
	c.set(configName, other.read(configName))
	if _, err := c.verified(); !errors.Is(err, ErrDamaged) {
		t.Errorf("both copies are another's: got %v, want ErrDamaged", err)
	}
}

func mustKey(t *testing.T) *seal.Key {
	t.Helper()
	key, err := seal.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(key.Destroy)
	return key
}

func TestCreateRefuses(t *testing.T) {
	c := newConfigs(t)
	for _, what := range []string{"a repository", "a damaged one"} {
		if _, err := Create(t.Context(), c, c.key, c.id, nil); !errors.Is(err, ErrExist) {
			t.Errorf("create over %s: got %v, want ErrExist", what, err)
		}
		c.set(configName, []byte("x"))
		c.drop(configCopy)
	}
}

func TestConfigVector(t *testing.T) {
	text, err := os.ReadFile("testdata/format/config")
	if err != nil {
		t.Fatal(err)
	}
	c := &configs{t: t, key: vectorKey(t)}
	c.set(configName, text)
	c.set(configCopy, text)
	cfg, err := c.verified()
	if err != nil || cfg.Generation != 3 || cfg.Chunker.Max != 1<<20 || len(cfg.Slots) != 1 {
		t.Errorf("got %+v, %v", cfg, err)
	}
	c.rewrite(func(*Config) {})
	if got := c.read(configCopy); !bytes.Equal(got, text) {
		t.Errorf("written again it is\n%s, want\n%s", got, text)
	}
}

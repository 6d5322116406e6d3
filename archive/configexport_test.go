package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"bkfs/archive/seal"
)

func (c *configs) mustVerified() *Config {
	c.t.Helper()
	cfg, err := c.verified()
	if err != nil {
		c.t.Fatal(err)
	}
	return cfg
}

// What is exported is what is stored, byte for byte, in either form.
func TestConfigExport(t *testing.T) {
	c := newConfigs(t)
	cfg := c.mustVerified()
	if got := cfg.Text(); !bytes.Equal(got, c.read(configName)) {
		t.Errorf("the text is\n%s, want\n%s", got, c.read(configName))
	}
	compact, err := cfg.Compact()
	if err != nil {
		t.Fatal(err)
	}
	if len(compact) > 250 { // 32 of them are the MAC, about 50 what the repository has of its own
		t.Errorf("compact it has %d bytes", len(compact))
	}
	for _, form := range [][]byte{cfg.Text(), compact} {
		got, err := ParseConfig(form)
		if err != nil || !bytes.Equal(got.Text(), cfg.Text()) {
			t.Fatalf("read back: %v", err)
		}
		if err := got.Verify(c.key); err != nil || got.ID != c.id {
			t.Errorf("read back: %v", err)
		}
	}
}

// The authentic copy is exported, not the one with the highest generation.
func TestConfigExportForged(t *testing.T) {
	c := newConfigs(t)
	want := c.read(configCopy)
	c.edit(`"generation": 1`, `"generation": 9`, configName)
	if got := c.mustVerified().Text(); !bytes.Equal(got, want) {
		t.Errorf("got\n%s", got)
	}
}

// The vector was made by another implementation of DEFLATE (Python's zlib).
func TestCompactVector(t *testing.T) {
	text, err := os.ReadFile("testdata/format/config-compact")
	if err != nil {
		t.Fatal(err)
	}
	compact, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/format/config")
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseConfig(compact)
	if err != nil || !bytes.Equal(got.Text(), want) {
		t.Errorf("got %v\n%s, want\n%s", err, got.Text(), want)
	}
}

// FORMAT.md tells the dictionary by its digest.
func TestCompactDictionary(t *testing.T) {
	format, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	if sum := fmt.Sprintf("%x", sha256.Sum256([]byte(compactDictionary))); !bytes.Contains(format, []byte(sum)) {
		t.Errorf("the dictionary's digest is %s, which FORMAT.md doesn't say: it must never change", sum)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	c := newConfigs(t)
	cfg := c.mustVerified()
	compact, err := cfg.Compact()
	if err != nil {
		t.Fatal(err)
	}
	later := bytes.Clone(compact)
	later[0] = 2
	rotten := bytes.Clone(cfg.Text())
	rotten[40] ^= 1
	bomb := &Config{copies: []configBytes{{body: make([]byte, configMax+1), mac: make([]byte, 32)}}}
	huge, err := bomb.Compact()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		data []byte
		want error
	}{
		{"nothing", nil, ErrDamaged},
		{"a later form", later, ErrFormat},
		{"a cut compact form", compact[:len(compact)-1], ErrDamaged},
		{"a byte too many", append(bytes.Clone(compact), 0), ErrDamaged},
		{"over the bound", huge, ErrDamaged},
		{"a rotten text", rotten, ErrDamaged},
		{"a cut text", cfg.Text()[:90], ErrDamaged},
	} {
		if _, err := ParseConfig(tt.data); !errors.Is(err, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.name, err, tt.want)
		}
	}
}

// Many changes at once: none is lost.
func TestConcurrentUpdates(t *testing.T) {
	c, dir := newConfigs(t), t.TempDir()
	const n = 8
	var wg sync.WaitGroup
	var changing atomic.Int32
	for i := range n {
		wg.Go(func() {
			_, err := UpdateSlots(t.Context(), dir, c, c.key, func(slots []json.RawMessage) ([]json.RawMessage, error) {
				if changing.Add(1) > 1 {
					t.Error("two change the config at once")
				}
				defer changing.Add(-1)
				for range 10000 { // the others' turn, if nothing keeps them away
					runtime.Gosched()
				}
				return append(slots, fmt.Appendf(nil, `{"id":"more-%d"}`, i)), nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	cfg := c.mustVerified()
	if len(cfg.Slots) != 1+n || cfg.Generation != 1+n {
		t.Errorf("got generation %d and %d slots, want %d", cfg.Generation, len(cfg.Slots), 1+n)
	}
}

func TestUpdateKeepsUnknownFields(t *testing.T) {
	c := newConfigs(t)
	const later = `"comfort": {"of": ["a", "later", "version"]}, "Zeal": 1, "format": 1`
	c.rot(`"format": 1`, later, configName, configCopy)
	text := c.read(configName)
	body, _, _ := bytes.Cut(bytes.TrimPrefix(text, []byte(configMagic)), []byte(configSumTag))
	keys, err := seal.NewKeys(c.key, c.id)
	if err != nil {
		t.Fatal(err)
	}
	mac := keys.ConfigMAC(body)
	keys.Destroy()
	c.set(configName, joinConfig(body, mac[:]))
	c.set(configCopy, joinConfig(body, mac[:]))
	for range 2 {
		if _, err := UpdateSlots(t.Context(), t.TempDir(), c, c.key, func(s []json.RawMessage) ([]json.RawMessage, error) { return s, nil }); err != nil {
			t.Fatal(err)
		}
	}
	c.mustVerified()
	got := strings.Join(strings.Fields(string(c.read(configName))), "")
	for _, want := range []string{`"generation":3`, `"comfort":{"of":["a","later","version"]}`, `"Zeal":1`} {
		if strings.Count(got, want) != 1 {
			t.Errorf("after two updates there is no %s in\n%s", want, got)
		}
	}
}

func TestRestoreConfig(t *testing.T) {
	agree := func(*Config, error) error { return nil }
	both := []string{configName, configCopy}
	tests := []struct {
		name string
		bad  func(*configs)
		now  bool  // there is an authentic config
		why  error // if there is none
		kept int
	}{
		{"lost", func(c *configs) { c.drop(both...) }, false, ErrNoRepository, 0},
		{"one lost", func(c *configs) { c.drop(configName) }, true, nil, 0},
		{"whole", func(*configs) {}, true, nil, 0},
		{"rotten", func(c *configs) { c.rot("one", "two", both...) }, false, ErrDamaged, 1},
		{"two sorts of rot", func(c *configs) { c.rot("one", "two", configName); c.set(configCopy, []byte("x")) }, false, ErrDamaged, 2},
		{"forged", func(c *configs) { c.edit("one", "two", both...) }, false, ErrDamaged, 1},
		{"newer", func(c *configs) { c.rewrite(func(f *Config) { f.Generation = 7 }) }, true, nil, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newConfigs(t)
			saved := c.read(configName)
			tt.bad(c)
			cfg, err := ParseConfig(saved)
			if err != nil {
				t.Fatal(err)
			}
			var now *Config
			var why error
			done, err := RestoreConfig(t.Context(), t.TempDir(), c, c.key, cfg, func(n *Config, e error) error { now, why = n, e; return nil })
			if err != nil {
				t.Fatal(err)
			}
			if (now != nil) != tt.now || !errors.Is(why, tt.why) || len(done.Kept) != tt.kept || done.Lost != nil {
				t.Errorf("asked with %+v, %v; kept %q, lost %v", now, why, done.Kept, done.Lost)
			}
			for _, name := range both {
				if !bytes.Equal(c.read(name), saved) {
					t.Errorf("%s is\n%s", name, c.read(name))
				}
			}
			if cfg := c.mustVerified(); cfg.Generation != 1 {
				t.Errorf("generation %d", cfg.Generation)
			}
		})
	}

	c := newConfigs(t)
	saved := c.mustVerified()
	refusal := errors.New("no")
	c.drop(both...)
	if _, err := RestoreConfig(t.Context(), t.TempDir(), c, c.key, saved, func(*Config, error) error { return refusal }); !errors.Is(err, refusal) {
		t.Errorf("got %v, want the refusal", err)
	}
	if _, err := ReadConfig(t.Context(), c); !errors.Is(err, ErrNoRepository) {
		t.Errorf("refused, and written all the same: %v", err)
	}
	if _, err := RestoreConfig(t.Context(), t.TempDir(), c, mustKey(t), saved, agree); !errors.Is(err, ErrDamaged) {
		t.Errorf("another key: got %v, want ErrDamaged", err)
	}
	// A later version's config isn't replaced by ours.
	c.set(configName, saved.Text())
	c.rewrite(func(f *Config) { f.Format = 2 })
	if _, err := RestoreConfig(t.Context(), t.TempDir(), c, c.key, saved, agree); !errors.Is(err, ErrFormat) {
		t.Errorf("over a later format: got %v, want ErrFormat", err)
	}
}

// A config is only put beside the data that it is of.
func TestRestoreConfigOfAnother(t *testing.T) {
	c, other := newConfigs(t), newConfigs(t)
	other.key = mustKey(t)
	other.rewrite(func(f *Config) { f.ID = seal.NewRepositoryID() })
	keys, err := seal.NewKeys(c.key, c.id)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Destroy)
	if err := (&root{generation: 4}).put(t.Context(), c, keys); err != nil {
		t.Fatal(err)
	}
	agree := func(*Config, error) error { return nil }
	if _, err := RestoreConfig(t.Context(), t.TempDir(), c, c.key, c.mustVerified(), agree); err != nil {
		t.Errorf("its own config: %v", err)
	}
	saved := other.mustVerified()
	if _, err := RestoreConfig(t.Context(), t.TempDir(), c, other.key, saved, agree); !errors.Is(err, ErrDamaged) {
		t.Errorf("another's: got %v, want ErrDamaged", err)
	}
	if cfg := c.mustVerified(); cfg.ID != c.id {
		t.Errorf("and it was written")
	}
}

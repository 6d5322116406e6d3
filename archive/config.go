package archive

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"bkfs/archive/chunk"
	"bkfs/archive/seal"
	"bkfs/archive/store"
)

// The two copies of the config, and the bounds of one.
const (
	configName   = "config"
	configCopy   = "config-copy"
	configMax    = 4 << 20
	configMagic  = "bkfs repository config\n"
	configSumTag = "\nsha256 " // of the body: tells damage before there is a key
	configMACTag = "\nmac "
)

// A Config is a repository's plaintext header: what is needed before there is
// a key. Until Verify has succeeded it may have been written by anybody.
type Config struct {
	Format       int               `json:"format"`
	ID           seal.RepositoryID `json:"id"`
	Suite        string            `json:"suite"`
	Chunker      chunk.Params      `json:"chunker"`
	Created      time.Time         `json:"created"`
	Generation   uint64            `json:"generation"` // rises with every change
	Epoch        uint32            `json:"epoch"`      // of the repository key
	Incompatible []string          `json:"incompatible_features"`
	Slots        []json.RawMessage `json:"slots"`

	unknown map[string]json.RawMessage // fields of a later version
	copies  []configBytes              // highest generation first; after Verify the one that counts
}

// configBytes is one copy of a config as it was read.
type configBytes struct {
	name       string
	body       []byte // what the MAC covers
	mac        []byte
	generation uint64
}

// ReadConfig reads a repository's config. Errors are ErrNoRepository,
// ErrFormat and ErrDamaged.
func ReadConfig(ctx context.Context, st store.Store) (*Config, error) {
	var copies []configBytes
	var damage, format error
	missing := 0
	for _, name := range []string{configName, configCopy} {
		data, err := readWhole(ctx, st, name, configMax)
		switch {
		case errors.Is(err, store.ErrNotExist):
			missing++
			continue
		case err != nil:
			return nil, fmt.Errorf("read %s: %w", name, asDamage(err))
		}
		c, err := splitConfig(name, data)
		if err == nil {
			var parsed *Config
			if parsed, err = parseConfig(c.body); err == nil {
				c.generation = parsed.Generation
				copies = append(copies, c)
				continue
			}
		}
		if errors.Is(err, ErrFormat) {
			format = err
		} else {
			damage = damaged(name, err)
		}
	}
	switch {
	case missing == 2:
		return nil, ErrNoRepository
	case format != nil:
		return nil, format
	case len(copies) == 0:
		return nil, damage
	}
	slices.SortStableFunc(copies, func(a, b configBytes) int {
		return int(int64(b.generation) - int64(a.generation))
	})
	cfg, err := parseConfig(copies[0].body)
	if err != nil {
		return nil, err
	}
	cfg.copies = copies
	return cfg, nil
}

func readWhole(ctx context.Context, st store.Store, name string, limit int64) ([]byte, error) {
	info, err := st.Stat(ctx, name)
	if err != nil {
		return nil, err
	}
	if info.Size > limit {
		return nil, fmt.Errorf("%s has %d bytes: %w", name, info.Size, store.ErrCorrupt)
	}
	data := make([]byte, info.Size)
	return data, st.Get(ctx, name, 0, data)
}

func splitConfig(name string, data []byte) (configBytes, error) {
	rest, ok := bytes.CutPrefix(data, []byte(configMagic))
	if !ok {
		return configBytes{}, errors.New("not a bkfs config")
	}
	rest, mac, err := cutDigest(bytes.TrimSuffix(rest, []byte("\n")), configMACTag)
	if err != nil {
		return configBytes{}, err
	}
	body, sum, err := cutDigest(rest, configSumTag)
	if err != nil {
		return configBytes{}, err
	}
	if got := sha256.Sum256(body); !bytes.Equal(got[:], sum) {
		return configBytes{}, errors.New("its checksum is wrong")
	}
	return configBytes{name: name, body: body, mac: mac}, nil
}

// cutDigest takes a tagged line with 32 bytes in hexadecimal off the end.
func cutDigest(data []byte, tag string) (rest, digest []byte, err error) {
	at := bytes.LastIndex(data, []byte(tag))
	if at < 0 {
		return nil, nil, errTruncated
	}
	digest, err = hex.DecodeString(string(data[at+len(tag):]))
	if err != nil || len(digest) != 32 {
		return nil, nil, errTruncated
	}
	return data[:at], digest, nil
}

func parseConfig(body []byte) (*Config, error) {
	var version struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(body, &version); err != nil {
		return nil, fmt.Errorf("parse config: %w", err)
	}
	if version.Format != seal.Format {
		return nil, fmt.Errorf("repository has format %d, this program knows format %d: %w", version.Format, seal.Format, ErrFormat)
	}
	var c Config
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, fmt.Errorf("parse config: %w", err)
	}
	if c.Suite != seal.Suite {
		return nil, fmt.Errorf("repository has cipher suite %q: %w", c.Suite, ErrFormat)
	}
	if len(c.Incompatible) > 0 {
		return nil, fmt.Errorf("repository needs features %q: %w", c.Incompatible, ErrFormat)
	}
	return &c, c.keepUnknown(body)
}

// keepUnknown remembers the fields that a change has to leave as they are.
func (c *Config) keepUnknown(body []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(body, &all); err != nil {
		return fmt.Errorf("parse config: %w", err)
	}
	for name, value := range all {
		// As encoding/json matches names.
		if !slices.ContainsFunc(configFields(), func(known string) bool { return strings.EqualFold(known, name) }) {
			if c.unknown == nil {
				c.unknown = map[string]json.RawMessage{}
			}
			c.unknown[name] = value
		}
	}
	return nil
}

func configFields() []string {
	return []string{"format", "id", "suite", "chunker", "created", "generation", "epoch", "incompatible_features", "slots"}
}

// Verify checks that the holder of the repository key wrote the config. The
// highest generation with a valid MAC wins and becomes c. ErrDamaged says that
// no copy has one: it was changed, or the key is of another repository.
func (c *Config) Verify(key *seal.Key) error {
	for _, b := range c.copies {
		v, err := parseConfig(b.body)
		if err != nil {
			return err
		}
		keys, err := seal.NewKeys(key, v.ID)
		if err != nil {
			return err
		}
		want := keys.ConfigMAC(b.body)
		keys.Destroy()
		if !hmac.Equal(want[:], b.mac) {
			continue
		}
		v.copies = []configBytes{b}
		*c = *v
		return nil
	}
	return damaged("config: somebody without the key changed it", nil)
}

// Create makes a repository in an empty store.
func Create(ctx context.Context, st store.Store, key *seal.Key, id seal.RepositoryID, slots []json.RawMessage) (*Config, error) {
	if _, err := ReadConfig(ctx, st); !errors.Is(err, ErrNoRepository) {
		if err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, ErrFormat) {
			err = ErrExist
		}
		return nil, fmt.Errorf("create repository: %w", err)
	}
	c := &Config{
		Format: seal.Format, ID: id, Suite: seal.Suite, Chunker: chunk.DefaultParams(),
		Created: time.Now().UTC().Truncate(time.Second), Incompatible: []string{},
		Generation: 1, Slots: slots,
	}
	return c, c.write(ctx, st, key)
}

// UpdateSlots changes the key slots: change gets those of the newest authentic
// config, and its generation rises. dir is where the journal is. Of several that
// change them at once each sees what the others did.
func UpdateSlots(ctx context.Context, dir string, st store.Store, key *seal.Key,
	change func([]json.RawMessage) ([]json.RawMessage, error)) (*Config, error) {
	lock, err := takeConfigLock(ctx, dir)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	c, err := ReadConfig(ctx, st)
	if err != nil {
		return nil, err
	}
	if err := c.Verify(key); err != nil {
		return nil, err
	}
	if c.Slots, err = change(c.Slots); err != nil {
		return nil, err
	}
	c.Generation++
	return c, c.write(ctx, st, key)
}

// encode is the body: what this version knows, then what it doesn't.
func (c *Config) encode() ([]byte, error) {
	known, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if len(c.unknown) > 0 {
		rest, err := json.Marshal(c.unknown) // sorted by name
		if err != nil {
			return nil, err
		}
		known = slices.Concat(known[:len(known)-1], []byte(","), rest[1:])
	}
	var out bytes.Buffer
	err = json.Indent(&out, known, "", "  ")
	return out.Bytes(), err
}

// write makes c's MAC and stores both copies.
func (c *Config) write(ctx context.Context, st store.Store, key *seal.Key) error {
	body, err := c.encode()
	if err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	keys, err := seal.NewKeys(key, c.ID)
	if err != nil {
		return err
	}
	defer keys.Destroy()
	mac := keys.ConfigMAC(body)
	c.copies = []configBytes{{body: body, mac: mac[:], generation: c.Generation}}
	return c.store(ctx, st)
}

// store writes c as it is, one copy after the other: one of them is always whole.
func (c *Config) store(ctx context.Context, st store.Store) error {
	for _, name := range []string{configName, configCopy} {
		if err := st.Replace(ctx, name, c.copies[0].text()); err != nil {
			return fmt.Errorf("write %s: %w", name, asDamage(err))
		}
	}
	return nil
}

// text is the copy as it is stored.
func (b configBytes) text() []byte {
	return slices.Concat([]byte(configMagic), b.body, fmt.Appendf(nil, "%s%x%s%x\n", configSumTag, sha256.Sum256(b.body), configMACTag, b.mac))
}

package archive

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"

	"bkfs/archive/seal"
	"bkfs/archive/store"
)

// The compact form of a config: a version, the MAC, and the body as a raw
// DEFLATE stream (RFC 1951) with a preset dictionary.
const (
	compactVersion = 1
	compactHeader  = 1 + 32

	// compactDictionary never changes. What is likeliest stands last.
	compactDictionary = `"verification": true,
"aaguid": "00000000-0000-0000-0000-000000000000"
"type": "fido2+passphrase",
"pin": true,
"presence": false,
"algorithm": "eddsa",
      "type": "passphrase",
      "label": "
        "time": 3,
        "memory_kib": 1048576,
        "threads": 4,
        "salt": "
      },
      "type": "recovery",
      "created": "2026-01-01T00:00:00Z",
      "salt": "
      "argon2": {
        "time": 4,
        "memory_kib": 65536,
        "threads": 2,
        "salt": "
      },
      "commitment": "
=",
      "wrapped": "
    },
    {
      "id": "
      "type": "fido2",
      "created": "2026-
      "salt": "
=",
      "fido2": {
        "credential": "
==",
        "salt": "
=",
        "rp": "bkfs",
        "algorithm": "es256",
        "pin": false,
        "presence": true,
        "verification": false,
        "aaguid": "
      },
      "commitment": "
=",
      "wrapped": "
    }
  ]
}{
  "format": 1,
  "id": "
  "suite": "aes256gcm-hmacsha256-hkdfsha256",
  "chunker": {
    "name": "fastcdc-gear64",
    "min": 65536,
    "max": 1048576,
    "avg": 262144,
    "normalization": 2
  },
  "created": "
  "generation": 2
  "epoch": 0,
  "incompatible_features": [],
  "slots": [
    {
      "id": "`
)

// Text is the config exactly as it is stored, for a copy of it in a file.
// After Verify it is the authentic one.
func (c *Config) Text() []byte { return c.copies[0].text() }

// Compact is Text in few bytes, for a copy of it on paper.
func (c *Config) Compact() ([]byte, error) {
	b := c.copies[0]
	out := bytes.NewBuffer(append([]byte{compactVersion}, b.mac...))
	w, err := flate.NewWriterDict(out, flate.BestCompression, []byte(compactDictionary))
	if err != nil {
		return nil, fmt.Errorf("compress the config: %w", err)
	}
	_, err = w.Write(b.body)
	if err = errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("compress the config: %w", err)
	}
	return out.Bytes(), nil
}

// ParseConfig reads what Text or Compact returned. ErrDamaged or ErrFormat.
func ParseConfig(data []byte) (*Config, error) {
	const what = "copy of a config"
	var b configBytes
	var err error
	if len(data) > compactHeader && data[0] < ' ' {
		b, err = splitCompact(data)
	} else {
		b, err = splitConfig("", data)
	}
	if errors.Is(err, ErrFormat) {
		return nil, err
	}
	if err != nil {
		return nil, damaged(what, err)
	}
	c, err := parseConfig(b.body)
	if errors.Is(err, ErrFormat) {
		return nil, err
	}
	if err != nil {
		return nil, damaged(what, err)
	}
	b.generation = c.Generation
	c.copies = []configBytes{b}
	return c, nil
}

func splitCompact(data []byte) (configBytes, error) {
	if data[0] != compactVersion {
		return configBytes{}, fmt.Errorf("copy of a config: version %d, this program knows version %d: %w", data[0], compactVersion, ErrFormat)
	}
	in := bytes.NewReader(data[compactHeader:])
	r := flate.NewReaderDict(in, []byte(compactDictionary))
	body, err := io.ReadAll(io.LimitReader(r, configMax+1))
	switch {
	case err != nil:
		return configBytes{}, err
	case len(body) > configMax:
		return configBytes{}, fmt.Errorf("it has over %d bytes", configMax)
	case in.Len() > 0:
		return configBytes{}, fmt.Errorf("%d bytes too many", in.Len())
	}
	return configBytes{body: body, mac: slices.Clone(data[1:compactHeader])}, nil
}

// replacedPrefix begins the names of what RestoreConfig has replaced.
const replacedPrefix = "config.replaced-"

// Restored is what RestoreConfig did beside writing the config.
type Restored struct {
	Kept []string // names under which other configs that were there are kept
	Lost []error  // configs that were there and couldn't be read
}

// RestoreConfig puts c in the place of the config in the repository, lost,
// damaged or not. c must be authentic, and so must the newest root be under its
// key. Before, agree is asked: it gets the authentic config that is there now,
// or nil and why there is none (ErrNoRepository, ErrDamaged). ErrFormat is
// returned at once.
func RestoreConfig(ctx context.Context, dir string, st store.Store, key *seal.Key, c *Config, agree func(now *Config, why error) error) (Restored, error) {
	var done Restored
	if err := c.Verify(key); err != nil {
		return done, err
	}
	if err := c.checkRoot(ctx, st, key); err != nil {
		return done, err
	}
	lock, err := takeConfigLock(ctx, dir)
	if err != nil {
		return done, err
	}
	defer lock.Close()
	now, err := ReadConfig(ctx, st)
	if err == nil {
		err = now.Verify(key)
	}
	switch {
	case err == nil:
	case errors.Is(err, ErrNoRepository), errors.Is(err, ErrDamaged):
		now = nil
	default:
		return done, err
	}
	if err := agree(now, err); err != nil {
		return done, err
	}
	for _, name := range []string{configName, configCopy} {
		if err := done.keep(ctx, st, name, c.Text()); err != nil {
			return done, err
		}
	}
	return done, c.store(ctx, st)
}

// checkRoot makes sure that the config is that of the data beside it, as far as
// there are any.
func (c *Config) checkRoot(ctx context.Context, st store.Store, key *seal.Key) error {
	generations, err := rootGenerations(ctx, st)
	if err != nil || len(generations) == 0 {
		return err
	}
	keys, err := seal.NewKeys(key, c.ID)
	if err != nil {
		return err
	}
	defer keys.Destroy()
	var failures []error
	for _, g := range slices.Backward(generations) {
		_, err := readRoot(ctx, st, keys, g)
		if err == nil || errors.Is(err, ErrFormat) {
			return err
		}
		failures = append(failures, err)
	}
	return fmt.Errorf("the config isn't that of what is stored here, or all roots are damaged: %w", errors.Join(failures...))
}

// keep stores a copy of the config name under a name of its own, unless it is
// text or isn't there.
func (d *Restored) keep(ctx context.Context, st store.Store, name string, text []byte) error {
	old, err := readWhole(ctx, st, name, configMax)
	switch {
	case errors.Is(err, store.ErrNotExist):
		return nil
	case err != nil:
		d.Lost = append(d.Lost, fmt.Errorf("read %s: %w", name, err))
		return nil
	case bytes.Equal(old, text):
		return nil
	}
	sum := sha256.Sum256(old)
	kept := fmt.Sprintf("%s%x", replacedPrefix, sum[:8])
	if err := st.Put(ctx, kept, old); err != nil {
		return fmt.Errorf("keep %s as %s: %w", name, kept, asDamage(err))
	}
	if !slices.Contains(d.Kept, kept) {
		d.Kept = append(d.Kept, kept)
	}
	return nil
}

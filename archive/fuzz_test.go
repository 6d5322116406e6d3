package archive

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// fuzz gives a codec bytes: it must not panic, and what it understood, encoded
// again, must be understood alike.
func fuzz(f *testing.F, kind string) {
	for _, name := range vectors {
		if strings.HasPrefix(name, kind) {
			f.Add(vector(f, name))
		}
	}
	c := codecs[kind]
	f.Fuzz(func(t *testing.T, b []byte) {
		once, err := c(bytes.Clone(b))
		if err != nil {
			return
		}
		twice, err := c(bytes.Clone(once))
		if err != nil {
			t.Fatalf("%x is encoded as\n%x, which isn't understood: %v", b, once, err)
		}
		if !bytes.Equal(once, twice) {
			t.Fatalf("%x is encoded as\n%x, and that as\n%x", b, once, twice)
		}
	})
}

func FuzzNode(f *testing.F)     { fuzz(f, "node") }
func FuzzEntry(f *testing.F)    { fuzz(f, "entry") }
func FuzzExtent(f *testing.F)   { fuzz(f, "extent") }
func FuzzArchive(f *testing.F)  { fuzz(f, "archive") }
func FuzzSnapshot(f *testing.F) { fuzz(f, "snapshot") }
func FuzzRoot(f *testing.F)     { fuzz(f, "root") }
func FuzzBatch(f *testing.F)    { fuzz(f, "batch") }

func FuzzConfig(f *testing.F) {
	text, err := os.ReadFile("testdata/format/config")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-1])
	f.Add(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
	f.Add([]byte(configMagic + "{}" + configMACTag + strings.Repeat("0", 64)))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := splitConfig(configName, data)
		if err != nil {
			return
		}
		again := slices.Concat([]byte(configMagic), c.body, []byte(configMACTag), []byte(hex.EncodeToString(c.mac)), []byte("\n"))
		if d, err := splitConfig(configName, again); err != nil || !bytes.Equal(c.body, d.body) || !bytes.Equal(c.mac, d.mac) {
			t.Fatalf("%q is put together as\n%q, which is taken apart otherwise: %v", data, again, err)
		}
		cfg, err := parseConfig(c.body)
		if err != nil {
			return
		}
		once, err := json.Marshal(cfg)
		if err != nil {
			return // a time that can be read and not be written
		}
		cfg, err = parseConfig(once)
		if err != nil {
			t.Fatalf("%q is written as\n%q, which isn't understood: %v", c.body, once, err)
		}
		if twice, err := json.Marshal(cfg); err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("%q is written as\n%q, and that as\n%q, %v", c.body, once, twice, err)
		}
	})
}

package archive

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
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
func FuzzName(f *testing.F)     { fuzz(f, "name") }
func FuzzExtent(f *testing.F)   { fuzz(f, "extent") }
func FuzzArchive(f *testing.F)  { fuzz(f, "archive") }
func FuzzSnapshot(f *testing.F) { fuzz(f, "snapshot") }
func FuzzRoot(f *testing.F)     { fuzz(f, "root") }
func FuzzBatch(f *testing.F)    { fuzz(f, "batch") }

// An entry of directory dir, from its two records.
func FuzzEntry(f *testing.F) {
	for _, kind := range []string{"file", "directory", "shared"} {
		f.Add(vector(f, "name-"+kind), vector(f, "stamp-"+kind), uint64(stampDir))
	}
	f.Fuzz(func(t *testing.T, name, stamp []byte, dir uint64) {
		in := Ino(dir%uint64(MaxIno)) + 1
		e, err := decodeEntry(in, name, stamp)
		if err != nil {
			return
		}
		name2, stamp2 := appendName(nil, e), appendStamp(nil, in, e)
		if !bytes.Equal(stamp, stamp2) {
			t.Fatalf("stamp %x is encoded as\n%x", stamp, stamp2)
		}
		again, err := decodeEntry(in, name2, stamp2)
		if diff := cmp.Diff(e, again, records, cmpopts.EquateEmpty()); diff != "" || err != nil {
			t.Fatalf("%x and %x, encoded again: %v\n%s", name, stamp, err, diff)
		}
	})
}

func decodeEntry(dir Ino, name, stamp []byte) (dirEntry, error) {
	e, err := decodeName(bytes.Clone(name))
	if err == nil {
		err = e.addStamp(bytes.Clone(stamp), dir)
	}
	return e, err
}

func FuzzConfig(f *testing.F) {
	text, err := os.ReadFile("testdata/format/config")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(text[:len(text)-1])
	f.Add(bytes.ReplaceAll(text, []byte("\n"), []byte("\r\n")))
	f.Add(joinConfig([]byte("{}"), make([]byte, 32)))
	c, err := splitConfig(configName, text)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(c.body)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := splitConfig(configName, data)
		if err != nil { // it may be a body, to which random bytes won't find the checksum
			c.body, c.mac = data, make([]byte, 32)
		}
		again := joinConfig(c.body, c.mac)
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

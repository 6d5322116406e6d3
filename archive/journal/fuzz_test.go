package journal

import (
	"bytes"
	"os"
	"testing"

	"bkfs/archive/seal"
)

// Whatever is done to a file, only what was written comes out of it.
func FuzzReplay(f *testing.F) {
	keys := testKeys(f)
	batches := [][]byte{pattern(10, 1), pattern(700, 2), pattern(3, 3)}
	path, _, _ := write(f, f.TempDir(), keys, batches)
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:slot+3])
	f.Add(append(bytes.Clone(whole), whole...))
	f.Add(make([]byte, 3*slot))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, _, _ := replayBytes(t, data, keys)
		for i := range got {
			if i >= len(batches) || !bytes.Equal(got[i], batches[i]) {
				t.Fatalf("batch %d is none of those written", i)
			}
		}
	})
}

// The parsers behind the seal bear any bytes, too.
func FuzzOpened(f *testing.F) {
	keys := testKeys(f)
	o, err := keys.Object(seal.PurposeJournal, [32]byte{1})
	if err != nil {
		f.Fatal(err)
	}
	good := head{batch: 3, last: true, length: 9}.seal(nil, o, slot)
	plain, err := o.Open(nil, good, headRecord(slot), typeHead)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, []byte("some body, more than nine bytes"))
	f.Fuzz(func(t *testing.T, plain, body []byte) {
		if len(plain) != headPlain {
			return
		}
		h, err := openHead(o.Seal(nil, plain, headRecord(slot), typeHead), o, slot)
		if err != nil || recordSize(h.length)-headSize-seal.Overhead != len(body) {
			return
		}
		got, err := openBody(o.Seal(nil, body, bodyRecord(slot), typeBody), o, slot, h)
		if err == nil && len(got) != h.length {
			t.Fatalf("%d bytes, want %d", len(got), h.length)
		}
	})
}

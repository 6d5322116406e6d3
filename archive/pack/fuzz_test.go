package pack

import (
	"bytes"
	"errors"
	"testing"

	"bkfs/archive/chunk"
	"bkfs/archive/seal"
)

func testObject(t testing.TB, id ID) *seal.Object {
	t.Helper()
	o, err := testKeys(t).Object(seal.PurposePack, id)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestParseHeader(t *testing.T) {
	id := ID{5}
	o := testObject(t, id)
	good := appendHeader(nil, id, KindMeta, 7, o)
	forge := func(at int, b byte) []byte { // by someone who has the key
		h := bytes.Clone(good)
		h[at] = b
		return o.Seal(h[:fieldsSize+64], h[:fieldsSize], headerRecord, typeHeader)
	}
	change := func(at int) []byte {
		h := bytes.Clone(good)
		h[at]++
		return h
	}
	later := change(9)
	clear(later[fieldsSize+64:])
	tests := []struct {
		class string
		data  []byte
		want  error
	}{
		{"good", good, nil},
		{"cut off", good[:headerSize-1], ErrDamaged},
		{"not a pack", change(0), ErrDamaged},
		{"format changed", change(9), ErrDamaged},
		{"later format", later, ErrFormat},
		{"feature set", change(15), ErrDamaged},
		{"unknown feature", forge(15, 1), ErrFormat},
		{"unknown kind", forge(11, 200), ErrFormat},
		{"epoch changed", change(19), ErrDamaged},
		{"another id", change(fieldsSize), ErrDamaged},
		{"another commitment", change(fieldsSize + 32), ErrDamaged},
		{"seal changed", change(fieldsSize + 64), ErrDamaged},
	}
	for _, tt := range tests {
		if _, err := parseHeader(tt.data, id, o); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.class, err, tt.want)
		}
	}
}

func TestDecodeRefuses(t *testing.T) {
	z := newDecoder()
	long := NewEncoder().zstd.EncodeAll(make([]byte, MaxPayload), nil)
	tests := []struct {
		class string
		plain []byte
		want  error
	}{
		{"good", []byte("\x00\x00\x00\x00\x05\x00\x00\x00\x01" + "\x00\x00\x00\x01a"), nil},
		{"empty", nil, ErrDamaged},
		{"unknown method", []byte("\x09\x00\x00\x00\x05\x00\x00\x00\x01" + "\x00\x00\x00\x01a"), ErrFormat},
		{"raw body too long", []byte("\x00\x00\x00\x00\x05\x00\x00\x00\x01" + "\x00\x00\x00\x01ab"), ErrDamaged},
		{"no chunks", []byte("\x00\x00\x00\x00\x05\x00\x00\x00\x00" + "\x00\x00\x00\x01a"), ErrDamaged},
		{"more chunks than bytes", []byte("\x00\x00\x00\x00\x05\xff\xff\xff\xff" + "\x00\x00\x00\x01a"), ErrDamaged},
		{"table too small", []byte("\x00\x00\x00\x00\x06\x00\x00\x00\x01" + "\x00\x00\x00\x01ab"), ErrDamaged},
		{"table too large", []byte("\x00\x00\x00\x00\x05\x00\x00\x00\x01" + "\xff\xff\xff\xffa"), ErrDamaged},
		{"empty chunk", []byte("\x00\x00\x00\x00\x0a\x00\x00\x00\x02" + "\x00\x00\x00\x00\x00\x00\x00\x02ab"), ErrDamaged},
		{"longer than any blob", []byte("\x00\xff\xff\xff\xff\x00\x00\x00\x01" + "\x00\x00\x00\x01a"), ErrDamaged},
		{"not zstd", []byte("\x01\x00\x00\x00\x05\x00\x00\x00\x01" + "\x00\x00\x00\x01a"), ErrDamaged},
		{"bomb", append([]byte("\x01\x00\x00\x00\x05\x00\x00\x00\x01"), long...), ErrDamaged},
	}
	for _, tt := range tests {
		if _, _, err := decode(z, nil, tt.plain); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.class, err, tt.want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	keys, z := testKeys(f), newDecoder()
	for _, chunks := range small(keys) {
		b, err := NewEncoder().Encode(chunks)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b.plain)
	}
	f.Fuzz(func(t *testing.T, plain []byte) {
		payload, n, err := decode(z, nil, plain)
		if err == nil && (len(payload) > MaxPayload || n*(lengthSize+1) > len(payload)) {
			t.Fatalf("%d chunks in %d bytes", n, len(payload))
		}
	})
}

func FuzzFooter(f *testing.F) {
	id := ID{5}
	image, _ := build(f, testKeys(f), id, small(testKeys(f))...)
	o := testObject(f, id)
	offset, sealed, err := openTrailer(image[len(image)-trailerSize:], o, int64(len(image)))
	if err != nil {
		f.Fatal(err)
	}
	plain, err := o.Open(nil, image[offset:offset+sealed], footerRecord, typeFooter)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(plain, offset-sectionSize)
	f.Fuzz(func(t *testing.T, plain []byte, end int64) {
		if end > MaxSize {
			return
		}
		entries, err := parseFooter(plain, id, end)
		if err != nil {
			return
		}
		for _, e := range entries {
			if int64(e.Place.Offset)+int64(e.Place.Sealed) > end {
				t.Fatalf("%+v is beyond %d", e, end)
			}
		}
	})
}

// Walk bears any bytes, also those of one who has the key: the fuzzer writes
// section heads, a blob and a footer, and they are sealed for it.
func FuzzWalk(f *testing.F) {
	keys := testKeys(f)
	id := ID{5}
	o := testObject(f, id)
	image, _ := build(f, keys, id, small(keys)...)
	f.Add(image, []byte{}, uint32(0), uint32(0))
	f.Add(image[:200], []byte("\x00\x00\x00\x00\x05\x00\x00\x00\x01"+"\x00\x00\x00\x01a"), uint32(30), uint32(300))
	f.Fuzz(func(t *testing.T, data, plain []byte, n, footer uint32) {
		if len(plain) > 0 {
			data = appendHeader(nil, id, KindData, 1, o)
			data = appendSection(data, o, 0, typeBlob, int(n))
			data = o.Seal(data, plain, blobRecord(0), typeBlob)
			data = appendSection(data, o, 1, typeFooter, len(plain)+seal.Overhead)
			data = o.Seal(data, plain, footerRecord, typeFooter)
			data = appendTrailer(data, o, int(footer), len(plain)+seal.Overhead)
		}
		r := NewReader(put(t, id, data), keys)
		r.Walk(t.Context(), id, func(e Entry, data []byte) error {
			if data != nil && e.Chunk != chunk.ID(keys.ChunkID(byte(chunk.KindData), data)) && e.Chunk != chunk.ID(keys.ChunkID(byte(chunk.KindPage), data)) {
				t.Fatalf("chunk %s has other bytes", e.Chunk)
			}
			return nil
		})
		r.Footer(t.Context(), id)
	})
}

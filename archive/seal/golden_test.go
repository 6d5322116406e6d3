package seal

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"testing"
)

// vectors.json is made by testdata/reference.py, which knows only FORMAT.md.
type vectors struct {
	Key, Object  hexBytes
	Repository   RepositoryID
	ConfigMAC    hexBytes `json:"config_mac"`
	ChunkID      hexBytes `json:"chunk_id"`
	ChunkIDEmpty hexBytes `json:"chunk_id_empty"`
	NameHash     hexBytes `json:"name_hash"`
	ChunkerSeed  hexBytes `json:"chunker_seed"`
	Objects      []struct {
		Purpose                    Purpose
		Commitment, Sealed, Random hexBytes
	}
}

const (
	vectorRecord = 0x0102030405060708
	vectorType   = 9
	vectorPlain  = "the plaintext"
	vectorAAD    = "aad"
)

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	raw, err := os.ReadFile("testdata/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

func (v vectors) keys(t testing.TB) *Keys {
	t.Helper()
	return newTestKeys(t, v.Key, v.Repository)
}

func newTestKeys(t testing.TB, secret []byte, repo RepositoryID) *Keys {
	t.Helper()
	key, err := KeyFrom(bytes.Clone(secret))
	if err != nil {
		t.Fatal(err)
	}
	defer key.Destroy()
	keys, err := NewKeys(key, repo)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(keys.Destroy)
	return keys
}

func object(t testing.TB, k *Keys, p Purpose, id []byte) *Object {
	t.Helper()
	o, err := k.Object(p, [32]byte(id))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestGoldenHashes(t *testing.T) {
	v := readVectors(t)
	keys := v.keys(t)
	for range 3 { // pooled states start anew
		check(t, "config MAC", keys.ConfigMAC([]byte("body")), v.ConfigMAC)
		check(t, "chunk id", keys.ChunkID(1, []byte("hello")), v.ChunkID)
		check(t, "empty chunk's id", keys.ChunkID(2, nil), v.ChunkIDEmpty)
		check(t, "chunker seed", keys.ChunkerSeed(), v.ChunkerSeed)
		if got, want := keys.NameHash(7, "naïve.txt"), be64(v.NameHash); got != want {
			t.Errorf("name hash: got %x, want %x", got, want)
		}
	}
}

func check(t *testing.T, what string, got [32]byte, want []byte) {
	t.Helper()
	if !bytes.Equal(got[:], want) {
		t.Errorf("%s: got %x, want %x", what, got, want)
	}
}

func be64(b []byte) (n uint64) {
	for _, c := range b {
		n = n<<8 | uint64(c)
	}
	return n
}

func TestGoldenObjects(t *testing.T) {
	v := readVectors(t)
	keys := v.keys(t)
	if len(v.Objects) != 4 {
		t.Fatalf("got %d objects, want one for each purpose", len(v.Objects))
	}
	for _, w := range v.Objects {
		o := object(t, keys, w.Purpose, v.Object)
		check(t, string(w.Purpose)+" commitment", o.Commitment(), w.Commitment)
		if err := o.CheckCommitment(w.Commitment); err != nil {
			t.Errorf("%s: %v", w.Purpose, err)
		}
		if got := o.Seal(nil, []byte(vectorPlain), vectorRecord, vectorType); !bytes.Equal(got, w.Sealed) {
			t.Errorf("%s: sealed %x, want %x", w.Purpose, got, w.Sealed)
		}
		if got, err := o.Open(nil, w.Sealed, vectorRecord, vectorType); err != nil || string(got) != vectorPlain {
			t.Errorf("%s: opened %q, %v", w.Purpose, got, err)
		}
		if got, err := o.OpenRandom(nil, w.Random, []byte(vectorAAD)); err != nil || string(got) != vectorPlain {
			t.Errorf("%s: opened random record %q, %v", w.Purpose, got, err)
		}
	}
}

// Each case is one way in which a record isn't what was sealed at its place.
func TestRefused(t *testing.T) {
	v := readVectors(t)
	keys := v.keys(t)
	o := object(t, keys, PurposePack, v.Object)
	sealed, random := v.Objects[0].Sealed, v.Objects[0].Random
	otherID := flip(v.Object, 31)
	otherRepo := v.Repository
	otherRepo[0] ^= 1

	type place struct {
		o      *Object
		sealed []byte
		record uint64
		typ    byte
	}
	for name, p := range map[string]place{
		"wrong tag":                  {o, flip(sealed, len(sealed)-1), vectorRecord, vectorType},
		"flipped ciphertext":         {o, flip(sealed, 0), vectorRecord, vectorType},
		"cut off":                    {o, sealed[:len(sealed)-1], vectorRecord, vectorType},
		"longer":                     {o, append(bytes.Clone(sealed), 0), vectorRecord, vectorType},
		"shorter than a tag":         {o, sealed[:Overhead-1], vectorRecord, vectorType},
		"nothing":                    {o, nil, vectorRecord, vectorType},
		"wrong record number":        {o, sealed, vectorRecord + 1, vectorType},
		"wrong type":                 {o, sealed, vectorRecord, vectorType + 1},
		"record of an other purpose": {o, v.Objects[1].Sealed, vectorRecord, vectorType},
		"other object":               {object(t, keys, PurposePack, otherID), sealed, vectorRecord, vectorType},
		"other repository":           {object(t, newTestKeys(t, v.Key, otherRepo), PurposePack, v.Object), sealed, vectorRecord, vectorType},
		"other key":                  {object(t, newTestKeys(t, flip(v.Key, 0), v.Repository), PurposePack, v.Object), sealed, vectorRecord, vectorType},
		"random record":              {o, random, vectorRecord, vectorType},
	} {
		if got, err := p.o.Open(nil, p.sealed, p.record, p.typ); !errors.Is(err, ErrAuth) || got != nil {
			t.Errorf("%s: got %q, %v, want ErrAuth", name, got, err)
		}
	}

	for name, p := range map[string]struct{ sealed, aad []byte }{
		"swapped associated data": {random, []byte("daa")},
		"no associated data":      {random, nil},
		"flipped nonce":           {flip(random, 11), []byte(vectorAAD)},
		"numbered record's nonce": {append([]byte{random[0] & 0x7f}, random[1:]...), []byte(vectorAAD)},
		"wrong tag":               {flip(random, len(random)-1), []byte(vectorAAD)},
		"too short":               {random[:OverheadRandom-1], []byte(vectorAAD)},
		"numbered record":         {sealed, []byte(vectorAAD)},
	} {
		if got, err := o.OpenRandom(nil, p.sealed, p.aad); !errors.Is(err, ErrAuth) || got != nil {
			t.Errorf("random, %s: got %q, %v, want ErrAuth", name, got, err)
		}
	}

	c := o.Commitment()
	for name, commitment := range map[string][]byte{
		"flipped commitment":       flip(c[:], 0),
		"short commitment":         c[:31],
		"no commitment":            nil,
		"other purpose commitment": v.Objects[1].Commitment,
	} {
		if err := o.CheckCommitment(commitment); !errors.Is(err, ErrAuth) {
			t.Errorf("%s: got %v, want ErrAuth", name, err)
		}
	}
}

func flip(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 1
	return b
}

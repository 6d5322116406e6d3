package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"log/slog"
	"sync"
)

const (
	// Suite names the algorithms, as the config has them.
	Suite = "aes256gcm-hmacsha256-hkdfsha256"
	// Format is the version of everything on disk.
	Format = 1

	suiteCode = 1 // Suite in associated data
)

// Labels of the subkeys: HKDF info is infoPrefix + label. The object purposes
// are labels too.
const (
	infoPrefix = "bkfs/v1/"

	labelConfig   = "config"
	labelChunkID  = "chunk-id"
	labelNameHash = "name-hash"
	labelChunker  = "chunker"
)

// labels gives each subkey its place in Keys.mem.
var labels = [...]string{ //nolint:gochecknoglobals // a table that nothing writes
	labelConfig, labelChunkID, labelNameHash, labelChunker,
	string(PurposePack), string(PurposeJournal), string(PurposeRoot), string(PurposeIndex),
}

// Keys are the subkeys of one repository key. All methods but Destroy may run
// side by side; using Keys after Destroy panics.
type Keys struct {
	repo    RepositoryID
	mem     *memory   // one subkey after another, in the order of labels
	chunk   sync.Pool // of *keyed
	name    sync.Pool // of *keyed
	scratch sync.Pool // of *scratch, for objects
}

// NewKeys derives the subkeys. It doesn't keep the repository key.
func NewKeys(repositoryKey *Key, repo RepositoryID) (*Keys, error) {
	secret := repositoryKey.Bytes()
	if len(secret) != KeySize {
		return nil, fmt.Errorf("derive subkeys: %w", errDestroyed)
	}
	mem, err := allocate(len(labels) * KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive subkeys: %w", err)
	}
	for i, label := range labels {
		sub, err := hkdf.Key(sha256.New, secret, repo[:], infoPrefix+label, KeySize)
		if err != nil {
			mem.free()
			return nil, fmt.Errorf("derive subkey %s: %w", label, err)
		}
		copy(mem.bytes()[i*KeySize:], sub)
		Wipe(sub)
	}
	k := &Keys{repo: repo, mem: mem}
	k.chunk.New = func() any { return newKeyed(k.subkey(labelChunkID)) }
	k.name.New = func() any { return newKeyed(k.subkey(labelNameHash)) }
	k.scratch.New = func() any { return new(scratch) }
	return k, nil
}

// Destroy wipes the subkeys. Its caller has stopped all users before; objects
// already made keep their own keys.
func (k *Keys) Destroy() {
	if k != nil {
		k.mem.free()
	}
}

// Repository is the id the keys were derived for.
func (k *Keys) Repository() RepositoryID { return k.repo }

// ConfigMAC authenticates the config: HMAC-SHA256 over body.
func (k *Keys) ConfigMAC(body []byte) [32]byte {
	return newKeyed(k.subkey(labelConfig)).sum(body)
}

// ChunkID names a chunk: HMAC-SHA256 over kind and plaintext.
func (k *Keys) ChunkID(kind byte, plaintext []byte) [32]byte {
	h := k.chunk.Get().(*keyed)
	h.head = append(h.head[:0], kind)
	id := h.sum(h.head, plaintext)
	k.chunk.Put(h)
	return id
}

// NameHash is a keyed, uniform hash of a name in a directory: the first eight
// bytes, big-endian, of HMAC-SHA256 over dir (big-endian) and name.
func (k *Keys) NameHash(dir uint64, name string) uint64 {
	h := k.name.Get().(*keyed)
	h.head = binary.BigEndian.AppendUint64(h.head[:0], dir)
	h.head = append(h.head, name...)
	sum := h.sum(h.head)
	k.name.Put(h)
	return binary.BigEndian.Uint64(sum[:])
}

// ChunkerSeed keys the chunker, so that boundaries tell nothing about content.
func (k *Keys) ChunkerSeed() [32]byte {
	return [32]byte(k.subkey(labelChunker))
}

// subkey is a view into mem.
func (k *Keys) subkey(label string) []byte {
	if k.mem.bytes() == nil {
		panic("seal: keys used after Destroy")
	}
	for i := range labels {
		if labels[i] == label {
			return k.mem.bytes()[i*KeySize:][:KeySize:KeySize]
		}
	}
	panic("seal: no subkey " + label)
}

func (*Keys) String() string               { return redacted }
func (*Keys) GoString() string             { return redacted }
func (*Keys) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (*Keys) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (*Keys) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// keyed is an HMAC-SHA256 state and the buffers that would otherwise escape
// through the hash.Hash interface at each call.
type keyed struct {
	hash.Hash
	head []byte
	out  [sha256.Size]byte
}

func newKeyed(key []byte) *keyed {
	return &keyed{Hash: hmac.New(sha256.New, key), head: make([]byte, 0, 8+256)}
}

// sum leaves the state ready for the next message.
func (h *keyed) sum(parts ...[]byte) [sha256.Size]byte {
	for _, p := range parts {
		h.Write(p)
	}
	h.Hash.Sum(h.out[:0])
	h.Reset()
	return h.out
}

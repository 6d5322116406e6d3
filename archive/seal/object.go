package seal

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// Purpose is what kind of stored object a key is for.
type Purpose string

const (
	PurposePack    Purpose = "pack"
	PurposeJournal Purpose = "journal"
	PurposeRoot    Purpose = "root"
	PurposeIndex   Purpose = "index"
)

const (
	// Overhead is what Seal adds to a plaintext, in bytes.
	Overhead = 16
	// OverheadRandom is what SealRandom adds.
	OverheadRandom = nonceSize + Overhead

	nonceSize = 12
)

// ErrAuth means that sealed bytes aren't what was sealed at that place: they
// were damaged, moved, forged, or belong to another repository.
var ErrAuth = errors.New("authentication failed")

// Object seals and opens the records of one stored object with AES-256-GCM.
// It may be used from several goroutines and has nothing to release.
type Object struct {
	aead       cipher.AEAD
	commitment [32]byte
	prefix     []byte // associated data before record number and type
	scratch    *sync.Pool
}

// scratch holds what would escape through cipher.AEAD at each call.
type scratch struct {
	nonce [nonceSize]byte
	aad   []byte
}

// Object derives the key and commitment of the object with this id. A new
// object's id is 32 fresh random bytes.
func (k *Keys) Object(p Purpose, id [32]byte) (*Object, error) {
	switch p {
	case PurposePack, PurposeJournal, PurposeRoot, PurposeIndex:
	default:
		return nil, fmt.Errorf("derive object key: unknown purpose %q", p)
	}
	out, err := hkdf.Key(sha256.New, k.subkey(string(p)), k.repo[:], infoPrefix+string(p)+"/object"+string(id[:]), 2*KeySize)
	if err != nil {
		return nil, fmt.Errorf("derive %s object key: %w", p, err)
	}
	defer Wipe(out)
	block, err := aes.NewCipher(out[:KeySize])
	if err != nil {
		return nil, fmt.Errorf("derive %s object key: %w", p, err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("derive %s object key: %w", p, err)
	}
	prefix := binary.BigEndian.AppendUint16([]byte("bkfs"), Format)
	prefix = append(prefix, suiteCode)
	prefix = append(prefix, k.repo[:]...)
	prefix = append(prefix, p...)
	prefix = append(prefix, id[:]...)
	return &Object{aead, [32]byte(out[KeySize:]), prefix, &k.scratch}, nil
}

// Commitment binds the object to its key: GCM alone doesn't, so one ciphertext
// could open under two keys. It isn't secret and is stored in the clear.
func (o *Object) Commitment() [32]byte { return o.commitment }

// CheckCommitment compares in constant time; ErrAuth when c is another's.
func (o *Object) CheckCommitment(c []byte) error {
	if subtle.ConstantTimeCompare(o.commitment[:], c) != 1 {
		return fmt.Errorf("key commitment: %w", ErrAuth)
	}
	return nil
}

// Seal appends the sealed plaintext to dst: len(plaintext)+Overhead bytes. The
// record number is the nonce: no number is ever sealed twice in one object.
// dst may be plaintext[:0].
func (o *Object) Seal(dst, plaintext []byte, record uint64, typ byte) []byte {
	s := o.place(record, typ)
	dst = o.aead.Seal(dst, s.nonce[:], plaintext, s.aad)
	o.scratch.Put(s)
	return dst
}

// Open appends the plaintext to dst, which may be sealed[:0]. ErrAuth unless
// sealed is what Seal made for this object, record and type.
func (o *Object) Open(dst, sealed []byte, record uint64, typ byte) ([]byte, error) {
	s := o.place(record, typ)
	out, err := o.aead.Open(dst, s.nonce[:], sealed, s.aad)
	o.scratch.Put(s)
	if err != nil {
		return nil, ErrAuth
	}
	return out, nil
}

// SealRandom is for records without a number, such as an index's values. It
// appends a random nonce and the sealed plaintext, len(plaintext)+OverheadRandom
// bytes; an object seals at most 2^32 records so. dst and plaintext don't overlap.
func (o *Object) SealRandom(dst, plaintext, aad []byte) []byte {
	s := o.named(aad)
	rand.Read(s.nonce[:])
	s.nonce[0] |= 0x80 // never the nonce of a numbered record
	dst = append(dst, s.nonce[:]...)
	dst = o.aead.Seal(dst, s.nonce[:], plaintext, s.aad)
	o.scratch.Put(s)
	return dst
}

// OpenRandom appends the plaintext of what SealRandom made to dst.
func (o *Object) OpenRandom(dst, sealed, aad []byte) ([]byte, error) {
	if len(sealed) < OverheadRandom || sealed[0]&0x80 == 0 {
		return nil, ErrAuth
	}
	s := o.named(aad)
	copy(s.nonce[:], sealed)
	out, err := o.aead.Open(dst, s.nonce[:], sealed[nonceSize:], s.aad)
	o.scratch.Put(s)
	if err != nil {
		return nil, ErrAuth
	}
	return out, nil
}

func (o *Object) place(record uint64, typ byte) *scratch {
	s := o.scratch.Get().(*scratch)
	clear(s.nonce[:4])
	binary.BigEndian.PutUint64(s.nonce[4:], record)
	s.aad = append(s.aad[:0], o.prefix...)
	s.aad = append(s.aad, s.nonce[4:]...)
	s.aad = append(s.aad, typ)
	return s
}

func (o *Object) named(aad []byte) *scratch {
	s := o.scratch.Get().(*scratch)
	s.aad = append(s.aad[:0], o.prefix...)
	s.aad = append(s.aad, aad...)
	return s
}

func (*Object) String() string               { return redacted }
func (*Object) GoString() string             { return redacted }
func (*Object) Format(f fmt.State, _ rune)   { fmt.Fprint(f, redacted) }
func (*Object) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (*Object) MarshalText() ([]byte, error) { return []byte(redacted), nil }

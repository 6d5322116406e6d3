package archive

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"

	"bkfs/archive/chunk"
	"bkfs/archive/pack"
	"bkfs/archive/page"
	"bkfs/archive/seal"
	"bkfs/archive/store"
)

// A root object is a plaintext header (magic, format, id, commitment) and one
// sealed record.
const (
	rootPrefix = "roots/"
	rootMagic  = "bkfsroot"
	rootHeader = len(rootMagic) + 2 + 32 + 32
	rootMax    = 64 << 20
	rootsKept  = 3
	// packsInline is how many packs a root lists itself before they go to the
	// paged pack set.
	packsInline = 512
)

// A root is a commit point: everything before the start of its journal.
type root struct {
	generation uint64
	previous   [32]byte // SHA-256 of the root before
	time       Time
	journal    uint64 // generation of the journal that follows
	journalID  [32]byte
	nextNumber uint32
	archives   []archiveRecord
	snapshots  page.Root
	packs      page.Root    // by pack id
	recent     []packRecord // packs that aren't in there
	// places is where the pack set's own pages are, since the index that
	// would tell may have to be built from the pack set.
	places []pack.Entry

	hash   [32]byte // of the object it was read from or written to
	object []byte   // that object, until it is stored
}

func rootName(generation uint64) string { return fmt.Sprintf("%s%016x", rootPrefix, generation) }

func (r *root) encode() []byte {
	b := binary.AppendUvarint(nil, r.generation)
	b = append(b, r.previous[:]...)
	b = appendTime(b, r.time)
	b = binary.AppendUvarint(b, r.journal)
	b = append(b, r.journalID[:]...)
	b = binary.AppendUvarint(b, uint64(r.nextNumber))
	b = binary.AppendUvarint(b, uint64(len(r.archives)))
	for _, a := range r.archives {
		b = appendArchive(b, a)
	}
	b = appendRoot(b, r.snapshots)
	b = appendRoot(b, r.packs)
	b = appendPackList(b, r.recent)
	b = binary.AppendUvarint(b, uint64(len(r.places)))
	for _, e := range r.places {
		b = append(b, e.Chunk[:]...)
		b = append(b, e.Place.Pack[:]...)
		for _, v := range []uint32{e.Place.Offset, e.Place.Sealed, e.Place.Record, e.Place.Start, e.Place.Length} {
			b = binary.AppendUvarint(b, uint64(v))
		}
	}
	return b
}

func decodeRoot(body []byte) (*root, error) {
	d := decoder{b: body}
	r := &root{generation: d.uvarint()}
	copy(r.previous[:], d.take(32))
	r.time = d.time()
	r.journal = d.uvarint()
	copy(r.journalID[:], d.take(32))
	r.nextNumber = d.uint32()
	for range d.count(8) {
		r.archives = append(r.archives, d.archive())
	}
	r.snapshots, r.packs = d.root(), d.root()
	r.recent = d.packs()
	for range d.count(69) {
		e := pack.Entry{Chunk: d.id()}
		copy(e.Place.Pack[:], d.take(32))
		for _, v := range []*uint32{&e.Place.Offset, &e.Place.Sealed, &e.Place.Record, &e.Place.Start, &e.Place.Length} {
			*v = d.uint32()
		}
		r.places = append(r.places, e)
	}
	d.end()
	return r, d.err
}

// put seals and stores the root. store.ErrExist says that another writer has
// stored one of this generation.
func (r *root) put(ctx context.Context, st store.Store, keys *seal.Keys) error {
	var id [32]byte
	if _, err := rand.Read(id[:]); err != nil {
		return fmt.Errorf("new root: %w", err)
	}
	o, err := keys.Object(seal.PurposeRoot, id)
	if err != nil {
		return fmt.Errorf("new root: %w", err)
	}
	commitment := o.Commitment()
	b := append([]byte(nil), rootMagic...)
	b = binary.BigEndian.AppendUint16(b, seal.Format)
	b = append(b, id[:]...)
	b = append(b, commitment[:]...)
	b = o.Seal(b, r.encode(), 0, 0)
	r.object, r.hash = b, sha256.Sum256(b)
	return r.store(ctx, st)
}

// store puts the object, perhaps again: a put that failed may have happened.
func (r *root) store(ctx context.Context, st store.Store) error {
	if err := st.Put(ctx, rootName(r.generation), r.object); err != nil {
		return fmt.Errorf("put root %d: %w", r.generation, asDamage(err))
	}
	r.object = nil
	return nil
}

// readRoot reads and authenticates one root.
func readRoot(ctx context.Context, st store.Store, keys *seal.Keys, generation uint64) (*root, error) {
	b, err := readWhole(ctx, st, rootName(generation), rootMax)
	if err != nil {
		return nil, fmt.Errorf("read root %d: %w", generation, asDamage(err))
	}
	what := fmt.Sprintf("root %d", generation)
	if len(b) < rootHeader+seal.Overhead || string(b[:len(rootMagic)]) != rootMagic {
		return nil, damaged(what, errTruncated)
	}
	rest := b[len(rootMagic):]
	o, err := keys.Object(seal.PurposeRoot, [32]byte(rest[2:34]))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	version := binary.BigEndian.Uint16(rest)
	var body []byte
	if err = o.CheckCommitment(rest[34:66]); err == nil {
		body, err = o.Open(nil, rest[66:], 0, 0)
	}
	switch {
	case err != nil && version != seal.Format:
		return nil, fmt.Errorf("%s has format %d: %w", what, version, ErrFormat)
	case err != nil:
		return nil, damaged(what, err)
	case version != seal.Format: // it opens as this format
		return nil, damaged(what+": header was changed", nil)
	}
	r, err := decodeRoot(body)
	if err != nil {
		return nil, damaged(what, err)
	}
	if r.generation != generation {
		return nil, damaged(fmt.Sprintf("%s says that it is root %d", what, r.generation), nil)
	}
	r.hash = sha256.Sum256(b)
	return r, nil
}

// latestRoot reads the newest root; nil when there is none yet.
func latestRoot(ctx context.Context, st store.Store, keys *seal.Keys) (*root, error) {
	generations, err := rootGenerations(ctx, st)
	if err != nil || len(generations) == 0 {
		return nil, err
	}
	return readRoot(ctx, st, keys, generations[len(generations)-1])
}

// rootGenerations lists the stored roots, oldest first.
func rootGenerations(ctx context.Context, st store.Store) (list []uint64, err error) {
	err = st.List(ctx, rootPrefix, "", func(i store.Info) error {
		var g uint64
		if n, _ := fmt.Sscanf(i.Name, rootPrefix+"%016x", &g); n != 1 || rootName(g) != i.Name {
			return nil // not one of ours
		}
		list = append(list, g)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list roots: %w", asDamage(err))
	}
	return list, nil
}

// dropOldRoots deletes all but the newest few.
func dropOldRoots(ctx context.Context, st store.Store) error {
	list, err := rootGenerations(ctx, st)
	if err != nil {
		return err
	}
	for _, g := range list[:max(0, len(list)-rootsKept)] {
		if err := st.Delete(ctx, rootName(g)); err != nil {
			return fmt.Errorf("delete root %d: %w", g, err)
		}
	}
	return nil
}

// placedPages reads the pages whose places a root tells.
type placedPages struct {
	c      *chunks
	places map[chunk.ID]pack.Place
}

func (p placedPages) Page(ctx context.Context, id chunk.ID) ([]byte, error) {
	place, ok := p.places[id]
	if !ok {
		return nil, damaged(fmt.Sprintf("root doesn't tell where page %s is", id), nil)
	}
	return p.c.at(ctx, chunk.KindPage, id, place)
}

// packSet reads all packs that a root names.
func (r *root) packSet(ctx context.Context, c *chunks) ([]packRecord, error) {
	src := placedPages{c, make(map[chunk.ID]pack.Place, len(r.places))}
	for _, e := range r.places {
		src.places[e.Chunk] = e.Place
	}
	list := make([]packRecord, 0, r.packs.Count+uint64(len(r.recent)))
	if r.packs.Count > 0 {
		err := page.Scan(ctx, src, r.packs, nil, func(key, value []byte) (bool, error) {
			d := decoder{b: value}
			p := packRecord{packInfo: packInfo{pack.Kind(d.byte()), d.uint32()}}
			if copy(p.id[:], key); d.err != nil || len(key) != len(p.id) {
				return false, damaged("pack set", d.err)
			}
			list = append(list, p)
			return true, nil
		})
		if err != nil {
			return nil, fmt.Errorf("read pack set: %w", asDamage(err))
		}
	}
	return append(list, r.recent...), nil
}

// movePacks puts recent packs into the paged pack set, makes its pages durable
// and notes where they are.
func (r *root) movePacks(ctx context.Context, c *chunks, recent []packRecord) error {
	edits := make([]page.Edit, len(recent))
	for i, p := range recent {
		edits[i] = page.Edit{Key: p.id[:], Value: binary.AppendUvarint([]byte{byte(p.kind)}, uint64(p.size))}
	}
	sortEdits(edits)
	set, err := page.Apply(ctx, c, c, r.packs, edits)
	if err != nil {
		return fmt.Errorf("write pack set: %w", asDamage(err))
	}
	if err := c.meta.flush(ctx); err != nil {
		return err
	}
	r.packs, r.places = set, nil
	return page.Pages(ctx, c, set, func(id chunk.ID, _ bool) (bool, error) {
		place, ok, err := c.index.Get(id)
		if err != nil || !ok {
			return false, fmt.Errorf("place of page %s of the pack set: %w", id, errors.Join(err, ErrDamaged))
		}
		r.places = append(r.places, pack.Entry{Chunk: id, Place: place})
		return true, nil
	})
}

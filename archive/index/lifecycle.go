package index

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/dgraph-io/badger/v4"

	"bkfs/archive/pack"
	"bkfs/archive/seal"
)

// All functions here run with changes and mu held, or before anyone else has x.

// load opens what is in the directory, or begins anew.
func (x *Index) load() error {
	state, err := x.dir.state()
	if err != nil {
		return err
	}
	object, err := x.dir.instance(x.keys)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return x.restart()
	case errors.Is(err, errMalformed), errors.Is(err, seal.ErrAuth):
	case err != nil:
		return err
	case state == stateOpening:
		// Damage can make badger end the process; not twice.
		err = errors.New("the last attempt to open it didn't come to an end")
	default:
		x.object = object
		err = x.resume(state)
		if err == nil {
			return nil
		}
	}
	x.log.Warn("index discarded", "directory", x.dir.path, "error", err)
	return x.restart()
}

// resume opens the database that is there.
func (x *Index) resume(state string) error {
	tight, err := x.isTight()
	if err != nil {
		return err
	}
	if tight && state != "" {
		return fmt.Errorf("recover it: %w", ErrFull)
	}
	if err := checkTables(x.dir.path, state != ""); err != nil {
		return err
	}
	if err := x.start(tight); err != nil {
		return err
	}
	if err := x.loadPacks(); err != nil {
		return err
	}
	if state == "" || state == x.boot() && state != unknownBoot {
		return nil
	}
	x.log.Info("checking the index after a power loss", "directory", x.dir.path)
	return x.checkCounts()
}

// restart discards all there is and begins with nothing.
func (x *Index) restart() error {
	if err := x.stop(); err != nil {
		x.log.Debug("closing a discarded index", "error", err)
	}
	if err := x.dir.wipe(); err != nil {
		return err
	}
	tight, err := x.isTight()
	if err != nil {
		return err
	}
	x.fresh, x.tight, x.object = true, tight, nil
	x.damaged.Store(false)
	clear(x.packs)
	clear(x.held)
	clear(x.buried)
	x.cache.InvalidateAll()
	if tight {
		return nil
	}
	return x.start(false)
}

// start opens the database, for reading only when space is tight. The first
// time it makes it.
func (x *Index) start(tight bool) error {
	object := x.object
	if object == nil {
		o, err := x.dir.newInstance(x.keys)
		if err != nil {
			return err
		}
		object = o
	}
	if !tight {
		if err := x.dir.setState(stateOpening); err != nil {
			return err
		}
	}
	var db *badger.DB
	err := guard(func() (err error) {
		db, err = openBadger(x.dir.path, tight, x.log)
		return err
	})
	if err != nil {
		return err
	}
	if !tight {
		if err := x.dir.setState(x.boot()); err != nil {
			return errors.Join(err, db.Close())
		}
	}
	x.object, x.db, x.tight = object, db, tight
	return nil
}

// stop closes the database, if it is open, in good order.
func (x *Index) stop() error {
	db, readOnly := x.db, x.tight
	x.db = nil
	if db == nil {
		return nil
	}
	if err := db.Close(); err != nil {
		return foreign(err)
	}
	if readOnly {
		return nil
	}
	// Badger has synced its tables, but not the list of them.
	manifest, err := os.Open(filepath.Join(x.dir.path, "MANIFEST"))
	if err != nil {
		return err
	}
	err = manifest.Sync()
	if err = errors.Join(err, manifest.Close()); err != nil {
		return err
	}
	return x.dir.setState("")
}

const unknownBoot = "unknown"

func (x *Index) boot() string {
	if id := bootID(); id != "" {
		return id
	}
	return unknownBoot
}

// loadPacks reads the packs' markers. None is live.
func (x *Index) loadPacks() error {
	return guard(func() error {
		txn := x.db.NewTransaction(false)
		defer txn.Discard()
		o := badger.DefaultIteratorOptions
		o.Prefix = []byte{packPrefix}
		it := txn.NewIterator(o)
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			plain, err := x.open(it.Item(), key)
			if err != nil {
				return err
			}
			p, err := parseMarker(pack.ID(key[1:]), plain)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrDamaged, err)
			}
			x.packs[numberOf(p.ID)] = &p
		}
		return nil
	})
}

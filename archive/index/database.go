package index

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// openBadger opens the database with options for little memory. Badger keeps up
// to eight buffers, each some twice as large as a memtable or the largest table,
// for its compactions, so both are small; tables are read from mapped files,
// which the kernel can drop. Values are incompressible and small: neither
// compressed nor kept apart.
func openBadger(path string, readOnly bool, log *slog.Logger) (*badger.DB, error) {
	o := badger.DefaultOptions(path)
	o.ReadOnly = readOnly
	o.BypassLockGuard = true // directory has the lock
	o.Logger = badgerLog{log}
	o.MetricsEnabled = false
	o.DetectConflicts = false // Index has one writer
	o.SyncWrites = false
	o.MemTableSize = 2 << 20
	o.NumMemtables = 1
	o.BaseTableSize = 512 << 10
	o.NumLevelZeroTables = 4
	o.NumLevelZeroTablesStall = 10
	o.NumCompactors = 2
	o.ValueLogFileSize = 1 << 20
	o.ValueThreshold = 64 << 10
	o.Compression = options.None
	o.BlockCacheSize = 0 // blocks are read from mapped files
	o.ChecksumVerificationMode = options.OnBlockRead
	db, err := badger.Open(o)
	if err != nil {
		return nil, foreign(err)
	}
	return db, nil
}

// guard runs a read of the database. A damaged table makes badger panic, and a
// page that can't be read makes the mapped access a fault: both are ErrDamaged.
func guard(read func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %v", ErrDamaged, r)
		}
	}()
	return read()
}

// foreign keeps badger's words and not its types: it loses %w on the way, so
// nobody could rely on them.
func foreign(err error) error {
	return fmt.Errorf("badger: %s", strings.ReplaceAll(err.Error(), "\n", "; "))
}

// value reads one sealed value; nil when there is none.
func (x *Index) value(txn *badger.Txn, key []byte) ([]byte, error) {
	item, err := txn.Get(key)
	if errors.Is(err, badger.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, foreign(err))
	}
	return x.open(item, key)
}

func (x *Index) open(item *badger.Item, key []byte) (plain []byte, err error) {
	if len(key) != keySize {
		return nil, fmt.Errorf("%w: key of %d bytes", ErrDamaged, len(key))
	}
	valueErr := item.Value(func(sealed []byte) error {
		plain, err = x.object.OpenRandom(nil, sealed, key)
		return nil
	})
	if valueErr != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, foreign(valueErr))
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return plain, nil
}

func (x *Index) seal(key, plain []byte) []byte {
	return x.object.SealRandom(make([]byte, 0, len(plain)+64), plain, key)
}

// badgerLog gives badger's words to slog, a level lower: its warnings are about
// its own housekeeping.
type badgerLog struct{ log *slog.Logger }

func (l badgerLog) Errorf(f string, a ...any)   { l.log.Warn(line(f, a), "from", "badger") }
func (l badgerLog) Warningf(f string, a ...any) { l.log.Debug(line(f, a), "from", "badger") }
func (l badgerLog) Infof(f string, a ...any)    { l.log.Debug(line(f, a), "from", "badger") }
func (l badgerLog) Debugf(string, ...any)       {}

func line(f string, a []any) string { return strings.TrimSpace(fmt.Sprintf(f, a...)) }

package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// namePatience bounds how long a store that fails may keep from us how a file
// is called.
const namePatience = 2 * time.Second

// A lostFile is a file whose bytes couldn't be stored.
type lostFile struct {
	t   *Tree
	ino Ino
}

// lostBytes says why, and how the file was called when that was last known.
type lostBytes struct {
	name string
	err  error
}

// failed notes a file whose bytes couldn't be stored.
func (r *Repository) failed(f *file, err error) {
	r.log.Error("written bytes are lost", "inode", f.ino, "archive", f.t.number, "err", err)
	r.catalogMu.Lock()
	defer r.catalogMu.Unlock()
	at := lostFile{f.t, f.ino}
	r.failures[at] = lostBytes{r.failures[at].name, err}
}

// lostFiles tells of all files that lost bytes, by their paths, in order.
func (r *Repository) lostFiles(ctx context.Context) []error {
	ctx, cancel := context.WithTimeout(ctx, namePatience)
	defer cancel()
	r.catalogMu.Lock()
	files := make([]lostFile, 0, len(r.failures))
	for f := range r.failures {
		files = append(files, f)
	}
	r.catalogMu.Unlock()
	var errs []error
	for _, f := range files {
		path, err := f.t.Path(ctx, f.ino) // asks the store, perhaps
		r.catalogMu.Lock()
		lost := r.failures[f]
		switch {
		case err == nil && !slices.Contains(path, ""): // a removed name is empty
			lost.name = strings.Join(path, "/")
		case lost.name == "":
			lost.name = fmt.Sprintf("inode %d", f.ino)
		}
		r.failures[f] = lost
		in := fmt.Sprintf("archive %d", f.t.number)
		if a := r.archives[f.t.number]; a != nil {
			in = a.name
		}
		r.catalogMu.Unlock()
		errs = append(errs, fmt.Errorf("%s/%s: %w", in, lost.name, lost.err))
	}
	slices.SortFunc(errs, func(x, y error) int { return strings.Compare(x.Error(), y.Error()) })
	return errs
}

// lost is lostFiles as one error.
func (r *Repository) lost(ctx context.Context) error { return errors.Join(r.lostFiles(ctx)...) }

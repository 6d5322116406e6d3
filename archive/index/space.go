package index

import "bkfs/archive/chunk"

// reserve is how much space the database leaves free, in bytes: what badger may
// write of its own accord (a memtable, the tables of a compaction) must fit.
const reserve = 192 << 20

// maxHeld bounds how many chunks wait in memory for space: some 20 MiB.
const maxHeld = 128 << 10

// isTight says whether there is too little space to write. Once it is, there
// must be twice as much to end it.
func (x *Index) isTight() (bool, error) {
	free, err := x.available()
	if err != nil {
		return false, err
	}
	if x.tight {
		return free < 2*reserve, nil
	}
	return free < reserve, nil
}

// adapt stops writing when space is tight, by opening the database again for
// reading only, and takes it up again when there is space. It runs with changes
// held. When that fails the index is damaged: it finds what is held, and for
// the rest tells so.
func (x *Index) adapt() {
	tight, err := x.isTight()
	if err != nil || tight == x.tight {
		return
	}
	if tight {
		x.log.Warn("index stops writing: the disk is nearly full", "directory", x.dir.path)
	} else {
		x.log.Info("index writes again", "directory", x.dir.path, "held", len(x.held))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	err = x.stop()
	if err == nil {
		err = x.start(tight)
	}
	if err == nil && !tight {
		err = x.writeHeld()
	}
	if err != nil {
		x.log.Warn("index can't be opened again", "directory", x.dir.path, "error", err)
		x.tight = true
		x.damaged.Store(true)
	}
}

// hold keeps a pack's entries in memory.
func (x *Index) hold(p *Pack, entries map[chunk.ID]place) error {
	if len(x.held)+len(entries) > maxHeld {
		return ErrFull
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for id, at := range entries {
		x.held[id] = addPlace(x.held[id], at)
	}
	p.held = true
	return nil
}

// writeHeld does what was put off; it runs with changes and mu held. Entries
// come before markers, as ever, and deletions before both: a forgotten pack may
// have been added again.
func (x *Index) writeHeld() error {
	steps := []func(*writer) error{x.writeBuried, x.writeEntries, x.writeMarkers}
	for _, step := range steps {
		w := x.newWriter()
		err := step(w)
		if err == nil {
			err = w.flush()
		}
		w.cancel()
		if err != nil {
			return err
		}
	}
	clear(x.buried)
	clear(x.held)
	for _, p := range x.packs {
		p.held = false
	}
	return nil
}

func (x *Index) writeBuried(w *writer) error {
	for id := range x.buried {
		if err := w.delete(packKey(id)); err != nil {
			return err
		}
	}
	return nil
}

func (x *Index) writeEntries(w *writer) error {
	for id, places := range x.held {
		if err := w.addPlaces(id, places...); err != nil {
			return err
		}
	}
	return nil
}

func (x *Index) writeMarkers(w *writer) error {
	for _, p := range x.packs {
		if p.held {
			if err := w.set(packKey(p.ID), appendMarker(nil, *p)); err != nil {
				return err
			}
		}
	}
	return nil
}

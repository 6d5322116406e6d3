package fs

import (
	"log/slog"

	"bkfs/archive"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// An invalidEntry is a name that the kernel should ask for again.
type invalidEntry struct {
	dir  nodeID
	name string
}

// A notifier tells the kernel which archives and snapshots went or have other
// names now. It does so from a goroutine of its own: a notification waits for
// locks that the kernel holds while it waits for an answer of ours.
type notifier struct {
	wake chan struct{}
	stop chan struct{}
	done chan struct{}
}

func newNotifier() *notifier {
	return &notifier{
		wake: make(chan struct{}, 1), // one that waits will see all there is
		stop: make(chan struct{}),
		done: make(chan struct{}),
	}
}

// changed is what the repository calls; it doesn't wait.
func (n *notifier) changed(archive.Event) {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// close ends run and returns when it has.
func (n *notifier) close() {
	close(n.stop)
	<-n.done
}

// notifyChanges sends notifications until the notifier is closed.
func (f *filesystem) notifyChanges(server *fuse.Server) {
	defer close(f.notify.done)
	for {
		select {
		case <-f.notify.stop:
			return
		case <-f.notify.wake:
		}
		for _, e := range f.views.renamed(f.names()) {
			// A name that didn't change must not be named: the kernel would take
			// the directory away from whoever is in it.
			st := server.EntryNotify(uint64(e.dir), e.name)
			if st != fuse.OK && st != fuse.ENOENT { // ENOENT: the kernel has forgotten it
				f.log.Debug("invalidate entry", slog.Uint64("dir", uint64(e.dir)),
					slog.String("name", e.name), slog.String("status", st.String()))
			}
		}
	}
}

// names returns the names of all archives that exist and of all snapshots, by
// their trees' numbers.
func (f *filesystem) names() map[uint32]string {
	names := make(map[uint32]string)
	for _, i := range f.repo.Archives() {
		if !i.Removed {
			names[i.Number] = i.Name
		}
		all, err := f.repo.Snapshots(i.Name)
		if err != nil {
			continue // it went meanwhile
		}
		for _, s := range all {
			names[s.Number] = s.Name
		}
	}
	return names
}

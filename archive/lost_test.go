package archive

import (
	"context"
	"errors"
	"strings"
	"testing"

	"bkfs/archive/store/storetest"
)

// Files that lost bytes are named by their paths, also after a rename and when
// nobody has them open any more.
func TestLostFilesAreNamed(t *testing.T) {
	r, _, _ := newOn(t, new(storetest.Memory))
	tree, err := r.CreateArchive(t.Context(), "a", Creation{Mode: 0o755})
	if err != nil {
		t.Fatal(err)
	}
	d, err := tree.Mknod(t.Context(), RootIno, "d", Creation{Mode: ModeDir | 0o755})
	if err != nil {
		t.Fatal(err)
	}
	ino := write(t, tree, d.Ino, "old", random(1000))
	r.failed(&file{t: tree, ino: ino}, errors.New("store bytes"))
	gone := write(t, tree, d.Ino, "gone", random(1000))
	if err := tree.Unlink(t.Context(), d.Ino, "gone"); err != nil {
		t.Fatal(err)
	}
	r.failed(&file{t: tree, ino: gone}, errors.New("of a removed file"))
	problems := func(want ...string) {
		t.Helper()
		got := r.Status().Problems
		if strings.Join(got, "\n") != strings.Join(want, "\n") {
			t.Errorf("problems %q, want %q", got, want)
		}
	}
	removed := "a/inode 4: of a removed file"
	problems("a/d/old: store bytes", removed)
	if err := r.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := tree.Rename(t.Context(), d.Ino, "old", d.Ino, "new", 0); err != nil {
		t.Fatal(err)
	}
	problems("a/d/new: store bytes", removed)
	tree.Forget(ino, 1)
	if _, err := r.TakeSnapshot(t.Context(), "a", "s", false); err != nil { // folds
		t.Fatal(err)
	}
	problems("a/d/new: store bytes", removed)
	if err := r.Close(context.Background()); err == nil || !strings.Contains(err.Error(), "a/d/new: store bytes") {
		t.Errorf("close: %v, want it to name a/d/new", err)
	}
}

package daemon

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A file stands for a device node: it is its identity that counts.
func TestTokenWatch(t *testing.T) {
	write := func(path string) {
		t.Helper()
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	replace := func(path string) { // without a moment in which there is nothing
		t.Helper()
		write(path + ".new")
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	remove := func(path string) {
		t.Helper()
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
	}
	for name, row := range map[string]struct {
		soft, link bool
		change     func(path string)
		want       []bool
	}{
		"device removed":             {change: remove, want: []bool{false}},
		"device moved":               {change: func(p string) { os.Rename(p, p+".away") }, want: []bool{false}},
		"another device at its path": {change: replace, want: []bool{false, true}},
		"device gone for a moment":   {change: func(p string) { remove(p); write(p) }, want: []bool{false, true}},
		"device behind a link":       {link: true, change: remove, want: []bool{false}},
		"gone for a moment, linked":  {link: true, change: func(p string) { remove(p); write(p) }, want: []bool{false, true}},
		"directory removed":          {change: func(p string) { os.RemoveAll(filepath.Dir(p)) }, want: []bool{false}},
		"soft token removed":         {soft: true, change: remove, want: []bool{false}},
		"soft token moved":           {soft: true, change: func(p string) { os.Rename(p, p+".away") }, want: []bool{false}},
		"soft token moved and back": {soft: true, want: []bool{false, true}, change: func(p string) {
			os.Rename(p, p+".away")
			os.Rename(p+".away", p)
		}},
		"soft token used": {soft: true, change: func(p string) { replace(p); replace(p); remove(p) }, want: []bool{false}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "d", "token")
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			write(path)
			named := path
			if row.link {
				named = filepath.Join(t.TempDir(), "link")
				if err := os.Symlink(path, named); err != nil {
					t.Fatal(err)
				}
			}
			token, err := SeeToken("it", named, row.soft)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			changes, ended := make(chan bool), make(chan struct{})
			go func() {
				defer close(ended)
				token.watch(ctx, slog.New(slog.DiscardHandler), changes)
			}()
			defer func() {
				cancel()
				<-ended
			}()
			// An unrelated change is seen once the directory is watched: it wakes
			// the watch, and says nothing.
			write(path + ".other")
			select {
			case now := <-changes:
				t.Fatalf("told %v before anything happened", now)
			case <-time.After(300 * time.Millisecond):
			}
			row.change(path)
			for i, want := range row.want {
				select {
				case now := <-changes:
					if now != want {
						t.Fatalf("change %d: told %v, want %v", i, now, want)
					}
				case <-time.After(time.Minute):
					t.Fatalf("change %d was never told", i)
				}
			}
		})
	}
}

func TestSeeTokenAbsent(t *testing.T) {
	for _, soft := range []bool{true, false} {
		if _, err := SeeToken("it", filepath.Join(t.TempDir(), "nowhere"), soft); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("soft %v: got %v, want not exist", soft, err)
		}
	}
}

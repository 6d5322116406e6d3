package cli

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"bkfs/archive"
	"bkfs/archive/seal"
)

func TestMemory(t *testing.T) {
	a, _ := testApp(t, &person{})
	id := seal.NewRepositoryID()
	config := func(generation uint64) error {
		return a.rememberConfig(&archive.Config{ID: id, Generation: generation})
	}
	steps := []struct {
		what string
		do   func() error
		want string // part of the warning; "" is none
	}{
		{"first config", func() error { return config(3) }, ""},
		{"the same", func() error { return config(3) }, ""},
		{"a newer one", func() error { return config(5) }, ""},
		{"an older one", func() error { return config(4) }, "5"},
		{"an older one again", func() error { return config(4) }, "5"},
		{"first root", func() error { return a.rememberRoot(id, 10, "aa") }, ""},
		{"the same root", func() error { return a.rememberRoot(id, 10, "aa") }, ""},
		{"another root of that generation", func() error { return a.rememberRoot(id, 10, "bb") }, "elsewhere"},
		{"an older root", func() error { return a.rememberRoot(id, 9, "cc") }, "missing"},
		{"a newer root", func() error { return a.rememberRoot(id, 11, "dd") }, ""},
		{"another repository", func() error { return a.rememberRoot(seal.NewRepositoryID(), 1, "ee") }, ""},
	}
	for _, s := range steps {
		err := s.do()
		if s.want == "" && err != nil || s.want != "" && (err == nil || !strings.Contains(err.Error(), s.want)) {
			t.Errorf("%s: got %v, want %q", s.what, err, s.want)
		}
	}
	path := a.memoryPath(id)
	if err := os.WriteFile(path, []byte("{broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := config(1); err != nil {
		t.Errorf("after damage: got %v, want to begin again", err)
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(path), ".memory-*"))
	if err != nil || len(left) != 0 {
		t.Errorf("temporary files: got %v, %v, want none", left, err)
	}
}

func TestWithin(t *testing.T) {
	for _, tt := range []struct {
		path, dir string
		want      bool
	}{
		{"/a/b", "/a", true}, {"/a", "/a", true}, {"/ab", "/a", false}, {"/", "/a", false},
		{"/a/..b", "/a", true}, {"/b", "/a", false}, {"/a", "/", true},
	} {
		if got := within(tt.path, tt.dir); got != tt.want {
			t.Errorf("within(%s, %s): got %v, want %v", tt.path, tt.dir, got, tt.want)
		}
	}
}

func TestShown(t *testing.T) {
	for in, want := range map[string]string{
		"plain name": "plain name", "Ümläut": "Ümläut", "": `""`,
		"a\x1b[2Jb": `"a\x1b[2Jb"`, "line\nbreak": `"line\nbreak"`, "\xff": `"\xff"`, "\u202eabc": `"\u202eabc"`,
	} {
		if got := shown(in); got != want {
			t.Errorf("shown(%q): got %s, want %s", in, got, want)
		}
	}
}

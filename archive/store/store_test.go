package store

import (
	"path"
	"strings"
	"testing"
)

func TestCheckName(t *testing.T) {
	tests := []struct {
		class, name string
		ok          bool
	}{
		{"one element", "config", true},
		{"a copy", "config.2", true},
		{"nested", "packs/ab/abcd_-.9", true},
		{"longest", strings.Repeat("a", MaxName), true},
		{"empty", "", false},
		{"too long", strings.Repeat("a", MaxName+1), false},
		{"absolute", "/config", false},
		{"parent", "../config", false},
		{"parent inside", "packs/../config", false},
		{"this", "./config", false},
		{"hidden", "packs/.tmp", false},
		{"trailing slash", "packs/", false},
		{"empty element", "packs//ab", false},
		{"capital", "Config", false},
		{"backslash", `a\b`, false},
		{"NUL", "a\x00b", false},
		{"not ASCII", "ä", false},
		{"space", "a b", false},
	}
	for _, tt := range tests {
		t.Run(tt.class, func(t *testing.T) {
			if err := CheckName(tt.name); (err == nil) != tt.ok {
				t.Errorf("CheckName(%q) = %v, want success %t", tt.name, err, tt.ok)
			}
		})
	}
}

func FuzzCheckName(f *testing.F) {
	for _, name := range []string{"config", "packs/ab/cd", "../x", "/x", "a/./b"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if CheckName(name) != nil {
			return
		}
		if joined := path.Join("/root", name); joined != "/root/"+name {
			t.Errorf("accepted %q, which resolves to %s", name, joined)
		}
	})
}

package daemon

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Token is the token that unlocked, as its presence can be seen without opening
// it.
type Token struct {
	Name string `json:"name"` // as the user knows it
	Path string `json:"path"` // absolute: the device, or the software token's file

	// Soft is a token in a file: it is plugged in while there is a file.
	Soft bool `json:"soft,omitempty"`

	// Node is which device was at Path. The kernel gives a path again, never
	// the node.
	Node Node `json:"node"`
	// HID is what a hidraw device says it is, or empty.
	HID string `json:"hid,omitempty"`
}

// Node identifies a device node.
type Node struct {
	Dev, Ino, Rdev uint64
}

// SeeToken notes the device at path. An error means that it isn't there.
func SeeToken(name, path string, soft bool) (*Token, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("look at the token: %w", err)
	}
	t := &Token{Name: name, Path: abs, Soft: soft}
	if t.Node, err = t.look(); err != nil {
		return nil, fmt.Errorf("look at the token: %w", err)
	}
	t.HID = hidOf(t.resolved())
	return t, nil
}

// look returns the node at Path, following links; of a file only whether it is
// there: it is written anew at every use.
func (t *Token) look() (Node, error) {
	var st unix.Stat_t
	if err := unix.Stat(t.Path, &st); err != nil {
		return Node{}, &os.PathError{Op: "stat", Path: t.Path, Err: err}
	}
	if t.Soft {
		return Node{}, nil
	}
	return Node{st.Dev, st.Ino, st.Rdev}, nil
}

// plugged tells whether the token is where it was. What can't be seen isn't.
func (t *Token) plugged() bool {
	n, err := t.look()
	return err == nil && n == t.Node
}

// back tells whether the token may have been plugged in again, and follows the
// new node from then on: a device at the same path, of the same make and serial
// number where the kernel tells.
func (t *Token) back() bool {
	n, err := t.look()
	if err != nil || t.HID != "" && hidOf(t.resolved()) != t.HID {
		return false
	}
	t.Node = n
	return true
}

// resolved is Path without links, as far as there is anything.
func (t *Token) resolved() string {
	if path, err := filepath.EvalSymlinks(t.Path); err == nil {
		return path
	}
	return t.Path
}

// hidOf returns make and serial number of a hidraw device. Where it is plugged
// in doesn't matter.
func hidOf(path string) string {
	if filepath.Dir(path) != "/dev" {
		return ""
	}
	uevent, err := os.ReadFile(filepath.Join("/sys/class/hidraw", filepath.Base(path), "device/uevent"))
	if err != nil {
		return ""
	}
	var id []string
	for line := range strings.Lines(string(uevent)) {
		if strings.HasPrefix(line, "HID_ID=") || strings.HasPrefix(line, "HID_UNIQ=") {
			id = append(id, strings.TrimSpace(line))
		}
	}
	return strings.Join(id, " ")
}

package hardware

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// ErrSpec says that a text names no device.
var ErrSpec = errors.New("want none, auto, the path of a character device, or soft:PATH")

// Kind of a Source.
type Kind uint8

// Auto is every token that libfido2 finds, which are never software tokens. Path is a character device. Soft is a
// software token's state file, served for as long as Tokens is open.
const (
	Auto Kind = iota + 1
	Path
	Soft
)

// Source is where tokens are looked for.
type Source struct {
	Kind Kind
	Path string // of the device, or of the state file
}

const softPrefix = "soft:"

func (s Source) String() string {
	switch s.Kind {
	case Auto:
		return "auto"
	case Soft:
		return softPrefix + s.Path
	default:
		return s.Path
	}
}

// Spec is the sources to look into; the empty one is "none": no device is ever opened.
type Spec []Source

// None tells whether no device may be opened.
func (s Spec) None() bool { return len(s) == 0 }

func (s Spec) String() string {
	if s.None() {
		return "none"
	}
	parts := make([]string, len(s))
	for i, source := range s {
		parts[i] = source.String()
	}
	return strings.Join(parts, ",")
}

// ParseSpec reads device specs, each a comma-separated list of auto, PATH and soft:PATH, or none, which stands
// alone. ErrSpec.
func ParseSpec(specs ...string) (Spec, error) {
	var out Spec
	none, seen := false, map[Source]bool{}
	for _, spec := range specs {
		for text := range strings.SplitSeq(spec, ",") {
			if text == "none" {
				none = true
				continue
			}
			source, err := parseSource(text)
			if err != nil {
				return nil, err
			}
			if !seen[source] {
				seen[source] = true
				out = append(out, source)
			}
		}
	}
	switch {
	case none && len(out) > 0:
		return nil, fmt.Errorf("device none beside %s: %w", out, ErrSpec)
	case !none && len(out) == 0:
		return nil, fmt.Errorf("no device: %w", ErrSpec)
	}
	return out, nil
}

func parseSource(text string) (Source, error) {
	path, soft := strings.CutPrefix(text, softPrefix)
	switch {
	case text == "auto":
		return Source{Kind: Auto}, nil
	case soft && path != "":
		return Source{Soft, filepath.Clean(path)}, nil
	case !soft && strings.Contains(text, "/"):
		path = filepath.Clean(text)
		if !strings.Contains(path, "/") {
			path = "./" + path // a path has a slash, so that no word is taken for one
		}
		return Source{Path, path}, nil
	}
	return Source{}, fmt.Errorf("device %q: %w", text, ErrSpec)
}

package jail

import (
	"fmt"
	"strings"
)

// Bounds of a path in bytes, those of Linux (NAME_MAX, PATH_MAX). A file system
// may have lower ones, which it then says itself.
const (
	MaxPart = 255
	MaxPath = 4096
)

// PathError is a path that breaks a rule, whatever is on the disk.
type PathError struct {
	Path string
	Rule string // what is wrong and what is allowed
}

// Error names the path, shortened, and the rule.
func (e *PathError) Error() string { return fmt.Sprintf("path %.100q %s", e.Path, e.Rule) }

// Clean checks the rules of a path and returns it without "." parts; the root
// itself is ".". It looks at nothing but the text. Errors are *PathError.
func Clean(path string) (string, error) {
	if path == "" || path == "." {
		return ".", nil
	}
	if err := check(path); err != nil {
		return "", err
	}
	if path[0] != '.' && !strings.Contains(path, "/.") {
		return path, nil // as nearly all are
	}
	parts := strings.Split(path, "/")
	kept := parts[:0]
	for _, part := range parts {
		if part != "." {
			kept = append(kept, part)
		}
	}
	if len(kept) == 0 {
		return ".", nil
	}
	return strings.Join(kept, "/"), nil
}

func check(path string) error {
	switch {
	case len(path) > MaxPath:
		return &PathError{path, fmt.Sprintf("has %d bytes, at most %d are allowed", len(path), MaxPath)}
	case path[0] == '/':
		return &PathError{path, "is absolute; paths are relative to the root"}
	case strings.IndexByte(path, 0) >= 0:
		return &PathError{path, "has a NUL byte"}
	}
	for part := range strings.SplitSeq(path, "/") {
		switch {
		case part == "":
			return &PathError{path, `has an empty part; one "/" stands between two parts, and none at the end`}
		case part == "..":
			return &PathError{path, `has a ".." part; a path names what it means from the root downwards`}
		case len(part) > MaxPart:
			return &PathError{path, fmt.Sprintf("has a part of %d bytes, at most %d are allowed", len(part), MaxPart)}
		}
	}
	return nil
}

// Split returns the directory and the last part of a clean path other than ".".
func Split(path string) (dir, name string) {
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		return path[:i], path[i+1:]
	}
	return ".", path
}

// Join is a path below dir.
func Join(dir, name string) string {
	if dir == "." {
		return name
	}
	return dir + "/" + name
}

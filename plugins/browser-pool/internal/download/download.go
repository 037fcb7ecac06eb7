// Package download keeps the files that pages offer: which of them may be, how
// many at once and how large, and where they are when they are whole. Until then
// they are in a directory of their own that goes with the process.
package download

import (
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/engine"
)

// partialName is the directory below a Store's that has what is not whole yet, of
// all processes that use it.
const partialName = ".partial"

// Rules are what may be downloaded.
type Rules struct {
	Dir     string   // for a directory of each session's
	MaxSize uint64   // of a file, bytes
	Names   []string // patterns of path.Match, in any case; none are all
}

// Store is a directory for downloads. Its methods are safe for concurrent use.
type Store struct {
	Rules

	home *engine.Home
}

// CheckNames returns what is wrong with the patterns of names, or nil.
func CheckNames(patterns []string) error {
	for _, pattern := range patterns {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf(`%q is no pattern of names, such as "*.pdf"`, pattern)
		}
	}
	return nil
}

// Open makes the directory, unless it is there, closed to other users. What
// processes that were killed have left of their partial files is removed. The
// caller closes the store.
func Open(rules Rules) (*Store, error) {
	dir, err := filepath.Abs(rules.Dir)
	if err != nil {
		return nil, err
	}
	rules.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	home, err := engine.OpenHome(filepath.Join(dir, partialName))
	if err != nil {
		return nil, err
	}
	return &Store{Rules: rules, home: home}, nil
}

// Close removes what is partial. All folders are closed before. It may be called
// on nil.
func (s *Store) Close() error {
	if s == nil {
		return nil
	}
	return s.home.Close()
}

// check returns why a file may not be, or nil.
func (s *Store) check(name string) error {
	if s == nil {
		return errors.New("nothing may be downloaded: there is no downloads{} block")
	}
	for _, pattern := range s.Names {
		if ok, _ := path.Match(strings.ToLower(pattern), strings.ToLower(name)); ok {
			return nil
		}
	}
	if len(s.Names) > 0 {
		return errors.New("its name is none of those that may be downloaded (downloads.names)")
	}
	return nil
}

// maxName is the longest name of a file, in bytes; file systems take 255, and
// doubles get a number.
const maxName = 200

// clean is a name that a page suggests, as it may be in a directory: one element,
// that is not hidden and can be shown.
func clean(name string) string {
	name = strings.ToValidUTF8(name, "_")
	name = name[strings.LastIndexAny(name, `/\`)+1:]
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 || strings.ContainsRune("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069", r) {
			return '_' // of a name that is read from right to left the end is not what it seems
		}
		return r
	}, name)
	name = strings.TrimRight(strings.TrimLeft(name, ". "), ". ")
	if len(name) > maxName {
		end := path.Ext(name)
		if len(end) > 20 {
			end = ""
		}
		name = strings.ToValidUTF8(name[:maxName-len(end)], "") + end
	}
	if name == "" {
		return "download"
	}
	return name
}

// numbered is a name for the n-th file that has it.
func numbered(name string, n int) string {
	if n == 0 {
		return name
	}
	end := path.Ext(name)
	return fmt.Sprintf("%s (%d)%s", strings.TrimSuffix(name, end), n, end)
}

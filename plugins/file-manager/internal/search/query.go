// Package search finds files by name, and lines in them by content.
package search

import (
	"fmt"
	"regexp"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/glob"
	"github.com/gaia-go/gaia/plugins/file-manager/internal/jail"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
)

const (
	defaultResults = 1000
	maxResults     = 100_000
	maxContext     = 20   // lines
	maxContent     = 4096 // bytes of a regular expression
)

// Query is what to look for.
type Query struct {
	// Dir is the directory below which is searched, a clean path without links.
	Dir string
	// Hidden leaves out a path, seen from the root, with what is below it. May
	// be nil.
	Hidden func(path string) bool

	globs      []glob.Pattern // one has to match; none means all
	excludes   []glob.Pattern
	content    *matcher // nil for names alone
	gitignore  bool
	maxResults int
	context    int // lines before and after
}

// Parse reads a request. Root and Hidden are for the caller to see to. An error
// says which field is wrong, and how.
func Parse(request *filev1.SearchRequest) (Query, error) {
	q := Query{
		Dir:        request.GetPath(),
		gitignore:  request.GetGitignore(),
		maxResults: int(request.GetMaxResults()),
		context:    int(request.GetContext()),
	}
	if q.Dir == "" {
		q.Dir = "."
	}
	if q.maxResults == 0 {
		q.maxResults = defaultResults
	}
	if q.maxResults > maxResults {
		return Query{}, fmt.Errorf("max_results: %d, at most %d are allowed", q.maxResults, maxResults)
	}
	if q.context > maxContext {
		return Query{}, fmt.Errorf("context: %d lines, at most %d are allowed", q.context, maxContext)
	}
	var err error
	if q.globs, err = compile("glob", request.GetGlob()); err != nil {
		return Query{}, err
	}
	if q.excludes, err = compile("exclude", request.GetExclude()); err != nil {
		return Query{}, err
	}
	if text := request.GetContent(); text != "" {
		if q.content, err = newMatcher(text, request.GetIgnoreCase()); err != nil {
			return Query{}, fmt.Errorf("content: %w", err)
		}
	}
	return q, nil
}

func compile(field string, globs []string) ([]glob.Pattern, error) {
	const maxGlobs = 100
	if len(globs) > maxGlobs {
		return nil, fmt.Errorf("%s: %d globs, at most %d are allowed", field, len(globs), maxGlobs)
	}
	patterns := make([]glob.Pattern, len(globs))
	for i, text := range globs {
		var err error
		if patterns[i], err = glob.Compile(text); err != nil {
			return nil, fmt.Errorf("%s[%d]: %w", field, i, err)
		}
	}
	return patterns, nil
}

// wants reports whether a path, seen from the directory searched, is looked for.
func (q *Query) wants(path string) bool {
	return len(q.globs) == 0 || matchAny(q.globs, path)
}

// wantsBelow reports whether something below a directory may be looked for.
func (q *Query) wantsBelow(dir string) bool {
	for _, g := range q.globs {
		if g.MayMatchBelow(dir) {
			return true
		}
	}
	return len(q.globs) == 0
}

func matchAny(patterns []glob.Pattern, path string) bool {
	for _, p := range patterns {
		if p.Match(path) {
			return true
		}
	}
	return false
}

// Match is a file, or a line in one.
type Match struct {
	Path   string    // seen from the root
	Info   jail.Info // of the file when it was opened, or of what has the name
	Line   uint64    // from 1; 0 if only the name was looked for
	Column uint32    // in bytes, from 1
	Text   string    // valid UTF-8, at most 4096 bytes, as the lines around it
	Before []string
	After  []string
}

// Summary says what was looked at.
type Summary struct {
	Files     uint64 // files read; without content, all that has a name
	Skipped   uint64 // files and directories that could not be read or that are binary
	Truncated bool   // there are more matches than were asked for
}

// matcher finds lines that a regular expression matches.
type matcher struct {
	re       *regexp.Regexp
	text     string   // of re
	required literals // one of them is in every line that matches; may be empty
}

// newMatcher compiles a regular expression that is applied to single lines.
func newMatcher(text string, ignoreCase bool) (*matcher, error) {
	if len(text) > maxContent {
		return nil, fmt.Errorf("%d bytes, at most %d are allowed", len(text), maxContent)
	}
	if ignoreCase {
		text = "(?i)" + text
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	return &matcher{re: re, text: text, required: requiredLiterals(text)}, nil
}

// Package glob matches paths with patterns: "*" and "?" within a part, "**" for
// any number of parts, "[a-z]", "{a,b}".
package glob

import (
	"fmt"

	"github.com/bmatcuk/doublestar/v4"
)

// Pattern is a glob that has been checked.
type Pattern struct{ text string }

// Compile checks a pattern. The error says which it was.
func Compile(pattern string) (Pattern, error) {
	if !doublestar.ValidatePattern(pattern) {
		return Pattern{}, fmt.Errorf("glob %q is not well formed", pattern)
	}
	return Pattern{text: pattern}, nil
}

// Match reports whether all of path matches.
func (p Pattern) Match(path string) bool { return doublestar.MatchUnvalidated(p.text, path) }

// String is the pattern as it was written.
func (p Pattern) String() string { return p.text }

// Package glob matches paths with patterns: "*" and "?" within a part, "**" for
// any number of parts, "[a-z]", "{a,b}".
package glob

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// Bounds of what callers send, so that a match stays cheap: of an expanded
// pattern one takes at worst (length of the pattern) × (length of the path)².
const (
	maxLength       = 1024 // bytes of a pattern
	maxAlternatives = 256  // patterns that the braces of one stand for
)

// Pattern is a compiled glob. The zero value matches nothing. It is safe for
// concurrent use.
type Pattern struct{ alternatives []alternative }

// alternative is a pattern without braces.
type alternative struct {
	pattern string
	base    string // what a path begins with, up to the first part that is not literal
	suffix  string // what a path ends with, if all of the pattern is "**/*" and this
	parts   int    // how many parts a path has; 0 if there is a "**"
}

// Compile reads a pattern for slash-separated paths without a slash at their
// beginning or end. A backslash takes the meaning from the character after it.
// An error says where the pattern is wrong.
func Compile(pattern string) (Pattern, error) {
	if err := check(pattern); err != nil {
		return Pattern{}, fmt.Errorf("glob %q: %w", pattern, err)
	}
	expanded, err := expand(pattern, maxAlternatives)
	if err != nil {
		return Pattern{}, fmt.Errorf("glob %q: %w", pattern, err)
	}
	alternatives := make([]alternative, len(expanded))
	for i, text := range expanded {
		text = keepWithinPart(text)
		if !doublestar.ValidatePattern(text) {
			return Pattern{}, fmt.Errorf("glob %q: %q is no pattern", pattern, text)
		}
		alternatives[i] = newAlternative(text)
	}
	return Pattern{alternatives}, nil
}

func newAlternative(pattern string) alternative {
	a := alternative{pattern: pattern}
	if a.base, _ = doublestar.SplitPattern(pattern); a.base == "." {
		a.base = ""
	}
	if suffix, ok := strings.CutPrefix(pattern, "**/*"); ok && !strings.ContainsAny(suffix, `*?[\/`) {
		a.suffix = suffix
	}
	if !strings.Contains(pattern, "**") {
		a.parts = strings.Count(pattern, "/") + 1
	}
	return a
}

// Match reports whether the pattern stands for all of a path.
func (p Pattern) Match(name string) bool {
	for _, a := range p.alternatives {
		if a.suffix != "" {
			if strings.HasSuffix(name, a.suffix) {
				return true
			}
		} else if doublestar.MatchUnvalidated(a.pattern, name) {
			return true
		}
	}
	return false
}

// MayMatchBelow reports whether there can be a path below a directory that
// matches. It is quick and errs on the side of true.
func (p Pattern) MayMatchBelow(dir string) bool {
	if dir == "" || dir == "." {
		return true
	}
	for _, a := range p.alternatives {
		if a.parts > 0 && strings.Count(dir, "/")+1 >= a.parts {
			continue
		}
		if within(dir, a.base) || within(a.base, dir) {
			return true
		}
	}
	return false
}

// within reports whether name is dir, or below it.
func within(name, dir string) bool {
	rest, ok := strings.CutPrefix(name, dir)
	return ok && (dir == "" || rest == "" || rest[0] == '/')
}

// check finds what is wrong with a pattern, and where.
func check(pattern string) error {
	switch {
	case pattern == "":
		return errors.New("is empty; all paths are \"**\"")
	case len(pattern) > maxLength:
		return fmt.Errorf("has %d bytes, at most %d are allowed", len(pattern), maxLength)
	case pattern[0] == '/':
		return fmt.Errorf("begins with a slash, which no path does; write %q", strings.TrimLeft(pattern, "/"))
	case strings.HasSuffix(pattern, "/"):
		return fmt.Errorf("ends with a slash, which no path does; write %q", strings.TrimRight(pattern, "/"))
	case slices.Contains(strings.Split(pattern, "/"), ".."):
		return errors.New("has a \"..\" part, which no path has; write the path from the directory downwards")
	case path.Clean(pattern) != pattern && !strings.Contains(pattern, `\`):
		return fmt.Errorf("has parts that no path has; write %q", path.Clean(pattern))
	}
	return checkBrackets(pattern)
}

// checkBrackets sees that all that is opened is closed.
func checkBrackets(pattern string) error {
	var open []int // where braces begin
	for i := 0; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			if i++; i == len(pattern) {
				return fmt.Errorf("the backslash at byte %d is followed by nothing", i)
			}
		case '[':
			end := classEnd(pattern, i)
			if end < 0 {
				return fmt.Errorf(`the "[" at byte %d is not closed; write \[ for the character`, i+1)
			}
			i = end
		case '{':
			open = append(open, i)
		case '}':
			if len(open) == 0 {
				return fmt.Errorf(`the "}" at byte %d closes nothing; write \} for the character`, i+1)
			}
			open = open[:len(open)-1]
		}
	}
	if len(open) > 0 {
		return fmt.Errorf(`the "{" at byte %d is not closed; write \{ for the character`, open[len(open)-1]+1)
	}
	return nil
}

// classEnd returns the index of the "]" that closes the "[" at i, or -1.
func classEnd(pattern string, i int) int {
	i++
	if i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		i++
	}
	for first := i; i < len(pattern); i++ {
		switch pattern[i] {
		case '\\':
			i++
		case '/':
			return -1 // a class stands for one character of a part
		case ']':
			if i > first {
				return i
			}
		}
	}
	return -1
}

// keepWithinPart adds the slash to what negated classes do not stand for:
// doublestar lets them match it.
func keepWithinPart(pattern string) string {
	var out strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			out.WriteString(pattern[i : i+2])
			i++
		case '[':
			end := classEnd(pattern, i)
			class := pattern[i : end+1]
			if class[1] == '!' || class[1] == '^' {
				class = class[:2] + "/" + class[2:]
			}
			out.WriteString(class)
			i = end
		default:
			out.WriteByte(c)
		}
	}
	return out.String()
}

// expand replaces the first brace by each of its alternatives, and so on, until
// there are none. Matching would otherwise try all of their combinations.
func expand(pattern string, room int) ([]string, error) {
	begin, end, commas := firstBrace(pattern)
	if begin < 0 {
		return []string{pattern}, nil
	}
	var all []string
	for i, from := 0, begin+1; i <= len(commas); i++ {
		to := end
		if i < len(commas) {
			to = commas[i]
		}
		some, err := expand(pattern[:begin]+pattern[from:to]+pattern[end+1:], room-len(all))
		if err != nil {
			return nil, err
		}
		if all = append(all, some...); len(all) > room {
			return nil, fmt.Errorf("its braces stand for more than %d patterns; send several globs", maxAlternatives)
		}
		from = to + 1
	}
	return all, nil
}

// firstBrace finds the first "{", its "}", and the commas between them that
// belong to it.
func firstBrace(pattern string) (begin, end int, commas []int) {
	begin = -1
	depth := 0
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '\\':
			i++
		case c == '[':
			i = classEnd(pattern, i)
		case c == '{':
			if depth++; depth == 1 {
				begin = i
			}
		case c == ',' && depth == 1:
			commas = append(commas, i)
		case c == '}':
			if depth--; depth == 0 {
				return begin, i, commas
			}
		}
	}
	return -1, -1, nil
}

package search

import (
	"bytes"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
)

// rules are what a .gitignore file says, and those above it. Nil says nothing.
type rules struct {
	above    *rules
	base     string // of the directory it is in, seen from the root: "" or with a slash at its end
	patterns []ignorePattern
}

// ignorePattern is a line of a .gitignore file.
type ignorePattern struct {
	text    string // without brackets and stars if it is exact or a suffix
	kind    patternKind
	negated bool // what matches is not ignored after all
	dirOnly bool
	whole   bool // the path is matched, and not only its last part
}

// patternKind says how a pattern is matched. Most are simple, and those cost next
// to nothing.
type patternKind int

const (
	patternGlob patternKind = iota
	patternExact
	patternSuffix
)

// ignored reports whether a path, seen from the root, is left out. What is in a
// directory left out is, too; that is for the walk to see to. Of the files the
// nearest, and in it the last line that matches, decides.
func (r *rules) ignored(path string, isDir bool) bool {
	name := path[strings.LastIndexByte(path, '/')+1:]
	for ; r != nil; r = r.above {
		for i := len(r.patterns) - 1; i >= 0; i-- {
			if p := &r.patterns[i]; (isDir || !p.dirOnly) && p.match(path[len(r.base):], name) {
				return !p.negated
			}
		}
	}
	return false
}

func (p *ignorePattern) match(path, name string) bool {
	if p.whole {
		name = path
	}
	switch p.kind {
	case patternExact:
		return name == p.text
	case patternSuffix:
		return strings.HasSuffix(name, p.text)
	case patternGlob:
		return doublestar.MatchUnvalidated(p.text, name)
	}
	return false
}

// parseRules reads a .gitignore file (gitignore(5)). As git does, it passes over
// lines that are no patterns.
func parseRules(content []byte, base string, above *rules) *rules {
	content = bytes.TrimPrefix(content, []byte("\uFEFF"))
	r := &rules{above: above, base: base}
	for line := range bytes.Lines(content) {
		if p, ok := parsePattern(string(line)); ok {
			r.patterns = append(r.patterns, p)
		}
	}
	if len(r.patterns) == 0 {
		return above
	}
	return r
}

func parsePattern(line string) (p ignorePattern, ok bool) {
	line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
	if strings.HasPrefix(line, "#") {
		return p, false
	}
	line = trimSpaces(line)
	line, p.negated = strings.CutPrefix(line, "!")
	line, p.dirOnly = strings.CutSuffix(line, "/")
	p.whole = strings.Contains(line, "/")
	line = strings.TrimPrefix(line, "/")
	if p.text, ok = translate(line, p.whole); !ok || line == "" {
		return p, false
	}
	const special = `*?[\`
	if !strings.ContainsAny(p.text, special) {
		p.kind = patternExact
	} else if rest, star := strings.CutPrefix(p.text, "*"); star && !p.whole && !strings.ContainsAny(rest, special) {
		p.text, p.kind = rest, patternSuffix
	}
	return p, true
}

// trimSpaces removes spaces at the end, but for one after a backslash.
func trimSpaces(line string) string {
	trimmed := strings.TrimRight(line, " ")
	if backslashes := len(trimmed) - len(strings.TrimRight(trimmed, `\`)); backslashes%2 == 1 && trimmed != line {
		trimmed += " "
	}
	return trimmed
}

// translate makes a pattern of doublestar out of one of git, in which braces have
// no meaning and "x/**" does not stand for "x".
func translate(pattern string, whole bool) (string, bool) {
	var out strings.Builder
	for i := 0; i < len(pattern); i++ {
		switch c := pattern[i]; c {
		case '\\':
			if i++; i == len(pattern) {
				return "", false
			}
			out.WriteByte('\\')
			out.WriteByte(pattern[i])
		case '[':
			end, ok := translateClass(&out, pattern, i)
			if !ok {
				return "", false
			}
			i = end
		case '{', '}':
			out.WriteByte('\\')
			out.WriteByte(c)
		case '*':
			end := i
			for end < len(pattern) && pattern[end] == '*' {
				end++
			}
			stars := "*"
			if whole && end-i == 2 && (i == 0 || pattern[i-1] == '/') && (end == len(pattern) || pattern[end] == '/') {
				stars = "**"
				if end == len(pattern) {
					stars = "**/*"
				}
			}
			out.WriteString(stars)
			i = end - 1
		default:
			out.WriteByte(c)
		}
	}
	return out.String(), doublestar.ValidatePattern(out.String())
}

// translateClass writes the class that begins at an index and returns where it
// ends.
func translateClass(out *strings.Builder, pattern string, i int) (end int, ok bool) {
	out.WriteByte('[')
	if i++; i < len(pattern) && (pattern[i] == '!' || pattern[i] == '^') {
		out.WriteString("^/") // doublestar lets a negated class match a slash
		i++
	}
	for first := i; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == ']' && i > first:
			out.WriteByte(']')
			return i, true
		case c == '\\' && i+1 < len(pattern):
			i++
			out.WriteByte('\\')
			out.WriteByte(pattern[i])
		case c == '[' && strings.HasPrefix(pattern[i:], "[:"):
			name, _, closed := strings.Cut(pattern[i+2:], ":]")
			characters, known := posixClass(name)
			if !closed || !known {
				return 0, false
			}
			out.WriteString(characters)
			i += len("[:") + len(name) + len(":]") - 1
		case c == ']' || c == '[' || c == '^' || c == '!':
			out.WriteByte('\\')
			out.WriteByte(c)
		default:
			out.WriteByte(c)
		}
	}
	return 0, false
}

// posixClass is what a named class stands for (POSIX.1-2017, 7.3.1, the POSIX
// locale).
func posixClass(name string) (characters string, known bool) {
	switch name {
	case "alnum":
		return "a-zA-Z0-9", true
	case "alpha":
		return "a-zA-Z", true
	case "blank":
		return " \t", true
	case "cntrl":
		return "\x01-\x1f\x7f", true
	case "digit":
		return "0-9", true
	case "graph":
		return "\x21-\x7e", true
	case "lower":
		return "a-z", true
	case "print":
		return "\x20-\x7e", true
	case "punct":
		return `!-/:-@\[-` + "`{-~", true
	case "space":
		return " \t\n\v\f\r", true
	case "upper":
		return "A-Z", true
	case "xdigit":
		return "0-9A-Fa-f", true
	}
	return "", false
}

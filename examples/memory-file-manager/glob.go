package main

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

const maxGlob = 1024 // bytes

// globs are patterns of which a path has to match one; none match all paths.
type globs []*regexp.Regexp

// compileGlobs compiles patterns; empty ones are left out.
func compileGlobs(texts ...string) (globs, error) {
	var all globs
	for _, text := range texts {
		if text == "" {
			continue
		}
		pattern, err := compileGlob(text)
		if err != nil {
			return nil, err
		}
		all = append(all, pattern)
	}
	return all, nil
}

func (g globs) match(path string) bool { return len(g) == 0 || g.matchAny(path) }

func (g globs) matchAny(path string) bool {
	for _, pattern := range g {
		if pattern.MatchString(path) {
			return true
		}
	}
	return false
}

// compileGlob makes a regular expression of a pattern: "*" and "?" within a part, "**"
// for any number of parts, "[a-z]", "{a,b}", and a backslash before what is meant as it is.
func compileGlob(text string) (*regexp.Regexp, error) {
	if len(text) > maxGlob {
		return nil, fmt.Errorf("%.100q has %d bytes, at most %d are allowed", text, len(text), maxGlob)
	}
	var b strings.Builder
	b.WriteString(`(?s)\A`)
	braces := 0
	for rest := text; rest != ""; {
		var taken, regex string
		switch {
		case strings.HasPrefix(rest, "**/"):
			taken, regex = "**/", `(?:[^/]+/)*`
		case strings.HasPrefix(rest, "**"):
			taken, regex = "**", `.*`
		case rest[0] == '*':
			taken, regex = "*", `[^/]*`
		case rest[0] == '?':
			taken, regex = "?", `[^/]`
		case rest[0] == '[':
			end := strings.IndexByte(rest[1:], ']')
			if end < 1 {
				return nil, fmt.Errorf("%.100q has a \"[\" without \"]\"", text)
			}
			taken = rest[:end+2]
			class := strings.ReplaceAll(taken[1:end+1], `\`, `\\`)
			if class[0] == '!' {
				class = "^" + class[1:]
			}
			regex = "[" + strings.ReplaceAll(class, "[", `\[`) + "]"
		case rest[0] == '{':
			taken, regex = "{", "(?:"
			braces++
		case rest[0] == ',' && braces > 0:
			taken, regex = ",", "|"
		case rest[0] == '}' && braces > 0:
			taken, regex = "}", ")"
			braces--
		case rest[0] == '\\' && len(rest) > 1:
			taken, regex = rest[:2], regexp.QuoteMeta(rest[1:2])
		default:
			taken, regex = rest[:1], regexp.QuoteMeta(rest[:1])
		}
		b.WriteString(regex)
		rest = rest[len(taken):]
	}
	if braces > 0 {
		return nil, fmt.Errorf("%.100q has a \"{\" without \"}\"", text)
	}
	b.WriteString(`\z`)
	pattern, err := regexp.Compile(b.String())
	if err != nil {
		return nil, errors.New("it is no pattern: " + err.Error())
	}
	return pattern, nil
}

package cache

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// longest is the largest delta of seconds that is told apart from others:
// RFC 9111, 1.2.2.
const longest = (1<<31 - 1) * time.Second

// directives are those of a Cache-Control header by name in lower case. Of one
// that is given twice the first counts (RFC 9111, 4.2.1).
type directives map[string]string

func parseDirectives(headers http.Header) directives {
	lines := headers["Cache-Control"]
	if len(lines) == 0 {
		return nil
	}
	found := directives{}
	for _, line := range lines {
		for line != "" {
			var name, value string
			name, value, line = cutDirective(line)
			if _, twice := found[name]; name != "" && !twice {
				found[name] = value
			}
		}
	}
	return found
}

// cutDirective takes the first directive off line: `a=b` or `a="b, c"`.
func cutDirective(line string) (name, value, rest string) {
	end := strings.IndexAny(line, ",=")
	if end < 0 {
		return strings.ToLower(strings.TrimSpace(line)), "", ""
	}
	name = strings.ToLower(strings.TrimSpace(line[:end]))
	if line[end] == ',' {
		return name, "", line[end+1:]
	}
	line = line[end+1:]
	if trimmed := strings.TrimLeft(line, " \t"); strings.HasPrefix(trimmed, `"`) {
		value, line = cutQuoted(trimmed[1:])
		_, rest, _ = strings.Cut(line, ",")
		return name, value, rest
	}
	value, rest, _ = strings.Cut(line, ",")
	return name, strings.TrimSpace(value), rest
}

// cutQuoted reads a quoted string, whose first quote has been read.
func cutQuoted(text string) (value, rest string) {
	var plain strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case text[i] == '"':
			return plain.String(), text[i+1:]
		case text[i] == '\\' && i+1 < len(text):
			i++
		}
		plain.WriteByte(text[i])
	}
	return plain.String(), ""
}

func (d directives) has(name string) bool {
	_, is := d[name]
	return is
}

// seconds returns the time that a directive gives. One that is not a number is
// 0s: what cannot be read makes nothing fresh (RFC 9111, 4.2.1).
func (d directives) seconds(name string) (value time.Duration, is bool) {
	text, is := d[name]
	if !is {
		return 0, false
	}
	value, _ = parseSeconds(text)
	return value, true
}

// names returns the header names in lists, canonical.
func names(lists []string) []string {
	var all []string
	for _, list := range lists {
		for name := range strings.SplitSeq(list, ",") {
			if name = strings.TrimSpace(name); name != "" {
				all = append(all, http.CanonicalHeaderKey(name))
			}
		}
	}
	return all
}

// parseSeconds reads a delta of seconds, digits only; what is too large for
// anybody is the largest.
func parseSeconds(text string) (time.Duration, bool) {
	if text == "" || strings.Trim(text, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseUint(text, 10, 31)
	if err != nil {
		return longest, true
	}
	return time.Duration(n) * time.Second, true
}

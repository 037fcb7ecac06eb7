package search

import (
	"bytes"
	"regexp/syntax"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// literal is a text that bytes.Index finds at the speed of memory, which is 10 to
// 100 times that of a regular expression.
type literal struct {
	text string
	fold bool // in any case; text is ASCII and in lower case then
}

// literals are alternatives. None means that nothing is known.
type literals []literal

// maxAlternatives bounds how often a text is gone through; with more, the regular
// expression itself is about as fast.
const maxAlternatives = 8

// requiredLiterals finds texts of which one is in everything that a valid regular
// expression matches.
func requiredLiterals(expression string) literals {
	re, err := syntax.Parse(expression, syntax.Perl)
	if err != nil {
		return nil
	}
	found := required(re.Simplify())
	for _, l := range found {
		if strings.Contains(l.text, "\n") {
			return nil // in no line; a rare mistake is not worth a special case
		}
	}
	return found
}

func required(re *syntax.Regexp) literals {
	switch re.Op {
	case syntax.OpLiteral:
		return ofRunes(re.Rune, re.Flags&syntax.FoldCase != 0)
	case syntax.OpCapture, syntax.OpPlus:
		return required(re.Sub[0])
	case syntax.OpRepeat:
		if re.Min > 0 {
			return required(re.Sub[0])
		}
	case syntax.OpConcat:
		var best literals
		for _, sub := range re.Sub {
			if some := required(sub); some.worth() > best.worth() {
				best = some
			}
		}
		return best
	case syntax.OpAlternate:
		var all literals
		for _, sub := range re.Sub {
			some := required(sub)
			if all = append(all, some...); len(some) == 0 || len(all) > maxAlternatives {
				return nil
			}
		}
		return all
	default:
	}
	return nil
}

// ofRunes makes a literal. In one of any case only the longest run of runes
// counts that are of one byte in both cases: "k" has a third one, U+212A.
func ofRunes(runes []rune, fold bool) literals {
	if slices.Contains(runes, utf8.RuneError) {
		return nil // matches any byte that is no UTF-8
	}
	if !fold {
		return literals{{text: string(runes)}}
	}
	var best, run []byte
	for _, r := range runes {
		if run = append(run, byte(unicode.ToLower(r))); !foldsWithinASCII(r) { //nolint:gosec // G115: or it is forgotten
			run = nil
		}
		if len(run) > len(best) {
			best = run
		}
	}
	if best == nil {
		return nil
	}
	return literals{{text: string(best), fold: true}}
}

func foldsWithinASCII(r rune) bool {
	for other := unicode.SimpleFold(r); ; other = unicode.SimpleFold(other) {
		if other >= utf8.RuneSelf {
			return false
		}
		if other == r {
			return true
		}
	}
}

// worth is how much a search for the literals saves: the length of the shortest.
func (l literals) worth() int {
	if len(l) == 0 {
		return 0
	}
	worth := len(l[0].text)
	for _, one := range l[1:] {
		worth = min(worth, len(one.text))
	}
	return worth
}

// finder looks for literals in one text, from left to right.
type finder struct {
	literals literals
	text     []byte
	next     []int // where each literal is found next; len(text) if nowhere
}

func newFinder(l literals, text []byte) finder {
	f := finder{literals: l, text: text, next: make([]int, len(l))}
	for i := range f.next {
		f.next[i] = -1
	}
	return f
}

// from returns where the first literal at or after an index begins, or -1.
func (f *finder) from(at int) int {
	first := len(f.text)
	for i, l := range f.literals {
		if f.next[i] < at {
			f.next[i] = len(f.text)
			if found := l.index(f.text[at:]); found >= 0 {
				f.next[i] = at + found
			}
		}
		first = min(first, f.next[i])
	}
	if first == len(f.text) {
		return -1
	}
	return first
}

func (l literal) index(text []byte) int {
	if !l.fold {
		return bytes.Index(text, []byte(l.text))
	}
	return indexFold(text, l.text)
}

// indexFold finds a lower-case ASCII text in any case. It looks for the byte of
// the text that is rarest in most files, in both cases.
func indexFold(text []byte, lower string) int {
	offset := rarest(lower)
	c := lower[offset]
	C := c
	if 'a' <= c && c <= 'z' {
		C = c - 'a' + 'A'
	}
	small, large := -1, -1 // where c and C are next
	for at := offset; at < len(text); {
		small = advance(text, small, at, c)
		large = advance(text, large, at, C)
		found := min(small, large)
		if begin := found - offset; begin+len(lower) > len(text) {
			return -1
		} else if equalFold(text[begin:begin+len(lower)], lower) {
			return begin
		}
		at = found + 1
	}
	return -1
}

// advance returns where c is found next at or after an index, len(text) if
// nowhere. It looks only if the place where it was found before lies behind.
func advance(text []byte, before, at int, c byte) int {
	if before >= at {
		return before
	}
	if i := bytes.IndexByte(text[at:], c); i >= 0 {
		return at + i
	}
	return len(text)
}

func equalFold(text []byte, lower string) bool {
	for i, c := range text {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// rarest returns the index of the byte that is rarest in English and in code.
func rarest(text string) int {
	const frequent = "zqjxkvwybghfmpducl_.snrioat e" // from rare to frequent; others are rarer still
	best := 0
	for i := range len(text) {
		if strings.IndexByte(frequent, text[i]) < strings.IndexByte(frequent, text[best]) {
			best = i
		}
	}
	return best
}

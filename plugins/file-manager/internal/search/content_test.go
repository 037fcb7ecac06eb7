package search

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// slowly finds matches the plain way: all lines, one after the other.
func slowly(text []byte, re *regexp.Regexp, context int) []Match {
	lines := bytes.Split(bytes.TrimSuffix(text, []byte{'\n'}), []byte{'\n'})
	if len(text) == 0 {
		return nil
	}
	clipped := make([]string, len(lines))
	for i := range lines {
		lines[i] = bytes.TrimSuffix(lines[i], []byte{'\r'})
		clipped[i] = clip(lines[i])
	}
	var all []Match
	for i, line := range lines {
		if at := re.FindIndex(line); at != nil {
			all = append(all, Match{
				Line: uint64(i + 1), Column: uint32(at[0] + 1), Text: clipped[i],
				Before: slices.Clone(clipped[max(0, i-context):i]), After: slices.Clone(clipped[i+1 : min(len(lines), i+1+context)]),
			})
		}
	}
	return all
}

func TestAnyTextIsSearchedAsLineByLine(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	words := []string{"foo", "Foo", "FOO", "bar", "\u212Aelvin", "kelvin", "ſun", "Sun", "x", " ", "\n", "\n\n", "\r\n", "\xff", "ä", "barfoo", "qux", "_"}
	expressions := []string{
		"foo", "(?i)foo", "foo|bar", "(?i)kelvin|qux", "(?i)sun", "f+o*bar", "(foo)+ ", "^x", "x$", "x*", "[^a-z]ba", `\bfoo\b`, "ba{2,}r|q", ".", "(?i)b(a|x)r?_",
		"\uFFFD", `(?s)foo.bar`, "foo\nbar", "(?:ab)?c|x{0}", "(?i)ä",
	}
	for round := range 300 {
		var text []byte
		for range random.IntN(400) {
			text = append(text, words[random.IntN(len(words))]...)
		}
		expression := expressions[round%len(expressions)]
		context := random.IntN(4)
		m, err := newMatcher(expression, random.IntN(4) == 0)
		if err != nil {
			t.Fatal(err)
		}
		s := scanner{matcher: m, context: context, window: make([]byte, 0, 1+random.IntN(64))} // so that it is filled often
		var source io.Reader = bytes.NewReader(text)
		if random.IntN(2) == 0 {
			source = iotest.HalfReader(source)
		}
		var got []Match
		if err := s.scan(t.Context(), source, func(m Match) error {
			got = append(got, m)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		want := slowly(text, m.re, context)
		equal := cmp.Comparer(func(a, b []string) bool { return slices.Equal(a, b) })
		if diff := cmp.Diff(want, got, equal); diff != "" {
			t.Fatalf("%q with context %d in %q (-want +got):\n%s", m.re, context, text, diff)
		}
	}
}

func TestTheAutomatonAgreesWithTheExpression(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pieces := []string{"a", "b", "ab", "[a-c]", "[^a]", ".", `\w`, `\b`, `\B`, "^", "$", `\A`, `\z`, "(a|b)", "(?:a|bc)*", "(?i)C", "x{2,3}", "c+?", "(?m)^a", "1", " ", `\s`, `\d`, "(|a)"}
	letters := "abcxABC1 _-"
	for range 20_000 {
		var expression strings.Builder
		for range 1 + random.IntN(5) {
			expression.WriteString(pieces[random.IntN(len(pieces))])
			if random.IntN(6) == 0 {
				expression.WriteByte('|')
			}
		}
		re, err := regexp.Compile(expression.String())
		if err != nil {
			continue
		}
		a := newAutomaton(expression.String())
		for range 5 {
			line := make([]byte, random.IntN(10))
			for i := range line {
				line[i] = letters[random.IntN(len(letters))]
			}
			if got, want := a.mayMatch(line), re.Match(line); got != want {
				t.Fatalf("%q on %q: %v, want %v", expression.String(), line, got, want)
			}
		}
	}
}

func TestAnAutomatonThatGrowsTooLargeGivesUp(t *testing.T) {
	const expression = "[ab]*a[ab]{30}c" // has 2^30 states
	a, re := newAutomaton(expression), regexp.MustCompile(expression)
	random := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		line := make([]byte, 1000)
		for i := range line {
			line[i] = "abababc"[random.IntN(7)]
		}
		if !a.mayMatch(line) && re.Match(line) {
			t.Fatalf("%q is missed", line)
		}
		if len(a.states) > maxStates {
			t.Fatalf("%d states", len(a.states))
		}
	}
}

func TestRequiredLiterals(t *testing.T) {
	for expression, want := range map[string]string{
		"hello":               "hello",
		`func\s+\w+Handler\(`: "Handler(",
		"(?i)Hello":           "hello~",
		"(?i)task":            "ta~", // s and k have a third case
		"error|warning":       "error warning",
		"(error|warn)s+":      "error warn",
		"a?b*":                "",
		"x|y*":                "",
		"(abc){2,}":           "abc",
		"[0-9]+":              "",
	} {
		var got []string
		for _, l := range requiredLiterals(expression) {
			text := l.text
			if l.fold {
				text += "~"
			}
			got = append(got, text)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q requires %q, want %q", expression, got, want)
		}
	}
}

func TestAReadErrorEndsAFile(t *testing.T) {
	m, _ := newMatcher("x", false)
	s := scanner{matcher: m}
	broken := errors.New("broken")
	err := s.scan(t.Context(), io.MultiReader(strings.NewReader("x\n"), iotest.ErrReader(broken)), func(Match) error { return nil })
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

func TestClippedTextIsValidAndShort(t *testing.T) {
	for _, line := range []string{strings.Repeat("ä", 3000), strings.Repeat("a", 4095) + "ä", strings.Repeat("\xff", 9000), "\xffa\xfe"} {
		got := clip([]byte(line))
		if len(got) > maxText || got != strings.ToValidUTF8(got, "") {
			t.Errorf("clip(%.10q…) has %d bytes", line, len(got))
		}
	}
}

func BenchmarkScan(b *testing.B) {
	var text []byte
	for i := range 20_000 {
		text = fmt.Appendf(text, "line %d of a file with the Quick brown fox and some of its code: func do%d() {}\n", i, i)
	}
	for _, expression := range []string{"needle", "(?i)needle", "needle|haystack", `n[a-z]+dle\d`, `\w+needle\s`, "[0-9]{9}"} {
		m, err := newMatcher(expression, false)
		if err != nil {
			b.Fatal(err)
		}
		s := scanner{matcher: m}
		b.Run(expression, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				if err := s.scan(b.Context(), bytes.NewReader(text), func(Match) error { return nil }); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

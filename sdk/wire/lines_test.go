package wire

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// linesOf cuts text, which arrives in pieces that end at the given places.
func linesOf(text string, cuts ...int) (lines []string) {
	w := lineWriter{emit: func(line []byte) { lines = append(lines, string(line)) }}
	slices.Sort(cuts)
	done := 0
	for _, cut := range append(cuts, len(text)) {
		cut = min(max(cut, done), len(text))
		_, _ = w.Write([]byte(text[done:cut]))
		done = cut
	}
	w.flush()
	return lines
}

func TestLinesAreCutAtTheirEndsAndAt64KiB(t *testing.T) {
	full := strings.Repeat("x", maxLine)
	tests := []struct {
		name  string
		given string
		want  []string
	}{
		{"nothing", "", nil},
		{"an empty line", "\n", []string{""}},
		{"two lines", "a\nb\n", []string{"a", "b"}},
		{"an unfinished line", "a\nb", []string{"a", "b"}},
		{"lines of DOS", "a\r\n\r\nb\r", []string{"a", "", "b"}},
		{"a carriage return within", "a\rb\n", []string{"a\rb"}},
		{"the longest line", full + "\nb\n", []string{full, "b"}},
		{"a longer line", full + "y\nb\n", []string{full, "b"}},
		{"a much longer line", full + full + full + "y\nb\n", []string{full, "b"}},
		{"an unfinished longer line", full + "y", []string{full}},
		{"the longest line of DOS", full + "\r\nb\n", []string{full, "b"}},
		{"an empty line after a longer line", full + "y\n\nb\n", []string{full, "", "b"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, cuts := range [][]int{nil, {1}, {len(test.given) / 2}, {len(test.given) - 1}, {maxLine}, {maxLine - 1, maxLine + 1}, {maxLine + 1, maxLine + 2}} {
				if got := linesOf(test.given, cuts...); !slices.Equal(got, test.want) {
					t.Errorf("cut at %v: got %.60q, want %.60q", cuts, got, test.want)
				}
			}
		})
	}
}

func FuzzLinesDoNotDependOnHowTheyArrive(f *testing.F) {
	f.Add("one\ntwo\r\n\nthree", 3, 7, 0)
	f.Add("\r\r\n\n", 1, 2, maxLine-1)
	f.Add("\r\nafter", 0, maxLine, maxLine)
	f.Add("y\n", maxLine, maxLine+1, maxLine+1)
	f.Fuzz(func(t *testing.T, text string, first, second, stretch int) {
		text = strings.Repeat("x", min(max(stretch, 0), 3*maxLine)) + text
		var want []string
		for line := range strings.SplitAfterSeq(text, "\n") {
			if line != "" {
				line = strings.TrimSuffix(line, "\n")
				want = append(want, strings.TrimSuffix(line[:min(len(line), maxLine)], "\r"))
			}
		}
		if got := linesOf(text, first, second); !slices.Equal(got, want) {
			t.Errorf("cut at %d and %d: got %.60q, want %.60q", first, second, got, want)
		}
	})
}

func TestATailKeepsTheLastLinesAndTheBeginningOfACrash(t *testing.T) {
	tests := []struct {
		name      string
		before    []string // more than a tail has room for comes after
		wantFirst string
		wantWords string
	}{
		{"no crash", []string{"hello"}, "line 10", "line 29"},
		{"a panic", []string{"hello", "panic: oh"}, "panic: oh", "panic: oh"},
		{"a fatal error", []string{"fatal error: all goroutines are asleep"}, "fatal error: all goroutines are asleep", "fatal error: all goroutines are asleep"},
		{"two panics", []string{"panic: oh", "panic: no"}, "panic: no", "panic: no"},
		{"talk of a panic", []string{"http: panic: oh"}, "line 10", "line 29"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var kept tail
			for _, line := range test.before {
				kept.add([]byte(line))
			}
			for i := range 30 {
				kept.add(fmt.Appendf(nil, "line %d", i))
			}
			got := kept.copy()
			if len(got) != tailLines || got[0] != test.wantFirst || got[tailLines-1] != "line 29" {
				t.Errorf("got %q, want %d lines from %q to %q", got, tailLines, test.wantFirst, "line 29")
			}
			if got := lastWords(got); got != test.wantWords {
				t.Errorf("last words: got %q, want %q", got, test.wantWords)
			}
		})
	}
	if got := lastWords(nil); got != "" {
		t.Errorf("last words of nobody: got %q", got)
	}
}

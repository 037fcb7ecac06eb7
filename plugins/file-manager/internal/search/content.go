package search

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

const (
	firstWindow = 128 << 10 // holds most files as a whole
	maxWindow   = 1 << 20   // and so the longest line
	sniffed     = 8 << 10   // bytes in which a NUL makes a file binary
	maxText     = 4096      // bytes of a line that are reported
)

var (
	errBinary   = errors.New("binary")
	errLongLine = errors.New("a line is longer than 1 MiB")
)

// scanner looks for matching lines in one file after the other. It holds a window
// of whole lines in memory, never more than maxWindow. It is for one goroutine.
type scanner struct {
	matcher *matcher
	quick   *automaton
	context int // lines

	source  io.Reader
	found   func(Match) error
	window  []byte
	at      int    // where in the window the lines begin that were not looked at
	lines   uint64 // how many lines there are in the file before counted
	counted int    // where in the window
	eof     bool
	waiting []Match // have not all lines after them yet
}

// scan calls found for each line of a file that matches, in order. It ends with
// the error of found, errBinary, errLongLine or that of reading.
func (s *scanner) scan(ctx context.Context, source io.Reader, found func(Match) error) error {
	if s.window == nil {
		s.window = make([]byte, 0, firstWindow)
	}
	if s.quick == nil {
		s.quick = newAutomaton(s.matcher.text)
	}
	*s = scanner{matcher: s.matcher, quick: s.quick, context: s.context, window: s.window[:0], source: source, found: found}
	if err := s.fill(sniffed); err != nil {
		return err
	}
	if bytes.IndexByte(s.window[:min(len(s.window), sniffed)], 0) >= 0 {
		return errBinary
	}
	for {
		whole := len(s.window)
		if !s.eof {
			whole = s.at + bytes.LastIndexByte(s.window[s.at:], '\n') + 1
		}
		if err := s.region(whole); err != nil {
			return err
		}
		if s.eof {
			return s.report(len(s.waiting))
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.fill(1); err != nil {
			return err
		}
	}
}

// fill reads at least some bytes, unless the file ends before.
func (s *scanner) fill(atLeast int) error {
	for read := 0; read < atLeast && !s.eof; {
		if err := s.makeRoom(); err != nil {
			return err
		}
		n, err := s.source.Read(s.window[len(s.window):cap(s.window)])
		s.window = s.window[:len(s.window)+n]
		read += n
		if s.eof = errors.Is(err, io.EOF); err != nil && !s.eof {
			return err
		}
	}
	return nil
}

// makeRoom forgets what was looked at, but for the lines that may come before a
// match, and makes the window larger if that is not enough.
func (s *scanner) makeRoom() error {
	keep := s.at
	for range s.context {
		if keep == 0 {
			break
		}
		keep = bytes.LastIndexByte(s.window[:keep-1], '\n') + 1
	}
	if len(s.window)-keep >= maxWindow {
		if keep = s.at; len(s.window)-keep >= maxWindow {
			return errLongLine
		}
	}
	s.count(s.at)
	size := cap(s.window)
	if len(s.window)-keep > size/2 {
		size = min(2*size, maxWindow)
	}
	target := s.window[:0]
	if size > cap(s.window) {
		target = make([]byte, 0, size)
	}
	s.window = append(target, s.window[keep:]...)
	s.at -= keep
	s.counted -= keep
	return nil
}

// count moves the place up to which lines are counted.
func (s *scanner) count(to int) {
	s.lines += uint64(bytes.Count(s.window[s.counted:to], []byte{'\n'})) //nolint:gosec // G115: a count
	s.counted = to
}

// region looks at the lines from s.at to an index.
func (s *scanner) region(end int) error {
	if err := s.complete(end); err != nil {
		return err
	}
	candidates := newFinder(s.matcher.required, s.window[:end])
	for s.at < end {
		begin := s.at
		if len(s.matcher.required) > 0 {
			if begin = candidates.from(s.at); begin < 0 {
				break
			}
			begin = s.at + bytes.LastIndexByte(s.window[s.at:begin], '\n') + 1
		}
		line, next := s.line(begin, end)
		if s.quick.mayMatch(line) {
			if found := s.matcher.re.FindIndex(line); found != nil {
				if err := s.match(begin, next, end, found[0]); err != nil {
					return err
				}
			}
		}
		s.at = next
	}
	s.at = end
	return nil
}

// line returns the line at an index without its end, and where the next begins.
func (s *scanner) line(begin, end int) (line []byte, next int) {
	next = end
	if i := bytes.IndexByte(s.window[begin:end], '\n'); i >= 0 {
		next = begin + i + 1
	}
	line = bytes.TrimSuffix(s.window[begin:next], []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'}), next
}

// match adds a match to those that wait, and reports those that wait no more.
func (s *scanner) match(begin, next, end, column int) error {
	s.count(begin)
	line, _ := s.line(begin, next)
	m := Match{Line: s.lines + 1, Column: uint32(column + 1), Text: clip(line)} //nolint:gosec // G115: a line has at most 1 MiB
	for before := begin; before > 0 && len(m.Before) < s.context; {
		start := bytes.LastIndexByte(s.window[:before-1], '\n') + 1
		line, _ := s.line(start, before)
		m.Before = append(m.Before, clip(line))
		before = start
	}
	slices.Reverse(m.Before)
	s.waiting = append(s.waiting, m)
	return s.after(len(s.waiting)-1, next, end)
}

// complete gives those that wait the lines that follow the last region.
func (s *scanner) complete(end int) error {
	for at := s.at; at < end && len(s.waiting) > 0; {
		line, next := s.line(at, end)
		text := clip(line)
		done := 0
		for i := range s.waiting {
			s.waiting[i].After = append(s.waiting[i].After, text)
			if len(s.waiting[i].After) == s.context {
				done = i + 1
			}
		}
		if err := s.report(done); err != nil {
			return err
		}
		at = next
	}
	return nil
}

// after gives a match the lines after it as far as they are there. It is
// reported if they are, and all before it are.
func (s *scanner) after(i, at, end int) error {
	m := &s.waiting[i]
	for at < end && len(m.After) < s.context {
		var line []byte
		line, at = s.line(at, end)
		m.After = append(m.After, clip(line))
	}
	if len(m.After) < s.context {
		return nil
	}
	return s.report(i + 1)
}

// report hands over the first of those that wait.
func (s *scanner) report(n int) error {
	for _, m := range s.waiting[:n] {
		if err := s.found(m); err != nil {
			return err
		}
	}
	s.waiting = append(s.waiting[:0], s.waiting[n:]...)
	return nil
}

// clip makes text of a line: valid UTF-8, cut between two characters.
func clip(line []byte) string {
	line = line[:min(len(line), maxText+utf8.UTFMax)]
	text := strings.ToValidUTF8(string(line), "\uFFFD")
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end]
}

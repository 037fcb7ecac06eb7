package wire

import (
	"bytes"
	"slices"
	"strings"
	"sync"
)

const (
	// maxLine is the longest line that is passed on; the rest of a longer one
	// is dropped, so that output without line ends cannot grow memory.
	maxLine = 64 << 10
	// tailLines is how much of a process's output is kept for the report of
	// its death.
	tailLines = 20
)

// lineWriter cuts what is written to it into lines. Not safe for concurrent
// use.
type lineWriter struct {
	emit    func(line []byte) // without line end; valid during the call
	partial []byte            // an unfinished line, at most maxLine
	skip    bool              // the rest of a line that was too long
}

// Write never fails and never blocks longer than emit does.
func (w *lineWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			w.add(p)
			break
		}
		if len(w.partial) == 0 && !w.skip && i <= maxLine {
			w.emit(trimCR(p[:i]))
		} else {
			w.add(p[:i])
			w.flush()
			w.skip = false
		}
		p = p[i+1:]
	}
	return n, nil
}

// add appends to the unfinished line and passes it on when it is full.
func (w *lineWriter) add(p []byte) {
	if w.skip {
		return
	}
	room := maxLine - len(w.partial)
	if len(p) <= room {
		w.partial = append(w.partial, p...)
		return
	}
	w.partial = append(w.partial, p[:room]...)
	w.flush()
	w.skip = true
}

// flush passes on an unfinished line, if there is one.
func (w *lineWriter) flush() {
	if len(w.partial) > 0 {
		w.emit(trimCR(w.partial))
		w.partial = w.partial[:0]
	}
}

func trimCR(line []byte) []byte { return bytes.TrimSuffix(line, []byte{'\r'}) }

// tail keeps the last lines of a process's output and, however far back, the
// one with which a Go program begins to tell of its crash. Safe for concurrent
// use.
type tail struct {
	mu    sync.Mutex
	lines []string // oldest first, at most tailLines
}

func (t *tail) add(line []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.lines) == tailLines {
		oldest := 0
		if isCrash(t.lines[0]) && !isCrash(t.lines[1]) {
			oldest = 1
		}
		t.lines = slices.Delete(t.lines, oldest, oldest+1)
	}
	t.lines = append(t.lines, string(line))
}

func (t *tail) copy() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.lines)
}

// isCrash reports whether Go's runtime writes such a line before the stacks.
func isCrash(line string) bool {
	return strings.HasPrefix(line, "panic: ") || strings.HasPrefix(line, "fatal error: ")
}

// lastWords is the line of a tail that most likely says why the process ended:
// the beginning of a crash, or else the last one.
func lastWords(tail []string) string {
	for _, line := range slices.Backward(tail) {
		if isCrash(line) {
			return line
		}
	}
	if len(tail) == 0 {
		return ""
	}
	return tail[len(tail)-1]
}

package proctest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Patience bounds what a test waits for; it fails earlier than go test ends it.
const Patience = 20 * time.Second

// Link gives this test's binary another name.
func Link(tb testing.TB, name string) string {
	tb.Helper()
	binary, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	path := filepath.Join(tb.TempDir(), name)
	if err := os.Symlink(binary, path); err != nil {
		tb.Fatal(err)
	}
	return path
}

// Transcript is what a process has written so far. Safe for concurrent use.
type Transcript struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{} // closed, and replaced, by every line
}

// NewTranscript returns an empty one.
func NewTranscript() *Transcript { return &Transcript{more: make(chan struct{})} }

// Add takes a line, as wire.Command.Output gives it.
func (s *Transcript) Add(_ int, line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, string(line))
	close(s.more)
	s.more = make(chan struct{})
}

// Await waits for a line that contains text and returns what follows it there.
func (s *Transcript) Await(tb testing.TB, text string) string {
	tb.Helper()
	timer := time.NewTimer(Patience)
	defer timer.Stop()
	for seen := 0; ; {
		s.mu.Lock()
		lines, more := s.lines[seen:], s.more
		s.mu.Unlock()
		for _, line := range lines {
			if _, after, ok := strings.Cut(line, text); ok {
				return after
			}
		}
		seen += len(lines)
		select {
		case <-more:
		case <-timer.C:
			tb.Fatalf("no line with %q within %v", text, Patience)
		}
	}
}

// Lines returns the lines so far.
func (s *Transcript) Lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

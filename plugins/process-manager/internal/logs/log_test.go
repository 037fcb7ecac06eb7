package logs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// openLog opens the log "p" of a store, and closes it at the end of the test.
func openLog(t *testing.T, s *Store, p Policy) *Log {
	t.Helper()
	l, err := s.Open("p", p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// read is all that a log holds from somewhere on, and what the first chunk says.
func read(t *testing.T, l *Log, from From) (string, Chunk) {
	t.Helper()
	var all bytes.Buffer
	var first Chunk
	if err := l.Read(t.Context(), from, false, func(c Chunk) error {
		if all.Len() == 0 {
			first = c
			first.Content = nil
		}
		all.Write(c.Content)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all.String(), first
}

func write(t *testing.T, l *Log, s string) {
	t.Helper()
	if n, err := l.Write([]byte(s)); n != len(s) || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
}

// waitFor waits until something holds that nobody tells of.
func waitFor(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(20 * time.Second); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// capturing lets a log capture a pipe, and returns its write end and what waits for
// the end of the capture.
func capturing(ctx context.Context, t *testing.T, l *Log) (*os.File, func() error) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- l.Capture(ctx, r) }()
	t.Cleanup(func() { w.Close() })
	return w, func() error { return <-done }
}

func TestWhatComesFromAPipeIsInTheLog(t *testing.T) {
	for _, slow := range []Slow{Block, Drop, Spill} {
		l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 10, WhenSlow: slow})
		w, wait := capturing(t.Context(), t, l)
		for _, s := range []string{"a line\n", "another line of some length\n", "end"} {
			if _, err := w.WriteString(s); err != nil {
				t.Fatal(err)
			}
		}
		w.Close()
		if err := wait(); err != nil {
			t.Fatal(err)
		}
		got, _ := read(t, l, From{})
		if d := cmp.Diff("a line\nanother line of some length\nend", got); d != "" {
			t.Error(d)
		}
	}
}

func TestACaptureEndsWithItsContextOrTheLog(t *testing.T) {
	for _, slow := range []Slow{Block, Drop, Spill} {
		l := openLog(t, NewStore(t.TempDir(), 0), Policy{WhenSlow: slow})
		ctx, cancel := context.WithCancel(t.Context())
		_, wait := capturing(ctx, t, l)
		cancel()
		if err := wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("with its context: %v", err)
		}
		_, wait = capturing(t.Context(), t, l)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if err := wait(); !errors.Is(err, ErrClosed) {
			t.Errorf("with its log: %v", err)
		}
		if _, err := l.Write([]byte("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("a write after the end: %v", err)
		}
	}
}

func TestALogGoesOnWhereItEnded(t *testing.T) {
	s := NewStore(t.TempDir(), 0)
	for _, piece := range []string{"one ", "two ", "three"} {
		l := openLog(t, s, Policy{SegmentSize: 5})
		write(t, l, piece)
		l.Close()
	}
	l := openLog(t, s, Policy{})
	if got, _ := read(t, l, From{}); got != "one two three" {
		t.Errorf("read %q", got)
	}
	if start, end, _ := l.Bounds(); start != 0 || end != 13 {
		t.Errorf("bounds %d, %d", start, end)
	}
}

func TestALogHasOneWriter(t *testing.T) {
	s := NewStore(t.TempDir(), 0)
	openLog(t, s, Policy{})
	if _, err := s.Open("p", Policy{}); !errors.Is(err, ErrInUse) {
		t.Errorf("a second one: %v", err)
	}
}

func TestANameIsAFileName(t *testing.T) {
	s := NewStore(t.TempDir(), 0)
	for _, name := range []string{"", ".", "..", "a/b", "/", "../x", "a\x00b"} {
		if _, err := s.Open(name, Policy{}); err == nil {
			t.Errorf("%q was opened", name)
		}
		if err := s.Remove(name); err == nil && name != "a\x00b" {
			t.Errorf("%q was removed", name)
		}
	}
}

func TestARemovedLogIsGone(t *testing.T) {
	s := NewStore(t.TempDir(), 0)
	l := openLog(t, s, Policy{SegmentSize: 3})
	write(t, l, "some lines")
	l.Close()
	if err := s.Remove("p"); err != nil {
		t.Fatal(err)
	}
	if got, _ := read(t, l, From{}); got != "" {
		t.Errorf("read %q", got)
	}
	if left, _ := filepath.Glob(filepath.Join(s.dir, "*")); len(left) != 0 {
		t.Errorf("left: %s", left)
	}
	if l = openLog(t, s, Policy{}); l.size != 0 {
		t.Errorf("a new log of the name begins at %d", l.size)
	}
}

func TestATornIndexIsCut(t *testing.T) {
	s := NewStore(t.TempDir(), 0)
	l := openLog(t, s, Policy{})
	write(t, l, "a line\n")
	l.Close()
	path := filepath.Join(s.dir, "p", indexName(0))
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A record of nothing, one of what was never written, and half a one.
	content = append(content, make([]byte, recordSize)...)
	content = append(content, strings.Repeat("\x01", recordSize+recordSize/2)...)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	l = openLog(t, s, Policy{})
	if l.current.index.size != recordSize {
		t.Errorf("the index has %d bytes", l.current.index.size)
	}
	write(t, l, "a second line\n")
	if got, first := read(t, l, From{Tail: 2}); got != "a line\na second line\n" || first.Time.IsZero() {
		t.Errorf("read %q of %v", got, first.Time)
	}
}

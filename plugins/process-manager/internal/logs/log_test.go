package logs

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

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

// contents is all that a log holds.
func contents(t *testing.T, l *Log) string {
	t.Helper()
	var all bytes.Buffer
	if err := l.Read(t.Context(), From{}, false, func(c Chunk) error {
		all.Write(c.Content)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all.String()
}

func TestWhatComesFromAPipeIsInTheLog(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 10})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- l.Capture(t.Context(), r) }()
	for _, s := range []string{"a line\n", "another line of some length\n", "end"} {
		if _, err := w.WriteString(s); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff("a line\nanother line of some length\nend", contents(t, l)); d != "" {
		t.Error(d)
	}
}

func TestCaptureEndsWithItsContext(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{})
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- l.Capture(ctx, r) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Capture returned %v", err)
	}
}

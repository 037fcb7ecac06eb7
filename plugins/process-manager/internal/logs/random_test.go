package logs

import (
	"bytes"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

// TestReadGivesWhatWasWritten does what may be done with a log in random order, and
// compares with what was written.
func TestReadGivesWhatWasWritten(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	s := NewStore(t.TempDir(), 0)
	open := func() *Log {
		return openLog(t, s, Policy{
			SegmentSize: 500 + random.Int64N(5000),
			SegmentAge:  time.Duration(1 + random.Int64N(int64(time.Second))),
			MaxSize:     1 << 40,
			WhenSlow:    Slow(random.IntN(3)),
		})
	}
	var all []byte
	piece := func() []byte {
		p := make([]byte, random.IntN(10_000))
		for i := range p {
			p[i] = "0123456789\n"[random.IntN(11)]
		}
		all = append(all, p...)
		return p
	}
	l := open()
	for range 200 {
		switch random.IntN(5) {
		case 0:
			write(t, l, string(piece()))
		case 1:
			capturePieces(t, l, piece(), piece())
		case 2:
			l.Close()
			l = open()
		case 3:
			at := random.Int64N(int64(len(all)) + 1)
			if got, _ := read(t, l, From{Offset: at}); got != string(all[at:]) {
				t.Fatalf("from %d: %d bytes, want %d", at, len(got), len(all[at:]))
			}
		case 4:
			lines := 1 + random.IntN(20)
			if got, _ := read(t, l, From{Tail: lines}); got != lastLines(all, lines) {
				t.Fatalf("the last %d lines are %q", lines, got)
			}
		}
	}
}

// capturePieces lets a log capture a pipe, and another one after it.
func capturePieces(t *testing.T, l *Log, pieces ...[]byte) {
	t.Helper()
	for _, p := range pieces {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- l.Capture(t.Context(), r) }()
		if _, err := w.Write(p); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
}

func lastLines(all []byte, lines int) string {
	at := len(bytes.TrimSuffix(all, []byte("\n")))
	for ; lines > 0 && at >= 0; lines-- {
		at = bytes.LastIndexByte(all[:at], '\n')
	}
	return string(all[at+1:])
}

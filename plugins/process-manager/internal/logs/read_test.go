package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestReadBeginsWhereItIsToldTo(t *testing.T) {
	const all = "one\ntwo\nthree\nfour"
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 7})
	write(t, l, all)
	for _, c := range []struct {
		from From
		want string
	}{
		{From{}, all},
		{From{Offset: 4}, "two\nthree\nfour"},
		{From{Offset: 7}, "\nthree\nfour"},
		{From{Offset: int64(len(all))}, ""},
		{From{Tail: 1}, "four"},
		{From{Tail: 2}, "three\nfour"},
		{From{Tail: 3}, "two\nthree\nfour"},
		{From{Tail: 4}, all},
		{From{Tail: 5}, all},
		{From{Since: time.Now().Add(-time.Hour)}, all},
		{From{Since: time.Now().Add(time.Hour)}, ""},
	} {
		got, first := read(t, l, c.from)
		if got != c.want || got != "" && first.Offset != int64(len(all)-len(got)) {
			t.Errorf("%+v: read %q, at %d", c.from, got, first.Offset)
		}
	}
	for _, offset := range []int64{-1, int64(len(all)) + 1} {
		if err := l.Read(t.Context(), From{Offset: offset}, true, nil); !errors.Is(err, ErrOffset) {
			t.Errorf("offset %d: %v", offset, err)
		}
	}
}

func TestTheLastLineOfALogMayHaveAnEnd(t *testing.T) {
	for content, want := range map[string]string{"": "", "\n": "\n", "a\n\n": "\n", "a\nb\n": "b\n", "no end": "no end"} {
		l := openLog(t, NewStore(t.TempDir(), 0), Policy{})
		write(t, l, content)
		if got, _ := read(t, l, From{Tail: 1}); got != want {
			t.Errorf("the last line of %q is %q", content, got)
		}
	}
}

func TestManyLastLinesSpanSegmentsAndBlocks(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 100_000, MaxSize: 1 << 30})
	var all strings.Builder
	for n := range 50_000 {
		fmt.Fprintf(&all, "line %d\n", n)
	}
	write(t, l, all.String())
	got, _ := read(t, l, From{Tail: 40_000})
	want := all.String()[strings.Index(all.String(), "line 10000\n"):]
	if got != want {
		t.Errorf("read %d bytes, want %d", len(got), len(want))
	}
}

func TestTimesAreThoseOfWriting(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 10})
	var times []time.Time
	for n := range 4 {
		<-time.After(indexGap + 20*time.Millisecond)
		times = append(times, time.Now())
		write(t, l, fmt.Sprintf("line %d\n", n))
	}
	for n, at := range times {
		want := "line 0\nline 1\nline 2\nline 3\n"[7*n:]
		if got, first := read(t, l, From{Since: at}); got != want || first.Time.Before(at) || first.Time.Sub(at) > indexGap {
			t.Errorf("since line %d: %q, written %v later", n, got, first.Time.Sub(at))
		}
	}
}

func TestWhatIsDeletedIsMissing(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 10, MaxSize: 30})
	write(t, l, strings.Repeat("0123456789", 5)+"end")
	got, first := read(t, l, From{Offset: 5})
	if got != "01234567890123456789end" || first.Offset != 30 || first.Missing != 25 {
		t.Errorf("read %q at %d, %d missing", got, first.Offset, first.Missing)
	}
	if start, end, _ := l.Bounds(); start != 30 || end != 53 {
		t.Errorf("bounds %d, %d", start, end)
	}
}

func TestAReaderGoesOnWhenItsSegmentIsDeleted(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 10, MaxSize: 20})
	write(t, l, "0123456789")
	var got []string
	if err := l.Read(t.Context(), From{}, false, func(c Chunk) error {
		got = append(got, fmt.Sprintf("%d+%d %s", c.Missing, c.Offset, c.Content))
		if len(got) == 1 {
			write(t, l, "abcdefghijABCDEFGHIJend")
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"0+0 0123456789", "10+20 ABCDEFGHIJ", "0+30 end"}, got); d != "" {
		t.Error(d)
	}
}

func TestAFollowerHearsOfAllUntilTheLogIsClosed(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 100, MaxSize: 1 << 20})
	w, wait := capturing(t.Context(), t, l)
	var got strings.Builder
	done, heard := make(chan error, 1), make(chan int64, 1000)
	go func() {
		done <- l.Read(t.Context(), From{}, true, func(c Chunk) error {
			got.Write(c.Content)
			heard <- c.Offset + int64(len(c.Content))
			return nil
		})
	}()
	var want strings.Builder
	for n := range 200 {
		line := fmt.Sprintf("line %d\n", n)
		want.WriteString(line)
		if _, err := w.WriteString(line); err != nil {
			t.Fatal(err)
		}
		for <-heard < int64(want.Len()) { // each line arrives, though no other follows
		}
	}
	w.Close()
	if err := wait(); err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(want.String(), got.String()); d != "" {
		t.Error(d)
	}
}

func TestAFollowerEndsWithItsContextOrTheErrorOfEmit(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Read(ctx, From{}, true, nil) }()
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("with its context: %v", err)
	}
	write(t, l, "a line\n")
	fault := errors.New("no more")
	if err := l.Read(t.Context(), From{}, true, func(Chunk) error { return fault }); !errors.Is(err, fault) {
		t.Errorf("with the error of emit: %v", err)
	}
}

func TestASegmentThatWasCutFromOutsideIsSkipped(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{SegmentSize: 10})
	write(t, l, "0123456789abcdefghijend")
	if err := os.Truncate(filepath.Join(l.dir, segmentName(10)), 4); err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := l.Read(t.Context(), From{}, false, func(c Chunk) error {
		got = append(got, fmt.Sprintf("%d+%d %s", c.Missing, c.Offset, c.Content))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]string{"0+0 0123456789", "0+10 abcd", "6+20 end"}, got); d != "" {
		t.Error(d)
	}
}

// TestARotationIsNoLoss to a follower that looks for deleted files all the time.
func TestARotationIsNoLoss(t *testing.T) {
	s := NewStore(t.TempDir(), 0)
	l := openLog(t, s, Policy{SegmentSize: 100, MaxSize: 1 << 30})
	var got int64
	done := make(chan error, 1)
	go func() {
		done <- l.Read(t.Context(), From{}, true, func(c Chunk) error {
			s.sweeps.Add(1)
			got += int64(len(c.Content))
			if c.Missing != 0 {
				return fmt.Errorf("%d missing before %d", c.Missing, c.Offset)
			}
			return nil
		})
	}()
	for range 1000 {
		write(t, l, "0123456789012345678901234567890123456789012345678\n")
	}
	l.Close()
	if err := <-done; err != nil || got != 50_000 {
		t.Errorf("read %d bytes: %v", got, err)
	}
}

func TestOnlyFewReadersHoldLargePiecesAndOnlyThoseWhoTakeMuch(t *testing.T) {
	l := openLog(t, NewStore(t.TempDir(), 0), Policy{})
	write(t, l, strings.Repeat("0123456789abcde\n", 8<<20/16))
	ctx, cancel := context.WithCancel(t.Context())
	const readers = 3 * maxLarge
	held := make(chan int, readers)
	var reading sync.WaitGroup
	for range readers {
		reading.Go(func() {
			taken := 0
			_ = l.Read(ctx, From{}, false, func(c Chunk) error { // ctx's error
				if taken < takesMuch {
					if taken += len(c.Content); len(c.Content) > smallChunk {
						t.Errorf("a piece of %d bytes after %d", len(c.Content), taken)
					}
					return nil
				}
				held <- len(c.Content)
				<-ctx.Done()
				return ctx.Err()
			})
		})
	}
	large := 0
	for range readers {
		if <-held > smallChunk {
			large++
		}
	}
	cancel()
	reading.Wait()
	if large != maxLarge {
		t.Errorf("%d of %d readers hold large pieces, want %d", large, readers, maxLarge)
	}
}

package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// MaxChunk is how much of a log a Chunk holds at most.
const MaxChunk = 1 << 20

// A large chunk is fast, and may be held for as long as somebody does not take it,
// with copies of it all the way to the caller. So only a few readers have large ones
// at a time, and only who has taken a lot already.
const (
	smallChunk = 31 << 10 // with what goes around it it fits a buffer of gRPC of 32 KiB
	maxLarge   = 16       // readers
	takesMuch  = 4 << 20  // bytes, more than all buffers on the way hold
)

// From is where to begin to read: Tail lines before the end, or at a time, or at an
// offset, whichever is set, in this order.
type From struct {
	Offset int64     // of the first byte, up to the end of the log
	Since  time.Time // bytes that were written at this time or later
	Tail   int       // lines; one without an end is one. Within MaxTail of the end
}

// Chunk is a piece of a log.
type Chunk struct {
	Offset  int64     // of the first byte
	Content []byte    // up to MaxChunk; valid until emit returns
	Time    time.Time // when the first byte was written, to 100 ms
	Missing int64     // bytes before Offset that were to be read and are no longer kept
}

// Read hands the log to emit in pieces, in order, up to its end, or with follow until
// it is closed. It returns nil then, or the error of emit or of ctx, or ErrOffset. A
// closed log may be read, too. Whoever reads slowly holds up nobody; he misses what
// is deleted meanwhile, and is told how much.
func (l *Log) Read(ctx context.Context, from From, follow bool, emit func(Chunk) error) error {
	r := reader{log: l, emit: emit}
	var err error
	if r.next, err = l.find(from); err != nil {
		return err
	}
	for {
		segments, end, grown := l.snapshot(follow)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case max(r.next, segments[0]) < end:
			if err := r.chunk(segments, end); err != nil {
				return err
			}
		case !follow:
			return nil
		default:
			select {
			case <-grown:
			case <-l.life.Done():
				follow = false // when it has read to the end
			case <-ctx.Done():
			}
		}
	}
}

// reader is where a Read is.
type reader struct {
	log     *Log
	next    int64
	missing int64 // bytes before next that could not be read
	taken   int64
	emit    func(Chunk) error
}

// chunk reads a piece.
func (r *reader) chunk(segments []int64, end int64) error {
	if start := segments[0]; r.next < start {
		r.missing += start - r.next
		r.next = start
	}
	i := segmentOf(segments, r.next)
	if i+1 < len(segments) {
		end = segments[i+1]
	}
	buffer, giveBack := r.log.store.buffer(r.taken >= takesMuch)
	defer giveBack()
	n, err := readAt(r.log.dir, segments[i], r.next, buffer[:min(int64(len(buffer)), end-r.next)])
	switch {
	case isGone(err):
		return r.log.list() // it was deleted just now
	case err != nil:
		return err
	case n == 0: // it was cut from outside
		r.missing += end - r.next
		r.next = end
		return nil
	}
	c := Chunk{Offset: r.next, Content: buffer[:n], Time: timeOf(r.log.dir, segments[i], r.next), Missing: r.missing}
	r.next += int64(n)
	r.missing = 0
	r.taken += int64(n)
	return r.emit(c)
}

// buffer returns one for a chunk, a large one if that is wanted and possible, until it
// is given back.
func (s *Store) buffer(large bool) (buffer []byte, giveBack func()) {
	if large {
		select {
		case s.large <- struct{}{}:
			b, _ := s.chunks.Get().(*[MaxChunk]byte)
			return b[:], func() {
				s.chunks.Put(b)
				<-s.large
			}
		default:
		}
	}
	b, _ := s.smallChunks.Get().(*[smallChunk]byte)
	return b[:], func() { s.smallChunks.Put(b) }
}

// segmentOf is the index of the segment that an offset is in.
func segmentOf(segments []int64, offset int64) int {
	i, found := slices.BinarySearch(segments, offset)
	if !found {
		i--
	}
	return i
}

// readAt reads from an offset on what the file has that begins at start.
func readAt(dir string, start, offset int64, buffer []byte) (int, error) {
	file, err := openFile(dir, segmentName(start), os.O_RDONLY)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	n, err := file.ReadAt(buffer, offset-start)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// find returns the offset at which to begin.
func (l *Log) find(from From) (int64, error) {
	segments, end, _ := l.snapshot(false)
	switch {
	case from.Tail > 0:
		return l.tail(segments, end, from.Tail)
	case !from.Since.IsZero():
		return l.since(segments, end, from.Since), nil
	case from.Offset < 0 || from.Offset > end:
		return 0, fmt.Errorf("%w: %d, which is %d", ErrOffset, from.Offset, end)
	}
	return from.Offset, nil
}

// since returns the offset of the first byte that was written at a time or later.
func (l *Log) since(segments []int64, end int64, t time.Time) int64 {
	from := end
	for _, start := range slices.Backward(segments) {
		earlier, first := lookUp(l.dir, start, func(r record) bool { return r.at.Add(indexGap).After(t) })
		if first != nil {
			from = first.offset
		}
		if earlier != nil {
			break // so are all files before
		}
	}
	return from
}

// MaxTail is how far from the end of a log its last lines are looked for.
const MaxTail = 64 << 20

// tail returns the offset of the line that is the so-many-th from the end.
func (l *Log) tail(segments []int64, end int64, lines int) (int64, error) {
	first := max(segments[0], end-MaxTail)
	buffer := make([]byte, 64<<10)
	for to := end; to > first; {
		i := segmentOf(segments, to-1)
		at := max(segments[i], to-int64(len(buffer)), first)
		n, err := readAt(l.dir, segments[i], at, buffer[:to-at])
		if isGone(err) {
			return to, nil // it was deleted just now
		}
		if err != nil {
			return 0, err
		}
		for k := n - 1; k >= 0; k-- {
			// The end of the last line begins no other.
			if buffer[k] != '\n' || at+int64(k)+1 == end {
				continue
			}
			if lines--; lines == 0 {
				return at + int64(k) + 1, nil
			}
		}
		to = at
	}
	return first, nil
}

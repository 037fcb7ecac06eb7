package logs

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// MaxChunk is how much of a log a Chunk holds at most.
const MaxChunk = 1 << 20

// From is where to begin to read: at a time, or some lines before the end, or at an
// offset, whichever is set, in this order.
type From struct {
	Offset int64     // of the first byte; what is no longer kept is Missing in the first Chunk
	Since  time.Time // what was written at this time or later
	Tail   int       // lines; one that has no end yet is one
}

// Chunk is a piece of a log.
type Chunk struct {
	Offset  int64  // of the first byte
	Content []byte // up to MaxChunk; only until the call that got it returns
	Time    time.Time
	Missing int64 // bytes before Offset that are no longer kept
}

// Read hands the log to emit in pieces, in order, up to its end, or with follow until
// it is closed. It returns nil then, or the error of emit or ctx. Whoever reads slowly
// holds up nobody.
func (l *Log) Read(ctx context.Context, from From, follow bool, emit func(Chunk) error) error {
	next := from.Offset
	buffer := make([]byte, MaxChunk)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		segments, end, grown := l.snapshot()
		if next >= end {
			if !follow {
				return nil
			}
			select {
			case <-grown:
			case <-l.life.Done():
				follow = false
			case <-ctx.Done():
			}
			continue
		}
		at := max(next, segments[0])
		n, err := readSegment(l.dir, segments, at, buffer[:min(MaxChunk, end-at)])
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if err := emit(Chunk{Offset: at, Content: buffer[:n], Missing: at - next}); err != nil {
			return err
		}
		next = at + int64(n)
	}
}

// readSegment reads what the file has from at on.
func readSegment(dir string, segments []int64, at int64, buffer []byte) (int, error) {
	i, found := slices.BinarySearch(segments, at)
	if !found {
		i--
	}
	if i+1 < len(segments) {
		buffer = buffer[:min(int64(len(buffer)), segments[i+1]-at)]
	}
	file, err := os.Open(filepath.Join(dir, segmentName(segments[i])))
	if err != nil {
		return 0, err
	}
	defer file.Close()
	return file.ReadAt(buffer, at-segments[i])
}

package logs

import (
	"errors"
	"os"
	"syscall"
	"time"
)

// Write appends p. It waits while the disk is full, until Close, and fails then.
func (l *Log) Write(p []byte) (int, error) {
	retry := newPause(firstRetry, maxRetry)
	for written := 0; ; {
		n, err := l.append(func(to *os.File, at int64, room int) (int, error) {
			return to.WriteAt(p[written:min(len(p), written+room)], at)
		})
		if written += n; written == len(p) {
			return written, nil
		}
		if err != nil && (errors.Is(err, ErrClosed) || retry.wait(l.life) != nil) {
			return written, ErrClosed
		}
	}
}

// maxMove bounds one write to the disk, so that a Close need not wait for long.
const maxMove = 1 << 20

// append lets move put bytes into a file, from a position on and up to room, and
// notes how many it has put there.
func (l *Log) append(move func(to *os.File, at int64, room int) (int, error)) (int, error) {
	l.pen.Lock()
	defer l.pen.Unlock()
	if l.life.Err() != nil {
		return 0, ErrClosed
	}
	l.store.writers <- struct{}{}
	defer func() { <-l.store.writers }()
	if err := l.prepare(time.Now()); err != nil {
		l.note(0, err)
		return 0, err
	}
	s := l.current
	n, err := move(s.file, s.size, int(min(l.segmentSize()-s.size, maxMove)))
	s.size += int64(n)
	l.note(int64(n), err)
	l.store.account(int64(n))
	return n, err
}

// prepare sees to it that there is a file with room, and in its index what it takes.
func (l *Log) prepare(now time.Time) error {
	s := l.current
	full := s != nil && s.size >= l.segmentSize()
	if s != nil && !full && !s.index.isDue(now) {
		return nil
	}
	// Each indexGap there is time to look at more.
	if s != nil && (full || s.size > 0 && now.Sub(s.born) >= l.policy.SegmentAge || !s.isLinked()) {
		l.current = nil
		if err := s.close(); err != nil {
			return err
		}
	}
	if l.current == nil {
		if err := l.begin(); err != nil {
			return err
		}
	}
	if l.current.index.isDue(now) {
		l.store.account(recordSize)
		return l.current.index.add(l.current.start+l.current.size, now)
	}
	return nil
}

// begin begins a file at the end of the log.
func (l *Log) begin() error {
	if _, err := os.Stat(l.dir); err != nil {
		// Somebody has deleted it. What is locked is the deleted one.
		lock, err := lockDir(l.dir, 0)
		if err != nil {
			return err
		}
		l.lock.Close()
		l.lock = lock
	}
	_, end, _ := l.Bounds()
	s, err := openSegment(l.dir, end)
	if err != nil {
		return err
	}
	l.current = s
	l.mu.Lock()
	if l.segments[len(l.segments)-1] != end { // an empty one, or where list found none
		l.segments = append(l.segments, end)
	}
	l.mu.Unlock()
	return l.trim(time.Now())
}

// note notes that n more bytes are written, and wakes who waits for them; and that
// nothing more can be, if err is not about there being nothing to write.
func (l *Log) note(n int64, err error) {
	if errors.Is(err, syscall.EAGAIN) {
		err = nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
	l.size += n
	if n > 0 && l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

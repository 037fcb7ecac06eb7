package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Log is what one process writes, over all its runs. It is safe for concurrent use.
type Log struct {
	dir    string
	policy Policy
	lock   *os.File        // of the directory: locked while the log is open
	life   context.Context //nolint:containedctx // from Open to Close, which no call's is
	kill   context.CancelFunc

	pen     sync.Mutex // held over each write to the files
	current *segment   // nil after a fault, until the next write

	mu       sync.Mutex
	segments []int64 // where the files begin, ascending; never empty
	end      int64
	dropped  int64
	fault    error
	grown    chan struct{} // closed when end grows; nil if nobody waits
}

func newLog(dir string, p Policy) *Log {
	l := &Log{dir: dir, policy: p}
	l.life, l.kill = context.WithCancel(context.Background())
	return l
}

func (l *Log) open() error {
	if err := l.lockDir(); err != nil {
		return err
	}
	starts, err := listSegments(l.dir)
	if err != nil {
		return errors.Join(err, l.lock.Close())
	}
	if len(starts) == 0 {
		starts = []int64{0}
	}
	if l.current, err = openSegment(l.dir, starts[len(starts)-1]); err != nil {
		return errors.Join(err, l.lock.Close())
	}
	l.segments = starts
	l.end = l.current.start + l.current.size
	return nil
}

// lockWait is how long a writer that is about to end may hold the lock: a killed one
// does until the kernel has closed its files.
const lockWait = time.Second

// lockDir makes the directory and locks it.
func (l *Log) lockDir() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	dir, err := os.Open(l.dir)
	if err != nil {
		return err
	}
	again := time.NewTicker(lockWait / 100)
	defer again.Stop()
	for until := time.Now().Add(lockWait); ; <-again.C {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB) //nolint:gosec // a descriptor
		if err == nil {
			l.lock = dir
			return nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) || time.Now().After(until) {
			break
		}
	}
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = ErrInUse
	}
	return errors.Join(fmt.Errorf("lock: %w", err), dir.Close())
}

// Bounds returns the offset of the first byte that is kept, the offset of the next
// byte that will be written, and how many bytes were dropped since Open.
func (l *Log) Bounds() (start, end, dropped int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.segments[0], l.end, l.dropped
}

// Fault returns why nothing can be written at present, such as a full disk, or nil.
// It is tried again all the time.
func (l *Log) Fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

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

// until returns a context that ends with ctx, or with the log, of which ErrClosed is
// the cause then.
func (l *Log) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(l.life, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// append lets move put bytes into a file, from a position on and up to room, and
// notes how many it has put there.
func (l *Log) append(move func(to *os.File, at int64, room int) (int, error)) (int, error) {
	l.pen.Lock()
	defer l.pen.Unlock()
	if l.life.Err() != nil {
		return 0, ErrClosed
	}
	if err := l.prepare(time.Now()); err != nil {
		l.setFault(err)
		return 0, err
	}
	s := l.current
	n, err := move(s.file, s.size, int(min(l.policy.SegmentSize-s.size, maxMove)))
	if n > 0 {
		s.size += int64(n)
	}
	if err != nil && !errors.Is(err, syscall.EAGAIN) {
		l.setFault(err)
		return n, err
	}
	if n > 0 {
		l.grow(int64(n))
	}
	return n, err
}

// maxMove bounds one call, so that a Close need not wait for long.
const maxMove = 1 << 20

// prepare sees to it that there is a file with room.
func (l *Log) prepare(now time.Time) error {
	if s := l.current; s != nil && s.size < l.policy.SegmentSize && !s.index.isDue(now) {
		return nil
	}
	if s := l.current; s != nil && (s.size >= l.policy.SegmentSize || s.size > 0 && now.Sub(s.born) >= l.policy.SegmentAge || !s.isLinked()) {
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
		return l.current.index.add(l.current.start+l.current.size, now)
	}
	return nil
}

// begin opens a new file at the end of the log, and deletes what is too much then.
func (l *Log) begin() error {
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		return err
	}
	_, end, _ := l.Bounds()
	s, err := openSegment(l.dir, end)
	if err != nil {
		return err
	}
	l.current = s
	starts, err := listSegments(l.dir)
	if err != nil {
		return err
	}
	for len(starts) > 1 && end-starts[0]+l.policy.SegmentSize > l.policy.MaxSize {
		if err := removeSegment(l.dir, starts[0]); err != nil {
			return err
		}
		starts = starts[1:]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.segments = starts
	return nil
}

func (l *Log) setFault(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
}

// grow notes n more bytes and wakes who waits for them.
func (l *Log) grow(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end += n
	l.fault = nil
	if l.grown != nil {
		close(l.grown)
		l.grown = nil
	}
}

// Close ends all captures and, when they have read to the end, all readers that
// follow. What is kept may still be read.
func (l *Log) Close() error {
	l.pen.Lock()
	defer l.pen.Unlock()
	if l.life.Err() != nil {
		return nil
	}
	l.kill()
	err := l.lock.Close()
	if l.current != nil {
		err = errors.Join(err, l.current.close())
		l.current = nil
	}
	return err
}

// snapshot returns where the files begin, where the last ends, and what is closed
// when that grows.
func (l *Log) snapshot() (segments []int64, end int64, grown <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.grown == nil {
		l.grown = make(chan struct{})
	}
	return slices.Clone(l.segments), l.end, l.grown
}

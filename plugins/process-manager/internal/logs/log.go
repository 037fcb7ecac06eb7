package logs

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Log is what one process writes, over all its runs. It is safe for concurrent use.
type Log struct {
	store  *Store
	dir    string
	policy Policy
	life   context.Context //nolint:containedctx // from Open to Close, which no call's is
	end    context.CancelFunc
	expiry *time.Timer // deletes what is too old

	pen     sync.Mutex // held over each write to the files
	lock    *os.File   // the directory: locked while the log is open
	current *segment   // nil after a fault, until the next write

	mu       sync.Mutex
	segments []int64 // where the files begin, ascending; never empty
	sweeps   int64   // of the store, when segments was read
	size     int64   // offset of the end
	dropped  int64
	fault    error
	grown    chan struct{} // closed when size grows; nil if nobody waits
}

func newLog(s *Store, dir string, p Policy) *Log {
	l := &Log{store: s, dir: dir, policy: p}
	l.life, l.end = context.WithCancel(context.Background())
	return l
}

func (l *Log) open() (err error) {
	if l.lock, err = lockDir(l.dir, lockWait); err != nil {
		return err
	}
	starts, err := listSegments(l.dir)
	if err != nil {
		return errors.Join(err, l.lock.Close())
	}
	if len(starts) == 0 {
		starts = []int64{0}
	}
	last := starts[len(starts)-1]
	size, err := sizeOf(l.dir, last)
	if err != nil {
		return errors.Join(err, l.lock.Close())
	}
	l.segments, l.size = starts, last+size
	// A disk that takes nothing at present is a fault like later ones: whose output
	// this is may run already.
	l.current, l.fault = openSegment(l.dir, last)
	l.dropped = readDropped(l.dir)
	l.store.open.Add(1)
	l.expire()
	return nil
}

// lockWait is how long a writer that is about to end may hold the lock: a killed one
// does until the kernel has closed its files.
const lockWait = time.Second

// lockDir makes a directory and locks it, until what it returns is closed.
func lockDir(path string, wait time.Duration) (*os.File, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, err
	}
	dir, err := os.Open(path) //nolint:gosec // below the store's directory
	if err != nil {
		return nil, err
	}
	again := time.NewTicker(lockWait / 100)
	defer again.Stop()
	for until := time.Now().Add(wait); ; <-again.C {
		err = unix.Flock(int(dir.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return dir, nil
		case !errors.Is(err, syscall.EWOULDBLOCK):
			return nil, errors.Join(os.NewSyscallError("flock", err), dir.Close())
		case !time.Now().Before(until):
			return nil, errors.Join(ErrInUse, dir.Close())
		}
	}
}

// Bounds returns the offset of the first byte that is kept, the offset of the next
// byte that will be written, and how many bytes were dropped instead, ever.
func (l *Log) Bounds() (start, end, dropped int64) {
	segments, end, _ := l.snapshot(false)
	l.mu.Lock()
	defer l.mu.Unlock()
	return segments[0], end, l.dropped
}

// Fault returns why nothing can be written at present, such as a full disk, or nil.
// It is tried again, at least once a second, while there is something to write.
func (l *Log) Fault() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fault
}

// Close ends all captures and, when they have read to the end, all readers that
// follow. What is kept may still be read. A second Close does nothing.
func (l *Log) Close() error {
	l.pen.Lock()
	defer l.pen.Unlock()
	if l.life.Err() != nil {
		return nil
	}
	l.end()
	if l.expiry != nil {
		l.expiry.Stop()
	}
	l.store.open.Add(-1)
	err := l.lock.Close()
	if l.current != nil {
		err = errors.Join(err, l.current.close())
		l.current = nil
	}
	return err
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

// snapshot returns where the files begin and where the last ends; for one who will
// wait, also what is closed when that grows. Nobody writes to the slice.
func (l *Log) snapshot(wait bool) (segments []int64, end int64, grown <-chan struct{}) {
	l.mu.Lock()
	stale := l.sweeps != l.store.sweeps.Load()
	l.mu.Unlock()
	if stale {
		_ = l.list() // who reads what is not there hears of it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if wait && l.grown == nil {
		l.grown = make(chan struct{})
	}
	return l.segments, l.size, l.grown
}

// list finds out which files were deleted. Where none is left, as when somebody has
// deleted the directory, the log begins at its end.
func (l *Log) list() error {
	sweeps := l.store.sweeps.Load()
	l.mu.Lock()
	known := l.segments[len(l.segments)-1]
	l.mu.Unlock()
	starts, err := listSegments(l.dir)
	if err != nil && !isGone(err) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sweeps = sweeps
	var left []int64
	for _, start := range l.segments {
		// One that was begun meanwhile need not have been seen.
		if _, found := slices.BinarySearch(starts, start); found || start > known {
			left = append(left, start)
		}
	}
	if len(left) == 0 {
		left = []int64{l.size}
	}
	l.segments = left
	return nil
}

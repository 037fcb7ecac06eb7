package logs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// trim deletes the oldest files while there are too many, or they are too old. The
// last file stays, which says where the log ends.
func (l *Log) trim(now time.Time) error {
	starts, _, _ := l.snapshot(false)
	for len(starts) > 1 {
		// The last file will have a segment's size.
		tooMuch := starts[len(starts)-1]+l.segmentSize()-starts[0] > l.policy.MaxSize
		if !tooMuch && !l.isTooOld(starts[0], now) {
			break
		}
		if err := removeSegment(l.dir, starts[0]); err != nil {
			return err
		}
		starts = starts[1:]
		l.mu.Lock()
		l.segments = starts
		l.mu.Unlock()
	}
	return nil
}

func (l *Log) isTooOld(start int64, now time.Time) bool {
	if l.policy.MaxAge <= 0 {
		return false
	}
	info, err := os.Stat(filepath.Join(l.dir, segmentName(start)))
	return err == nil && now.Sub(info.ModTime()) > l.policy.MaxAge
}

// Bounds of how often it is looked for what is too old.
const (
	minExpiry = 100 * time.Millisecond
	maxExpiry = time.Hour
)

// expire deletes what is too old, now and from time to time.
func (l *Log) expire() {
	if l.policy.MaxAge <= 0 {
		return
	}
	l.pen.Lock()
	defer l.pen.Unlock()
	if l.life.Err() != nil {
		return
	}
	now := time.Now()
	var err error
	if s := l.current; s != nil && s.size > 0 && l.isTooOld(s.start, now) {
		l.current = nil
		if err = s.close(); err == nil {
			err = l.begin()
		}
	} else {
		err = l.trim(now)
	}
	if err != nil {
		l.note(0, err)
	}
	l.expiry = time.AfterFunc(min(max(l.policy.MaxAge/10, minExpiry), maxExpiry), l.expire)
}

// minShare is the least that a file may have where many logs share little.
const minShare = 64 << 10

// segmentSize is the size of the files of a log. The last one of each log cannot be
// deleted while it is open, so all of these together have at most half of what the
// store may have.
func (l *Log) segmentSize() int64 {
	most := l.store.maxSize.Load()
	if most <= 0 {
		return l.policy.SegmentSize
	}
	return min(l.policy.SegmentSize, max(most/(2*max(l.store.open.Load(), 1)), minShare))
}

// account notes n more bytes, and deletes the oldest files when that is too much.
func (s *Store) account(n int64) {
	most := s.maxSize.Load()
	if most <= 0 || s.used.Add(n) <= most || !s.sweep.TryLock() {
		return
	}
	defer s.sweep.Unlock()
	files, total := s.files()
	// Some more than needed, so that it need not be done again soon.
	for _, f := range files {
		if total <= most-most/10 {
			break
		}
		if f.remove() == nil {
			total -= f.size
		}
	}
	s.used.Store(total)
	s.sweeps.Add(1)
}

// stored is a file of a log.
type stored struct {
	dir     string
	start   int64
	size    int64 // with its index
	written time.Time
	last    bool // of its log
}

// files returns the files of all logs, the oldest first, but the last one of each
// log after all others; and the size of all.
func (s *Store) files() (files []stored, total int64) {
	dirs, _ := os.ReadDir(s.dir) // without it there are none
	for _, d := range dirs {
		dir := filepath.Join(s.dir, d.Name())
		starts, _ := listSegments(dir)
		for i, start := range starts {
			f := stored{dir: dir, start: start, last: i == len(starts)-1}
			if f.stat() == nil {
				files = append(files, f)
				total += f.size
			}
		}
	}
	slices.SortFunc(files, func(a, b stored) int {
		if a.last != b.last {
			if a.last {
				return 1
			}
			return -1
		}
		return a.written.Compare(b.written)
	})
	return files, total
}

func (f *stored) stat() error {
	info, err := os.Stat(filepath.Join(f.dir, segmentName(f.start)))
	if err != nil {
		return err
	}
	f.size, f.written = info.Size(), info.ModTime()
	if index, err := os.Stat(filepath.Join(f.dir, indexName(f.start))); err == nil {
		f.size += index.Size()
	}
	return nil
}

// remove deletes the file. In place of the last one of a log it puts an empty one,
// which says where the log ends, unless the log is open.
func (f *stored) remove() error {
	if f.last {
		lock, err := lockDir(f.dir, 0)
		if err != nil {
			return err
		}
		defer lock.Close()
		info, err := os.Stat(filepath.Join(f.dir, segmentName(f.start)))
		if err != nil || info.Size() == 0 {
			return errors.Join(err, fs.ErrExist)
		}
		successor := filepath.Join(f.dir, segmentName(f.start+info.Size()))
		if err := os.WriteFile(successor, nil, 0o600); err != nil {
			return err
		}
	}
	return removeSegment(f.dir, f.start)
}

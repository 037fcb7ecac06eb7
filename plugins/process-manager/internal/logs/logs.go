// Package logs keeps what supervised processes write: each has a stream of bytes,
// addressed by offset from its first byte ever, in files below one directory.
//
// A kill of this program at any moment loses no byte and doubles none. The kernel
// moves bytes from the pipe of the process to the file in one call, splice(2), that
// takes from the pipe what it has written to the file, also when it is killed in the
// middle; so a byte is in the pipe, which the host keeps, or in the file. The offset
// of the end is not written down: it is the name of the last file plus its size.
package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// What a Policy has where it says nothing.
const (
	DefaultSegmentSize = 50_000_000
	DefaultSegmentAge  = 24 * time.Hour
	DefaultSegments    = 10 // MaxSize, in segments
)

// Errors that callers test for.
var (
	ErrInUse  = errors.New("the log is open elsewhere")
	ErrClosed = errors.New("the log is closed")
)

// Slow says what happens to output that the disk does not take as fast as it comes,
// or does not take at all.
type Slow int

// The policies.
const (
	Block Slow = iota // the process waits when it writes
	Drop              // beyond a buffer it is dropped and counted; a line of the log says so
	Spill             // beyond a buffer the process waits
)

// Policy says how the log of a process is kept.
type Policy struct {
	SegmentSize int64         // bytes of a file; 0 means DefaultSegmentSize
	SegmentAge  time.Duration // when a file is followed by a new one at the latest; 0 means DefaultSegmentAge
	MaxSize     int64         // bytes of all files; 0 means DefaultSegments segments
	MaxAge      time.Duration // how long ago a file was last written that is still kept; 0 means for ever
	WhenSlow    Slow
}

func (p Policy) withDefaults() Policy {
	if p.SegmentSize <= 0 {
		p.SegmentSize = DefaultSegmentSize
	}
	if p.SegmentAge <= 0 {
		p.SegmentAge = DefaultSegmentAge
	}
	if p.MaxSize <= 0 {
		p.MaxSize = DefaultSegments * p.SegmentSize
	}
	return p
}

// Store is the directory of all logs. It is safe for concurrent use.
type Store struct {
	dir     string
	maxSize int64
}

// NewStore returns the store below dir, which is made when the first log is opened.
// All logs together have up to maxSize bytes; 0 means no bound.
func NewStore(dir string, maxSize int64) *Store {
	return &Store{dir: dir, maxSize: maxSize}
}

// Open opens the log of a process for writing; it is made if there is none. The name
// is a file name. There is one writer of a log in all programs: Open fails with
// ErrInUse when another does not close it within a second. The caller closes it.
func (s *Store) Open(name string, p Policy) (*Log, error) {
	l := newLog(filepath.Join(s.dir, name), p.withDefaults())
	if err := l.open(); err != nil {
		return nil, fmt.Errorf("log of %q: %w", name, err)
	}
	return l, nil
}

// Remove deletes the log of a process, which is closed, and all readers of it end.
// There need not be one.
func (s *Store) Remove(name string) error {
	if err := os.RemoveAll(filepath.Join(s.dir, name)); err != nil {
		return fmt.Errorf("log of %q: %w", name, err)
	}
	return nil
}

// Package logs keeps what supervised processes write: each has a stream of bytes,
// addressed by offset from its first byte ever, in files below one directory.
//
// A kill of this program at any moment loses no byte and doubles none. The kernel
// moves bytes from the pipe of the process to the file in one call, splice(2), that
// takes from the pipe what it has written to the file, also when it is killed in the
// middle; so a byte is in the pipe, which the host keeps, or in the file. The offset
// of the end is not written down: it is the name of the last file plus its size.
//
// A crash of the machine loses what the kernel had not yet written to the disk.
package logs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
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
	ErrOffset = errors.New("the offset is beyond the end of the log")
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
	SegmentAge  time.Duration // when a file is followed by a new one at the latest, if more comes; 0 means DefaultSegmentAge
	MaxSize     int64         // bytes of all files; 0 means DefaultSegments segments
	MaxAge      time.Duration // how long ago a file was last written that is kept while the log is open; 0 means for ever
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
	p.SegmentSize = min(p.SegmentSize, p.MaxSize)
	return p
}

// Store is the directory of all logs. It is safe for concurrent use.
type Store struct {
	dir     string
	maxSize atomic.Int64 // 0 for no bound
	used    atomic.Int64 // at least as much as the files have
	sweeps  atomic.Int64 // how often files were deleted behind a log's back
	open    atomic.Int64 // logs
	sweep   sync.Mutex
	writers chan struct{} // as many as may write at once
	large   chan struct{} // has room for readers of large chunks

	chunks, smallChunks sync.Pool // of *[MaxChunk]byte and *[smallChunk]byte
}

// maxWriters bounds the threads that a disk can hold up.
const maxWriters = 8

// NewStore returns the store below dir, which is made when the first log is opened.
// All logs together, those of earlier runs included, have up to about maxSize bytes;
// 0 means no bound. The oldest files go first, of whichever log.
func NewStore(dir string, maxSize int64) *Store {
	s := &Store{dir: dir, writers: make(chan struct{}, maxWriters), large: make(chan struct{}, maxLarge)}
	s.smallChunks.New = func() any { return new([smallChunk]byte) }
	s.chunks.New = func() any { return new([MaxChunk]byte) }
	s.SetMaxSize(maxSize)
	return s
}

// SetMaxSize changes what all logs together may have.
func (s *Store) SetMaxSize(maxSize int64) {
	s.maxSize.Store(maxSize)
	s.used.Store(maxSize) // the next write finds out
}

// Open opens the log of a process for writing; it is made if there is none. The name
// is a file name. There is one writer of a log in all programs: Open fails with
// ErrInUse when another does not close it within a second. The caller closes it.
func (s *Store) Open(name string, p Policy) (*Log, error) {
	dir, err := s.path(name)
	l := newLog(s, dir, p.withDefaults())
	if err == nil {
		err = l.open()
	}
	if err != nil {
		return nil, fmt.Errorf("log of %q: %w", name, err)
	}
	return l, nil
}

// Remove deletes the log of a process, which is closed. There need not be one.
func (s *Store) Remove(name string) error {
	dir, err := s.path(name)
	if err == nil {
		err = os.RemoveAll(dir)
	}
	if err != nil {
		return fmt.Errorf("log of %q: %w", name, err)
	}
	s.sweeps.Add(1)
	return nil
}

// path is the directory of a log.
func (s *Store) path(name string) (string, error) {
	if !filepath.IsLocal(name) || filepath.Base(name) != name || name == "." {
		return "", errors.New("the name has to be a file name")
	}
	return filepath.Join(s.dir, name), nil
}

package access

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
)

const (
	// logRoom is how many bytes of lines wait to be written.
	logRoom = 1 << 20
	// logGrace is how long Close waits for a disk that is slow.
	logGrace = time.Second
	// complainEvery is how often it is logged that lines are lost.
	complainEvery = 10 * time.Second
)

// Log is where calls of clients are written down: a file or, without one, the
// host's log. It never makes a call wait: lines for which there is no room, or
// that cannot be written, are dropped and counted. Made by OpenLog; safe for
// concurrent use.
type Log struct {
	logger  hclog.Logger
	dropped func(lines int)
	wake    chan struct{} // has room for one
	ended   chan struct{} // closed when all is written that was there at Close

	mu        sync.Mutex
	file      *os.File   // nil: there is none
	retired   []*os.File // that were before, to be closed
	waiting   []byte     // lines
	lost      int        // lines, since the writer looked
	strangers strangers
	closed    bool
}

// OpenLog returns a log without a file and starts a goroutine, which Close ends.
// dropped is told of lines that are lost.
func OpenLog(logger hclog.Logger, dropped func(lines int)) *Log {
	l := &Log{logger: logger.Named("audit"), dropped: dropped, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go l.run()
	return l
}

// OpenFile opens a file for lines to be added to, which only its owner can read
// if it is new. The caller closes it, or gives it to Use.
func OpenFile(path string) (*os.File, error) {
	if path == "" {
		return nil, nil
	}
	// A pipe that nobody reads would block here, were it not for O_NONBLOCK.
	f, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("audit log: %w", err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, errors.Join(fmt.Errorf("audit log: open %s: not a regular file", path), err, f.Close())
	}
	return f, nil
}

// Use takes over a file for the lines to come, or nil for the host's log.
func (l *Log) Use(f *os.File) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		l.retired = append(l.retired, l.file)
	}
	l.file = f
	l.nudge()
}

func (l *Log) add(one line) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put(one)
}

// addUnauthenticated writes down a call that nobody knows who made. What it had
// for credentials is not looked at.
func (l *Log) addUnauthenticated(v *Visit) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if unlogged, ok := l.strangers.next(now); ok {
		l.put(line{Time: now, Door: v.Door, Peer: v.Peer, Method: v.Method, Code: codes.Unauthenticated, Unlogged: unlogged})
	}
}

// put takes a line. The caller holds mu.
func (l *Log) put(one line) {
	if l.file == nil {
		l.logger.Info("call", one.pairs()...)
		return
	}
	text := one.encode()
	if len(l.waiting)+len(text) > logRoom || l.closed {
		l.lost++
	} else {
		l.waiting = append(l.waiting, text...)
	}
	l.nudge()
}

func (l *Log) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// batch is what the writer has to do.
type batch struct {
	lines   []byte
	file    *os.File // nil: there is none
	retired []*os.File
	lost    int
	last    bool
}

// run writes until the log is closed. It is the only one who writes to the file,
// and who closes it.
func (l *Log) run() {
	defer close(l.ended)
	var spare []byte
	var complained time.Time
	torn, lost := false, 0
	for range l.wake {
		b := l.take(spare)
		dropped, err := b.write(&torn)
		spare = b.lines
		if dropped += b.lost; dropped > 0 {
			lost += dropped
			l.dropped(dropped)
		}
		if lost > 0 && time.Since(complained) >= complainEvery {
			l.logger.Warn("audit lines were lost", "lines", lost, "err", err)
			complained, lost = time.Now(), 0
		}
		if b.last {
			return
		}
	}
}

// take takes what waits, and gives room for more of it.
func (l *Log) take(spare []byte) batch {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := batch{lines: l.waiting, file: l.file, retired: l.retired, lost: l.lost, last: l.closed}
	l.waiting, l.retired, l.lost = spare[:0], nil, 0
	if b.last {
		l.file = nil
	}
	return b
}

// write writes the lines, closes the files that are not needed any more, and
// reports how many lines are lost. torn says, and is told, that the file ends
// within a line: then the next one begins with a line break.
func (b *batch) write(torn *bool) (lost int, err error) {
	file := b.file
	if file == nil && len(b.retired) > 0 { // the lines are from before
		file = b.retired[len(b.retired)-1]
	}
	if len(b.retired) > 0 {
		*torn = false
	}
	if len(b.lines) > 0 {
		lost, err = writeLines(file, b.lines, torn)
	}
	if b.last {
		b.retired = append(b.retired, b.file)
	}
	for _, f := range b.retired {
		if f != nil {
			err = errors.Join(err, f.Close())
		}
	}
	return lost, err
}

func writeLines(f *os.File, lines []byte, torn *bool) (lost int, err error) {
	if f == nil {
		return bytes.Count(lines, []byte("\n")), nil
	}
	if *torn {
		if _, err := f.WriteString("\n"); err != nil {
			return bytes.Count(lines, []byte("\n")), err
		}
		*torn = false
	}
	n, err := f.Write(lines)
	*torn = n > 0 && lines[n-1] != '\n'
	return bytes.Count(lines[n:], []byte("\n")), err
}

// Close writes what waits and closes the file, but waits no longer than logGrace
// for that: then the goroutine is left to the end of the process.
func (l *Log) Close() {
	l.mu.Lock()
	l.closed = true
	l.nudge()
	l.mu.Unlock()
	late := time.NewTimer(logGrace)
	defer late.Stop()
	select {
	case <-l.ended:
	case <-late.C:
	}
}

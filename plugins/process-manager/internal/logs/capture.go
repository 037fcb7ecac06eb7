package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Capture moves all that comes from a pipe or a terminal to the end of the log, until
// it ends, that is, nobody can write to it any more, and returns nil then; or until
// ctx or the log ends, and returns ctx's error or ErrClosed. What it has not moved
// stays in the pipe, for whoever has a duplicate of it. It closes the pipe.
//
// A disk that is full, or gone, ends it not: it tries again, see Fault. With Drop and
// Spill, and for a terminal, it makes a Buffer of its own; see CaptureThrough.
func (l *Log) Capture(ctx context.Context, pipe *os.File) error {
	if l.policy.WhenSlow == Block && isPipe(pipe) {
		return l.captureDirectly(ctx, pipe)
	}
	buffer, err := NewBuffer()
	if err != nil {
		return errors.Join(fmt.Errorf("capture: %w", err), pipe.Close())
	}
	return l.CaptureThrough(ctx, pipe, buffer)
}

func isPipe(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeNamedPipe != 0
}

func (l *Log) captureDirectly(ctx context.Context, pipe *os.File) error {
	source, err := openSource(pipe)
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	ctx, cancel := l.until(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, source.interrupt)
	err = l.drain(ctx, &drain{source: source})
	stop()
	return errors.Join(err, source.close())
}

// Buffer is a pipe between the one of a process and its log. What is in it survives a
// crash of this program if somebody else holds both ends.
type Buffer struct{ Reader, Writer *os.File }

// Close closes both ends.
func (b Buffer) Close() error { return errors.Join(b.Reader.Close(), b.Writer.Close()) }

// drain is the way from a pipe to the log.
type drain struct {
	source *source
	// Of a Buffer: what is called after each move, and what is closed when nothing
	// more comes. Then what is in it is moved, also when the context has ended.
	moved func()
	fed   <-chan struct{}
}

func (d *drain) isFed() bool {
	select {
	case <-d.fed:
		return true
	default:
		return false
	}
}

// drain moves until the source ends.
func (l *Log) drain(ctx context.Context, d *drain) error {
	var gather gather
	pause := newPause(gatherTime, gatherTime)
	retry := newPause(firstRetry, maxRetry)
	for {
		fed := d.isFed() // before the look at what there is
		n, err := l.take(d.source)
		switch {
		case err == nil && n == 0:
			return nil
		case err == nil:
			retry.reset()
			if d.moved != nil {
				d.moved()
			}
			if gather.wants(n, d.source.size) {
				err = pause.wait(ctx)
			}
			if d.fed != nil {
				continue
			}
		case !errors.Is(err, syscall.EAGAIN):
			err = retry.wait(ctx)
		case fed:
			return context.Cause(ctx)
		default:
			if err = d.source.wait(); d.isFed() {
				continue
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			return fmt.Errorf("capture: %w", err)
		}
	}
}

// take moves what a pipe holds. It returns 0 and no error at its end, and EAGAIN when
// there is nothing.
func (l *Log) take(s *source) (int, error) {
	// What is only about to come must not begin a file or be given a time.
	if ready, err := readable(s.fd); !ready {
		return 0, err
	}
	n, err := l.append(func(to *os.File, at int64, room int) (int, error) {
		return move(s.fd, to, at, room)
	})
	s.widen(n)
	return n, err
}

// readable reports whether there is something in a pipe; if not, the error is nil at
// its end and EAGAIN before.
func readable(fd int) (bool, error) {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // a descriptor
	for {
		_, err := unix.Poll(poll, 0)
		switch {
		case errors.Is(err, syscall.EINTR):
		case err != nil:
			return false, os.NewSyscallError("poll", err)
		case poll[0].Revents&unix.POLLIN != 0:
			return true, nil
		case poll[0].Revents == 0:
			return false, syscall.EAGAIN
		default:
			return false, nil
		}
	}
}

// gather decides whether to let output gather. A process that writes single lines
// would have us move single lines, at several times the price of moving many at once,
// and would wait for us at each. So after a small move there is a pause; the first
// line after a silence does not wait. A process that fills the pipe in a pause is too
// fast for pauses: the next few moves do without.
type gather struct {
	paused    bool // before the present move
	skip, run int  // moves without a pause that are to come, and how many there were to be
}

const (
	smallMove  = 32 << 10
	gatherTime = time.Millisecond
	minRun     = 16
	maxRun     = 1024
)

// wants reports whether to pause after n bytes came out of a pipe of a size.
func (g *gather) wants(n, size int) bool {
	switch {
	case g.paused && n > size/2:
		g.run = min(max(2*g.run, minRun), maxRun)
		g.skip = g.run
	case g.paused:
		g.run = 0
	}
	g.paused = g.skip == 0 && n < smallMove
	g.skip = max(g.skip-1, 0)
	return g.paused
}

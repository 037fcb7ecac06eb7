package logs

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// A write to a slow disk holds the lock of the pipe that it moves from, and so holds
// up whoever writes to that pipe. So Drop and Spill have a second pipe between.

// bufferSize is the most that an ordinary user's pipe may have.
const bufferSize = 1 << 20

// NewBuffer returns a buffer of 1 MiB, or less where the user may not have that much.
func NewBuffer() (Buffer, error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return Buffer{}, os.NewSyscallError("pipe2", err)
	}
	_, _ = unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, bufferSize)
	return Buffer{
		Reader: os.NewFile(uintptr(fds[0]), "buffer"),
		Writer: os.NewFile(uintptr(fds[1]), "buffer"),
	}, nil
}

// CaptureThrough is Capture with a buffer that the caller provides, and that it closes
// as well. What an earlier capture has left in it comes first.
func (l *Log) CaptureThrough(ctx context.Context, pipe *os.File, b Buffer) error {
	f, err := l.openFeed(pipe, b)
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	ctx, cancel := l.until(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, f.from.interrupt)
	fed := make(chan struct{})
	fault := make(chan error, 1)
	go func() {
		fault <- f.run(ctx)
		close(fed)
		f.to.interrupt()
	}()
	err = l.drain(ctx, &drain{source: f.to, moved: f.relieve, fed: fed})
	if err != nil {
		cancel() // the log has ended: so does the feed
	}
	err = errors.Join(err, <-fault)
	stop()
	if f.lost > 0 { // no line says it
		l.saveDropped()
	}
	return errors.Join(err, f.close())
}

// feed moves what a process writes into a buffer, and drops what that does not take.
type feed struct {
	log  *Log
	from *source // of the process
	to   *source // the read end of the buffer
	into *os.File
	null *os.File
	room chan struct{} // has something after a move out of the buffer

	mu   sync.Mutex
	lost int64 // dropped, and the log does not say so yet
}

func (l *Log) openFeed(pipe *os.File, b Buffer) (*feed, error) {
	f := &feed{log: l, into: b.Writer, room: make(chan struct{}, 1)}
	var faults [3]error
	f.from, faults[0] = openSource(pipe)
	f.to, faults[1] = openSource(b.Reader)
	f.null, faults[2] = os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err := errors.Join(faults[:]...); err != nil {
		return nil, errors.Join(err, f.close())
	}
	return f, nil
}

func (f *feed) close() error {
	var err error
	if f.from != nil {
		err = f.from.close()
	}
	if f.to != nil {
		err = errors.Join(err, f.to.close())
	}
	if f.null != nil {
		f.null.Close()
	}
	return errors.Join(err, f.into.Close())
}

// run feeds until the process's pipe or ctx ends.
func (f *feed) run(ctx context.Context) error {
	var gather gather
	pause := newPause(gatherTime, gatherTime)
	for ctx.Err() == nil {
		ready, err := readable(f.from.fd)
		switch {
		case ready:
			var n int
			n, err = f.feed()
			f.from.widen(n)
			if errors.Is(err, syscall.EAGAIN) { // the buffer is full
				err = nil
				select {
				case <-f.room:
				case <-ctx.Done():
				}
			} else if n == 0 && err == nil { // a terminal that was hung up
				return nil
			} else if gather.wants(n, f.from.size) {
				err = pause.wait(ctx)
			}
		case errors.Is(err, syscall.EAGAIN):
			err = f.from.wait()
		case err == nil:
			return nil
		}
		switch {
		case ctx.Err() != nil: // who waits for the drain hears of it
		case errors.Is(err, syscall.EIO): // the terminal has no user any more
			return nil
		case err != nil:
			return err
		}
	}
	return nil
}

// feed moves what there is, once. It fails with EAGAIN when the buffer is full.
func (f *feed) feed() (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost == 0 {
		n, err := splice(f.from.fd, f.into, f.from.most)
		if n > 0 || f.log.policy.WhenSlow != Drop || !errors.Is(err, syscall.EAGAIN) {
			return n, err
		}
	}
	n, err := splice(f.from.fd, f.null, maxMove)
	f.lost += int64(n)
	f.log.drop(int64(n))
	return n, err
}

// relieve is called when there may be room in the buffer again. If something was
// dropped it says so there, where it is missing.
func (f *feed) relieve() {
	select {
	case f.room <- struct{}{}:
	default:
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.lost == 0 {
		return
	}
	held, err := unix.IoctlGetInt(f.to.fd, unix.TIOCINQ)
	if err != nil || held > f.to.size/2 {
		return // or it would be full again at once
	}
	// The new line is for one whose end was dropped.
	if _, err := fmt.Fprintf(f.into, "\n[gaia: %d bytes dropped]\n", f.lost); err == nil {
		f.lost = 0
		f.log.saveDropped()
	}
}

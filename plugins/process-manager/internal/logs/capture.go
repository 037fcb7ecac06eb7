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

// Capture moves all that comes from a pipe to the end of the log, until the pipe
// ends, that is, nobody can write to it any more, and returns nil then; or until ctx
// or the log ends, and returns ctx's error or ErrClosed. What it has not moved stays
// in the pipe, for whoever has a duplicate of it. It closes the pipe, and lets all
// duplicates be non-blocking.
//
// While it waits it costs a parked goroutine: the runtime's one epoll loop waits for
// all pipes.
func (l *Log) Capture(ctx context.Context, pipe *os.File) error {
	source, err := pollable(pipe)
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	defer source.Close()
	stop := func() { _ = source.SetReadDeadline(time.Unix(0, 1)) } // ends what waits for it
	defer context.AfterFunc(ctx, stop)()
	captured := make(chan struct{})
	defer close(captured)
	go func() {
		select {
		case <-l.closed:
			stop()
		case <-captured:
		}
	}()
	if err := l.drain(ctx, source); err != nil {
		return err
	}
	return nil
}

// pollable returns the pipe as a file that waits without a thread, and closes pipe.
func pollable(pipe *os.File) (*os.File, error) {
	defer pipe.Close()
	fd, err := unix.FcntlInt(pipe.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(os.NewSyscallError("set nonblock", err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), pipe.Name()), nil
}

// drain moves until the source ends.
func (l *Log) drain(ctx context.Context, source *os.File) error {
	raw, err := source.SyscallConn()
	if err != nil {
		return err
	}
	for b := newBackoff(); ; {
		n, fault := 0, error(nil)
		waited := raw.Read(func(fd uintptr) bool {
			n, fault = l.take(int(fd))
			return !errors.Is(fault, syscall.EAGAIN)
		})
		switch {
		case waited != nil && ctx.Err() != nil:
			return ctx.Err()
		case waited != nil || errors.Is(fault, ErrClosed):
			return ErrClosed
		case fault != nil:
			if err := b.wait(ctx, l.closed); err != nil {
				return err
			}
		case n == 0:
			return nil
		default:
			b = newBackoff()
		}
	}
}

// take moves what a pipe holds. It returns 0 and no error at its end, and EAGAIN when
// there is nothing.
func (l *Log) take(fd int) (int, error) {
	// What is only about to come must not begin a file or be given a time.
	if ready, err := readable(fd); !ready {
		return 0, err
	}
	return l.append(func(to *os.File, at int64, room int) (int, error) {
		return move(fd, to, at, room)
	})
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

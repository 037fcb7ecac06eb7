//go:build !linux

package logs

import (
	"context"
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// source is the pipe, or terminal, that is captured.
type source struct {
	fd   int
	size int
	file *os.File
}

// openSource takes the pipe over, also when it fails.
func openSource(pipe *os.File) (*source, error) {
	defer pipe.Close()
	fd, err := unix.FcntlInt(pipe.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(os.NewSyscallError("set nonblock", err), unix.Close(fd))
	}
	return &source{fd: fd, size: 64 << 10, file: os.NewFile(uintptr(fd), pipe.Name())}, nil
}

// wait waits until there is something in the pipe, or it has ended.
func (s *source) wait() error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Read(func(fd uintptr) bool {
		_, err := readable(int(fd))
		return !errors.Is(err, syscall.EAGAIN)
	})
}

// interrupt ends wait, for good.
func (s *source) interrupt() { _ = s.file.SetReadDeadline(time.Unix(0, 1)) }

func (s *source) widen(int) {}

func (s *source) close() error { return s.file.Close() }

// move moves up to room bytes from a pipe to a place in a file. A kill between the
// two calls loses what was read: only Linux can do better.
func move(pipe int, to *os.File, at int64, room int) (int, error) {
	buffer := make([]byte, min(room, 64<<10))
	n, err := unix.Read(pipe, buffer)
	if err != nil || n <= 0 {
		return 0, os.NewSyscallError("read", err)
	}
	return to.WriteAt(buffer[:n], at)
}

// NewBuffer returns a pipe.
func NewBuffer() (Buffer, error) {
	r, w, err := os.Pipe()
	return Buffer{Reader: r, Writer: w}, err
}

// CaptureThrough is Capture; the buffer stays empty. Drop and Spill are as Block here.
func (l *Log) CaptureThrough(ctx context.Context, pipe *os.File, b Buffer) error {
	return errors.Join(b.Close(), l.captureDirectly(ctx, pipe))
}

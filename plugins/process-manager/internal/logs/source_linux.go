package logs

import (
	"errors"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// source is the pipe, or terminal, that is captured. While it waits it costs a parked
// goroutine and no thread.
//
// The runtime's poller alone would be woken by each write of the process, also while
// we let output gather. So a poller of our own lies between, which is told each time
// that it is to wake once, and which the runtime's watches.
type source struct {
	fd     int  // the pipe's; the runtime's poller does not know it
	size   int  // of the pipe
	most   int  // to move at once
	denied bool // to enlarge it
	poller *os.File
}

// openSource takes the pipe over, also when it fails.
func openSource(pipe *os.File) (*source, error) {
	defer pipe.Close()
	raw, err := pipe.SyscallConn()
	if err != nil {
		return nil, err
	}
	s := new(source)
	var fault error
	// Not by Fd, which makes the pipe blocking for all who share it.
	err = raw.Control(func(fd uintptr) { s.fd, fault = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, os.NewSyscallError("dup", fault)); err != nil {
		return nil, err
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(err, unix.Close(s.fd))
	}
	return s, nil
}

func (s *source) open() error {
	size, err := unix.FcntlInt(uintptr(s.fd), unix.F_GETPIPE_SZ, 0)
	s.size, s.most = size, maxMove
	if err != nil {
		s.size, s.most, s.denied = terminalSize, terminalSize, true
	}
	poller, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := errors.Join(unix.SetNonblock(poller, true), arm(poller, unix.EPOLL_CTL_ADD, s.fd)); err != nil {
		return errors.Join(err, unix.Close(poller))
	}
	s.poller = os.NewFile(uintptr(poller), "epoll")
	return nil
}

// arm lets poller be ready, once, when the pipe is.
func arm(poller, op, pipe int) error {
	event := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLONESHOT, Fd: int32(pipe)} //nolint:gosec // a descriptor
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(poller, op, pipe, &event))
}

// wait waits until there is something in the pipe, or it has ended.
func (s *source) wait() error {
	raw, err := s.poller.SyscallConn()
	if err != nil {
		return err
	}
	var fault error
	if err := raw.Control(func(fd uintptr) { fault = arm(int(fd), unix.EPOLL_CTL_MOD, s.fd) }); err != nil || fault != nil {
		return errors.Join(err, fault)
	}
	err = raw.Read(func(fd uintptr) bool {
		var n int
		n, fault = unix.EpollWait(int(fd), make([]unix.EpollEvent, 1), 0)
		return n > 0 || fault != nil && !errors.Is(fault, syscall.EINTR)
	})
	return errors.Join(err, fault)
}

// interrupt ends wait, for good.
func (s *source) interrupt() { _ = s.poller.SetReadDeadline(time.Unix(0, 1)) }

// pipeSize is to what a pipe is enlarged that was found full: it holds what a process
// can write in gatherTime.
const pipeSize = 1 << 20

// widen enlarges the pipe if n bytes may have filled it: one that is full of short
// writes has about half of its size. Where the user may not have more, it stays as it
// is.
func (s *source) widen(n int) {
	if s.denied || n <= s.size/2 || s.size >= pipeSize {
		return
	}
	size, err := unix.FcntlInt(uintptr(s.fd), unix.F_SETPIPE_SZ, pipeSize)
	if s.denied = err != nil; !s.denied {
		s.size = size
	}
}

func (s *source) close() error { return errors.Join(s.poller.Close(), unix.Close(s.fd)) }

// terminalSize is what a terminal gives at once, and more.
const terminalSize = 16 << 10

// move moves up to room bytes from a pipe to a place in a file: they are in the one
// or in the other, whenever this process is killed. It does not wait for the pipe.
func move(pipe int, to *os.File, at int64, room int) (int, error) {
	n, err := unix.Splice(pipe, nil, int(to.Fd()), &at, room, unix.SPLICE_F_NONBLOCK)
	if err != nil {
		return 0, os.NewSyscallError("splice", err)
	}
	return int(n), nil
}

// splice is move to what has no places. Neither does it wait for that.
func splice(from int, to *os.File, room int) (n int, err error) {
	raw, err := to.SyscallConn()
	if err != nil {
		return 0, err
	}
	var moved int64
	var fault error
	err = raw.Control(func(fd uintptr) {
		moved, fault = unix.Splice(from, nil, int(fd), nil, room, unix.SPLICE_F_NONBLOCK)
	})
	return int(moved), errors.Join(err, os.NewSyscallError("splice", fault))
}

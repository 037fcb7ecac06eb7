package spawn

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// newProcess takes over a child that has just been born.
func newProcess(pid, pidfd int) (*Process, error) {
	if pidfd < 0 { // a sandbox whose clone knows no pidfd
		var err error
		if pidfd, err = unix.PidfdOpen(pid, 0); err != nil {
			return nil, errors.Join(fmt.Errorf("spawn: pidfd of %d: %w", pid, err), end(pid))
		}
	}
	if err := unix.SetNonblock(pidfd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("spawn: pidfd of %d: %w", pid, err), unix.Close(pidfd), end(pid))
	}
	return &Process{Pid: pid, Pidfd: os.NewFile(uintptr(pidfd), "pidfd"), done: make(chan struct{})}, nil
}

// end kills and reaps a child that cannot be supervised.
func end(pid int) error {
	_ = unix.Kill(pid, unix.SIGKILL)
	for {
		if _, err := unix.Wait4(pid, nil, 0, nil); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// reap waits until the process has ended. It holds no thread: the runtime's one
// epoll waits for all pidfds, and a goroutine that is parked takes 2 KiB.
func (p *Process) reap() {
	defer close(p.done)
	conn, err := p.Pidfd.SyscallConn()
	if err == nil {
		err = conn.Read(p.reaped)
	}
	if err != nil && p.err == nil {
		p.err = fmt.Errorf("spawn: wait for process %d: %w", p.Pid, err)
	}
}

// reaped takes the exit status, if there is one. Until it does, the process id is
// the child's, and nobody else asks for it.
func (p *Process) reaped(uintptr) bool {
	var status unix.WaitStatus
	var usage unix.Rusage
	for {
		pid, err := unix.Wait4(p.Pid, &status, unix.WNOHANG, &usage)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			p.err = fmt.Errorf("%w: %w", errReaped, err)
			return true
		case pid == 0:
			return false
		}
		p.exit = exitOf(status, usage)
		return true
	}
}

// HasEnded reports whether a process has ended, reaped or not. It is true of one that
// cannot be known any more.
func HasEnded(pidfd *os.File) bool {
	ended := true
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return true
	}
	_ = conn.Control(func(fd uintptr) { // it is closed
		poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // G115: a descriptor
		n, err := unix.Poll(poll, 0)
		ended = n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	return ended
}

// Signal signals the process, never another one that has got its id since. It
// returns os.ErrProcessDone when the process has ended.
func Signal(pidfd *os.File, s unix.Signal) error {
	return send(pidfd, s, 0)
}

// SignalGroup signals all processes of the process group that the process with
// the id pid leads, also when that has ended itself, unless Linux is older than
// 6.9. It returns os.ErrProcessDone when none is left.
func SignalGroup(pid int, pidfd *os.File, s unix.Signal) error {
	err := send(pidfd, s, unix.PIDFD_SIGNAL_PROCESS_GROUP)
	if !errors.Is(err, unix.EINVAL) {
		return err
	}
	if err := send(pidfd, 0, 0); err != nil { // else the id may be somebody else's
		return err
	}
	return unix.Kill(-pid, s)
}

func send(pidfd *os.File, s unix.Signal, flags int) error {
	conn, err := pidfd.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	if err := conn.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), s, nil, flags) }); err != nil {
		return err
	}
	if errors.Is(sent, unix.ESRCH) {
		return os.ErrProcessDone
	}
	if sent != nil {
		return fmt.Errorf("spawn: signal %v: %w", s, sent)
	}
	return nil
}

package proctest

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// Watch is a process's end, to be waited for without being its parent.
type Watch int

// WatchProcess watches a process that is known to live, or to be a zombie.
func WatchProcess(tb testing.TB, pid int) Watch {
	tb.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		tb.Fatalf("process %d: %v", pid, err)
	}
	tb.Cleanup(func() {
		if err := unix.Close(fd); err != nil {
			tb.Error(err)
		}
	})
	return Watch(fd)
}

// HasEnded reports whether the process has ended by now.
func (w Watch) HasEnded(tb testing.TB) bool {
	tb.Helper()
	return w.ended(tb, 0)
}

// EndsSoon waits for the end of the process and reports whether it came.
func (w Watch) EndsSoon(tb testing.TB) bool {
	tb.Helper()
	return w.ended(tb, int(Patience.Milliseconds()))
}

func (w Watch) ended(tb testing.TB, within int) bool {
	tb.Helper()
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(w), Events: unix.POLLIN}}, within) //nolint:gosec // G115: a descriptor
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			tb.Fatal(err)
		}
		return n == 1
	}
}

// Kill ends the process.
func (w Watch) Kill(tb testing.TB) {
	tb.Helper()
	if err := unix.PidfdSendSignal(int(w), unix.SIGKILL, nil, 0); err != nil {
		tb.Error(err)
	}
}

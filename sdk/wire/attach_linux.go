package wire

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sys/unix"
)

// awaitEnd waits until a process has ended, which need not be a child, but no
// longer than within and than ctx lives.
func awaitEnd(ctx context.Context, pid int, within time.Duration) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return // it has ended, or this is a kernel before 5.3
	}
	defer CloseFiles([]int{fd})
	const look = 20                                              // milliseconds between two looks at ctx
	ready := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // G115: a descriptor
	for end := time.Now().Add(within); ctx.Err() == nil && time.Now().Before(end); {
		n, err := unix.Poll(ready, look)
		if n > 0 || err != nil && !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

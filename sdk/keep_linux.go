package sdk

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/gaia-go/gaia/sdk/wire"
)

// awaitEnd waits until the process of a pidfd has ended, and closes the pidfd.
// It waits by an epoll descriptor of its own: to give the pidfd to Go's poller,
// it would have to be set to non-blocking for all who hold it, and waitid(2)
// then fails for a process that runs.
func awaitEnd(ctx context.Context, pidfd []int) error {
	defer wire.CloseFiles(pidfd)
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return os.NewSyscallError("epoll_create1", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return errors.Join(os.NewSyscallError("fcntl", err), unix.Close(fd))
	}
	poller := os.NewFile(uintptr(fd), "epoll")
	defer poller.Close()
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, pidfd[0], &unix.EpollEvent{Events: unix.EPOLLIN}); err != nil {
		return os.NewSyscallError("epoll_ctl", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = poller.SetReadDeadline(time.Unix(1, 0)) })
	defer stop()
	conn, err := poller.SyscallConn()
	if err != nil {
		return err
	}
	err = conn.Read(func(fd uintptr) bool {
		n, err := unix.EpollWait(int(fd), make([]unix.EpollEvent, 1), 0)
		return n > 0 || err != nil && !errors.Is(err, unix.EINTR)
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

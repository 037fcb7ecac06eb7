package relay

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// State is what can be known of the peer of a connection that nobody reads from.
type State int

// The states.
const (
	There  State = iota // or nobody knows: it has sent something that was not read
	Ended               // it sends nothing more
	Broken              // it has gone
)

// StateOf looks at a connection and takes nothing from it.
func StateOf(c *net.TCPConn) State {
	state := Broken
	raw, err := c.SyscallConn()
	if err != nil {
		return state
	}
	_ = raw.Control(func(fd uintptr) { state = stateOf(int(fd)) }) // closed is broken
	return state
}

func stateOf(fd int) State {
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}} //nolint:gosec // the system's descriptors fit
	if _, err := unix.Poll(polled, 0); err == nil && polled[0].Revents&(unix.POLLERR|unix.POLLHUP) != 0 {
		return Broken
	}
	var one [1]byte
	n, _, err := unix.Recvfrom(fd, one[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch {
	case err == nil && n == 0:
		return Ended
	case err == nil, errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return There
	}
	return Broken
}

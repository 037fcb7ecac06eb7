package wire

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// linkSockets makes both ends of the socket that a host and its plugin speak
// link over. A pair needs no path and no permissions: who has not inherited an
// end cannot reach it.
func linkSockets() (host net.Conn, plugin *os.File, err error) {
	syscall.ForkLock.RLock()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(pair[0])
		unix.CloseOnExec(pair[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	plugin = os.NewFile(uintptr(pair[1]), "link")
	host, err = connOf(pair[0])
	if err != nil {
		return nil, nil, errors.Join(err, plugin.Close())
	}
	return host, plugin, nil
}

// connOf takes over a descriptor of a socket.
func connOf(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "link")
	defer f.Close()
	return net.FileConn(f)
}

// InheritLink returns the plugin's end of the socket that leads to the host's
// link; nil if there is none. It is called once, before any process is started
// that could inherit it.
func InheritLink() (net.Conn, error) {
	text := os.Getenv(EnvLinkFD)
	if text == "" {
		return nil, nil
	}
	_ = os.Unsetenv(EnvLinkFD) // it fails for impossible names only
	fd, err := strconv.Atoi(text)
	if err == nil && fd < 3 {
		err = errors.New("one of the standard streams")
	}
	if err == nil {
		unix.CloseOnExec(fd)
		var conn net.Conn
		if conn, err = connOf(fd); err == nil {
			return conn, nil
		}
	}
	return nil, fmt.Errorf("wire: %s is %q, want the descriptor of a socket: %w", EnvLinkFD, text, err)
}

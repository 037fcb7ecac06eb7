package outlet

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Of struct inet_diag_req_v2 and struct inet_diag_msg in linux/inet_diag.h.
const (
	diagSize = 56
	stateAt  = 1
	uidAt    = 64

	established = 1

	// diagTime is how long the kernel may take, in seconds: it answers within the
	// call.
	diagTime = 1
)

// peer is the user whose socket is at the other end of a connection on loopback.
// The kernel looks for exactly this pair of addresses, which takes some
// microseconds however many there are.
func peer(conn *net.TCPConn) (int, error) {
	theirs, ours := conn.RemoteAddr().(*net.TCPAddr).AddrPort(), conn.LocalAddr().(*net.TCPAddr).AddrPort()
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, fmt.Errorf("owner of a connection: %w", err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: diagTime}); err != nil {
		return 0, fmt.Errorf("owner of a connection: %w", err)
	}
	if err := unix.Sendto(fd, diagRequest(theirs, ours), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("owner of a connection: %w", err)
	}
	answer := make([]byte, 1024)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return 0, fmt.Errorf("owner of a connection: %w", err)
	}
	return owner(answer[:n])
}

// diagRequest asks for the socket that is at from and connected to to.
func diagRequest(from, to netip.AddrPort) []byte {
	b := make([]byte, 0, unix.SizeofNlMsghdr+diagSize)
	native, network := binary.NativeEndian, binary.BigEndian
	b = native.AppendUint32(b, unix.SizeofNlMsghdr+diagSize)
	b = native.AppendUint16(b, unix.SOCK_DIAG_BY_FAMILY)
	b = native.AppendUint16(b, unix.NLM_F_REQUEST)
	b = native.AppendUint64(b, 0) // sequence and port: there is one answer
	b = append(b, unix.AF_INET, unix.IPPROTO_TCP, 0, 0)
	b = native.AppendUint32(b, math.MaxUint32) // in any state
	b = network.AppendUint16(b, from.Port())
	b = network.AppendUint16(b, to.Port())
	for _, at := range []netip.AddrPort{from, to} {
		ip := at.Addr().Unmap().As4()
		b = append(append(b, ip[:]...), make([]byte, 12)...)
	}
	b = native.AppendUint32(b, 0)                 // any interface
	return native.AppendUint64(b, math.MaxUint64) // no cookie
}

// owner reads the answer.
func owner(answer []byte) (int, error) {
	if len(answer) < unix.SizeofNlMsghdr+4 {
		return 0, errors.New("owner of a connection: the kernel's answer is too short")
	}
	kind, body := binary.NativeEndian.Uint16(answer[4:]), answer[unix.SizeofNlMsghdr:]
	if kind == unix.NLMSG_ERROR {
		return 0, fmt.Errorf("owner of a connection: %w", unix.Errno(-int32(binary.NativeEndian.Uint32(body)))) //nolint:gosec // G115: a negative errno
	}
	if kind != unix.SOCK_DIAG_BY_FAMILY || len(body) < uidAt+4 {
		return 0, fmt.Errorf("owner of a connection: unknown answer %d of the kernel", kind)
	}
	if body[stateAt] != established {
		return 0, errors.New("owner of a connection: it has been closed") // it has none then, and shows as root's
	}
	return int(binary.NativeEndian.Uint32(body[uidAt:])), nil
}

// Package peercred tells who is at the other end of a unix socket.
package peercred

import (
	"errors"
	"fmt"
	"net"
	"os"
)

// Peer is who is at the other end of a unix socket, as the kernel tells.
type Peer struct {
	PID int
	UID int
}

// Of asks the kernel who opened the other end of conn.
func Of(conn net.Conn) (Peer, error) {
	socket, ok := conn.(*net.UnixConn)
	if !ok {
		return Peer{}, fmt.Errorf("%s is not a unix socket", conn.RemoteAddr().Network())
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return Peer{}, err
	}
	var p Peer
	var inner error
	err = raw.Control(func(fd uintptr) { p, inner = ofSocket(int(fd)) })
	return p, errors.Join(err, inner)
}

// SameUser is an error when another user is at the other end than runs this
// process.
func (p Peer) SameUser() error {
	if uid := os.Geteuid(); p.UID != uid {
		return fmt.Errorf("process %d belongs to user %d, not to user %d", p.PID, p.UID, uid)
	}
	return nil
}

// SameUserOrRoot is an error when neither the user who runs this process nor
// root is at the other end.
func (p Peer) SameUserOrRoot() error {
	if uid := os.Geteuid(); p.UID != uid && p.UID != 0 {
		return fmt.Errorf("process %d belongs to user %d, neither to user %d nor to root", p.PID, p.UID, uid)
	}
	return nil
}

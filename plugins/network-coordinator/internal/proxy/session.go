package proxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	"github.com/gaia-go/gaia/sdk/egress"
)

// session is a connection of a program to the proxy. One goroutine serves it.
type session struct {
	server *Server
	client *net.TCPConn
	in     *reader // from client; nil once a tunnel has what it had
	phase  atomic.Int32

	// For plain HTTP: the connection to the host of the last request.
	host     *conn.Conn
	fromHost *reader
}

// The phases of a session.
const (
	fresh   = int32(iota) // nothing has been asked yet
	busy                  // with a request or a tunnel
	waiting               // for the next request
)

// serve answers what the client asks, and closes the connection.
func (s *session) serve(ctx context.Context) {
	defer func() { _ = s.client.Close() }()
	s.in = s.server.reader(s.client)
	defer s.release()
	_ = s.client.SetReadDeadline(time.Now().Add(s.server.headTime))
	first, err := s.in.peek()
	if err != nil {
		return
	}
	if first == socksVersion {
		s.socks(ctx)
		return
	}
	for s.http(ctx) {
		// The next head has its time from its first byte on.
		_ = s.client.SetReadDeadline(time.Now().Add(s.server.awaitTime))
		s.phase.Store(waiting)
		if s.server.quitting() {
			return
		}
		if _, err := s.in.peek(); err != nil {
			return
		}
		_ = s.client.SetReadDeadline(time.Now().Add(s.server.headTime))
	}
}

// release gives the reader back to the others.
func (s *session) release() {
	s.hangUp()
	if s.in != nil {
		s.server.giveBack(s.in)
		s.in = nil
	}
}

// tunnel carries bytes both ways until the end, those first that were received
// together with the head.
func (s *session) tunnel(c *conn.Conn) {
	rest := s.in.buffered()
	_ = s.client.SetReadDeadline(time.Time{})
	if len(rest) > 0 {
		if !c.Attach(s.client) {
			c.Close(conn.Reset)
			return
		}
		if _, err := c.Write(rest); err != nil {
			c.Close(conn.Reset)
			return
		}
	}
	s.server.giveBack(s.in)
	s.in = nil // a tunnel that is idle holds no buffer
	c.Tunnel(s.client)
}

// say writes an answer of the proxy's own, which is the last on the connection.
func (s *session) say(a answer) {
	_ = s.client.SetWriteDeadline(time.Now().Add(s.server.headTime))
	if _, err := s.client.Write(a.bytes(true)); err != nil {
		return
	}
	s.linger()
}

// linger ends what goes to the client and reads on for a little: one that still
// sends would lose the answer if the connection were closed on what it sends.
func (s *session) linger() {
	if s.client.CloseWrite() != nil {
		return
	}
	_ = s.client.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, s.client, lingerBytes)
}

const (
	lingerTime  = 2 * time.Second
	lingerBytes = 1 << 20
)

// timedOut reports whether an error is the end of a deadline.
func timedOut(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

// target checks host and port of who asks.
func target(client, host string, port uint64) (egress.Target, error) {
	if port < 1 || port > 65535 {
		return egress.Target{}, errors.New("the port is not 1 to 65535")
	}
	h, err := egress.ParseHost(host)
	return egress.Target{Client: client, Host: h, Port: uint16(port)}, err
}

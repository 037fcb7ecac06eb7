package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"google.golang.org/grpc"
)

const (
	// handshakeTimeout is how long a handshake of TLS may take: some three round
	// trips around the world.
	handshakeTimeout = 5 * time.Second
	// maxTCP is how many connections there are by TCP, those whose handshake is
	// under way included. Others wait in the queue of the system.
	maxTCP = 512
)

// ServeTCP accepts calls on lis, which it closes, of clients who show a
// certificate, beside those of Serve and as long as these. config is asked
// for each connection: it may change.
func (s *Server) ServeTCP(ctx context.Context, lis net.Listener, config func() *tls.Config) error {
	s.tls = config
	seats := make(chan struct{}, maxTCP)
	d := newDoor(&seatedListener{Listener: lis, seats: seats, closed: make(chan struct{})}, s.logger)
	d.admit = func(ctx context.Context, conn net.Conn) {
		if shaken, err := handshake(ctx, conn, config()); err != nil {
			s.logger.Debug("connection closed: no handshake", "peer", conn.RemoteAddr().String(), "err", err)
			_ = conn.Close()
		} else {
			d.hand(shaken)
		}
	}
	d.open(ctx)
	err := s.grpc.Serve(d) // until Serve stops the server
	_ = d.Close()          // it may be closed already
	d.visitors.Wait()
	if err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		return fmt.Errorf("gateway: %w", err)
	}
	return nil
}

// tcpConn is a connection whose handshake is done.
type tcpConn struct {
	*tls.Conn

	config *tls.Config // of the handshake
}

// handshake lets both ends prove who they are.
func handshake(ctx context.Context, conn net.Conn, config *tls.Config) (*tcpConn, error) {
	if config == nil {
		return nil, errors.New("there are no certificates any more")
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	secure := tls.Server(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	if got := secure.ConnectionState().NegotiatedProtocol; got != "h2" {
		return nil, fmt.Errorf("the peer speaks %q, want h2 by ALPN", got)
	}
	return &tcpConn{secure, config}, nil
}

// seatedListener bounds how many of its connections are open.
type seatedListener struct {
	net.Listener

	seats  chan struct{}
	close  sync.Once
	closed chan struct{}
}

// Accept waits for a seat first.
func (l *seatedListener) Accept() (net.Conn, error) {
	select {
	case l.seats <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	conn, err := l.Listener.Accept()
	if err != nil {
		<-l.seats
		return nil, err
	}
	return &seatedConn{Conn: conn, leave: sync.OnceFunc(func() { <-l.seats })}, nil
}

// Close ends an Accept that waits.
func (l *seatedListener) Close() error {
	l.close.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// seatedConn gives its seat back when it is closed.
type seatedConn struct {
	net.Conn

	leave func()
}

// Close implements net.Conn.
func (c *seatedConn) Close() error {
	defer c.leave()
	return c.Conn.Close()
}

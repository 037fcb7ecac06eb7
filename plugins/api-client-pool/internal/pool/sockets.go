package pool

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// sockets opens the connections of a client and owns them. http.Transport
// forgets those whose dial outlives its request, and HTTP/2 ones that were busy
// when it was told to close; here none outlives close.
type sockets struct {
	dialer  net.Dialer
	timeout time.Duration // of a dial, name resolution included
	metrics *metrics

	mu     sync.Mutex
	ends   map[*socket]func() // how to end each, be it still a dial
	closed bool
}

func newSockets(timeout time.Duration, m *metrics) *sockets {
	return &sockets{timeout: timeout, metrics: m, ends: map[*socket]func(){}}
}

// dial is an http.Transport's DialContext.
func (s *sockets) dial(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	sock := &socket{owner: s}
	if !s.own(sock, cancel) {
		return nil, net.ErrClosed
	}
	conn, err := s.dialer.DialContext(ctx, network, address)
	if err != nil {
		s.disown(sock)
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return nil, fmt.Errorf("no connection within %v (connect_timeout): %w", s.timeout, err)
		}
		return nil, err
	}
	sock.Conn = conn
	if !s.own(sock, func() { _ = sock.Close() }) {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	s.metrics.opened.Inc()
	s.metrics.open.Inc()
	return sock, nil
}

// own notes how to end sock, and reports false when everything has ended.
func (s *sockets) own(sock *socket, end func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		delete(s.ends, sock)
		return false
	}
	s.ends[sock] = end
	return true
}

// disown reports whether sock was still owned.
func (s *sockets) disown(sock *socket) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, owned := s.ends[sock]
	delete(s.ends, sock)
	return owned
}

// close ends every dial and connection, busy ones too.
func (s *sockets) close() {
	s.mu.Lock()
	s.closed = true
	ends := make([]func(), 0, len(s.ends))
	for _, end := range s.ends {
		ends = append(ends, end)
	}
	s.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

// socket is a connection that counts its bytes and tells its owner when it ends.
type socket struct {
	net.Conn

	owner *sockets
}

func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.owner.metrics.received.Add(float64(n))
	return n, err
}

func (s *socket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.owner.metrics.sent.Add(float64(n))
	return n, err
}

// Close closes the connection. It may be called again.
func (s *socket) Close() error {
	if s.owner.disown(s) {
		s.owner.metrics.open.Dec()
	}
	return s.Conn.Close()
}

package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/sdk/egress"
	"github.com/prometheus/client_golang/prometheus"
)

// Counters are what connections are counted by.
type Counters struct {
	Opened         prometheus.Counter
	Open           prometheus.Gauge
	Received, Sent prometheus.Counter // bytes
}

// sockets opens the connections of a Set and owns them. http.Transport forgets
// those whose dial outlives its request, and HTTP/2 ones that were busy when it
// was told to close; here none outlives close.
type sockets struct {
	dialer   *egress.Dialer // whose resolver is traced
	plain    net.Dialer     // to proxies, which the operator has chosen
	timeout  time.Duration  // of a dial, name resolution included
	counters Counters

	mu     sync.Mutex
	ends   map[any]func() // how to end each, be it still a dial
	closed bool
}

func newSockets(o Options) *sockets {
	dialer := *o.Dialer
	dialer.Resolver = tracedResolver{next: net.DefaultResolver}
	if o.Dialer.Resolver != nil {
		dialer.Resolver = tracedResolver{next: o.Dialer.Resolver}
	}
	return &sockets{dialer: &dialer, timeout: o.ConnectTimeout, counters: o.Counters, ends: map[any]func(){}}
}

// dial is an http.Transport's DialContext. It asks the egress rules in the name
// of the profile whose request needs the connection.
func (s *sockets) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return s.open(dialContext(ctx), network, address, func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := traced(ctx, s.dialer, network, address)
		return conn, reason(err)
	})
}

// dialPlain is dial without asking the rules.
func (s *sockets) dialPlain(ctx context.Context, network, address string) (net.Conn, error) {
	return s.open(tracedPlain(ctx), network, address, s.plain.DialContext)
}

func (s *sockets) open(ctx context.Context, network, address string,
	dial func(ctx context.Context, network, address string) (net.Conn, error)) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	sock := &socket{owner: s}
	if !s.own(sock, cancel) {
		return nil, net.ErrClosed
	}
	conn, err := dial(ctx, network, address)
	if err != nil {
		s.disown(sock)
		return nil, s.late(ctx, err)
	}
	sock.Conn = conn
	if !s.own(sock, func() { _ = sock.Close() }) {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	s.counters.Opened.Inc()
	s.counters.Open.Inc()
	return sock, nil
}

// reason takes off what an error of a dial repeats: the phase and the target are
// said of each error, and there is no address of ours yet.
func reason(err error) error {
	dial, ok := errors.AsType[*egress.DialError](err)
	if !ok {
		return err
	}
	if op, ok := dial.Err.(*net.OpError); ok { //nolint:errorlint // one attempt's own error, not that of several
		told := *op
		told.Source = nil
		return &told
	}
	return dial.Err
}

// late says of a dial that took too long which limit it was.
func (s *sockets) late(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Errorf("no connection within %v (connect_timeout): %w", s.timeout, err)
	}
	return err
}

// own notes how to end what, and reports false when everything has ended.
func (s *sockets) own(what any, end func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		delete(s.ends, what)
		return false
	}
	s.ends[what] = end
	return true
}

// disown reports whether what was still owned.
func (s *sockets) disown(what any) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, owned := s.ends[what]
	delete(s.ends, what)
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

	owner  *sockets
	closed atomic.Bool
	ending atomic.Pointer[func()]
}

// OnClose has f called when the connection is closed, at once if it is already,
// and perhaps twice. It takes the place of the f before.
func (s *socket) OnClose(f func()) {
	s.ending.Store(&f)
	if s.closed.Load() {
		f()
	}
}

func (s *socket) Read(b []byte) (int, error) {
	n, err := s.Conn.Read(b)
	s.owner.counters.Received.Add(float64(n))
	return n, err
}

func (s *socket) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	s.owner.counters.Sent.Add(float64(n))
	return n, err
}

// Close closes the connection. It may be called again.
func (s *socket) Close() error {
	if s.owner.disown(s) {
		s.owner.counters.Open.Dec()
	}
	s.closed.Store(true)
	if f := s.ending.Load(); f != nil {
		(*f)()
	}
	return s.Conn.Close()
}

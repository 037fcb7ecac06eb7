package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"github.com/gaia-go/gaia/sdk/egress"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// patience is how long an address is waited for while there is another one: UDP
// does not tell that nobody is there.
const patience = time.Second

// http3Lane is connections of HTTP/3. It has an http3.Transport for each host,
// because one for all remembers every host for ever, and forgets it when there
// is neither a request nor a connection to it any more.
type http3Lane struct {
	options Options
	tls     *tls.Config
	quic    *quic.Config
	sockets *sockets

	mu     sync.Mutex
	hosts  map[string]*http3Host
	socket *quic.Transport // all connections share one, opened by the first
	closed bool
}

// http3Host is one host's.
type http3Host struct {
	*http3.Transport

	users int // requests that wait for headers, and connections; guarded by http3Lane.mu
}

func newHTTP3(o Options, config *tls.Config, s *sockets) *http3Lane {
	return &http3Lane{
		options: o,
		tls:     config,
		sockets: s,
		hosts:   map[string]*http3Host{},
		quic: &quic.Config{
			Versions:             []quic.Version{quic.Version1},
			HandshakeIdleTimeout: o.TLSTimeout,
			MaxIdleTimeout:       o.IdleTimeout,
			MaxIncomingStreams:   -1, // servers open none in HTTP/3
		},
	}
}

// RoundTrip sends one request.
func (l *http3Lane) RoundTrip(request *http.Request) (*http.Response, error) {
	host := l.join(request.URL)
	defer l.part(request.URL.Host, host)
	return host.RoundTrip(request)
}

// join returns a host's transport, which part lets go.
func (l *http3Lane) join(u *url.URL) *http3Host {
	l.mu.Lock()
	defer l.mu.Unlock()
	host := l.hosts[u.Host]
	if host == nil {
		host = &http3Host{}
		host.Transport = &http3.Transport{
			TLSClientConfig:        l.tls,
			QUICConfig:             l.quic,
			MaxResponseHeaderBytes: int(l.options.MaxResponseHeaders),
			DisableCompression:     true,
			Dial: func(ctx context.Context, _ string, config *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
				conn, err := l.dial(ctx, u, config, quicConfig)
				if err != nil {
					return nil, err
				}
				return conn, l.own(u.Host, host, conn)
			},
		}
		l.hosts[u.Host] = host
	}
	host.users++
	return host
}

func (l *http3Lane) part(name string, host *http3Host) {
	l.mu.Lock()
	defer l.mu.Unlock()
	host.users--
	if host.users == 0 && l.hosts[name] == host {
		delete(l.hosts, name)
	}
}

// dial opens a connection to the first address that answers and that the egress
// rules allow.
func (l *http3Lane) dial(ctx context.Context, u *url.URL, config *tls.Config, quicConfig *quic.Config) (*quic.Conn, error) {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		trace = &httptrace.ClientTrace{}
	}
	ctx, cancel := context.WithTimeout(ctx, l.options.ConnectTimeout+l.options.TLSTimeout)
	defer cancel()
	addrs, err := l.resolve(ctx, u)
	if err != nil {
		return nil, err
	}
	socket, err := l.open()
	if err != nil {
		return nil, err
	}
	if trace.TLSHandshakeStart != nil { // which QUIC's own is a part of
		trace.TLSHandshakeStart()
	}
	conn, err := inTurn(ctx, addrs, func(ctx context.Context, addr netip.AddrPort) (*quic.Conn, error) {
		return socket.Dial(ctx, net.UDPAddrFromAddrPort(addr), config, quicConfig)
	})
	if trace.TLSHandshakeDone != nil {
		var state tls.ConnectionState
		if conn != nil {
			state = conn.ConnectionState().TLS
		}
		trace.TLSHandshakeDone(state, err)
	}
	return conn, err
}

// inTurn dials one address after the other until one answers.
func inTurn(ctx context.Context, addrs []netip.AddrPort, dial func(context.Context, netip.AddrPort) (*quic.Conn, error)) (conn *quic.Conn, err error) {
	for i, addr := range addrs {
		attempt, cancel := ctx, func() {}
		if i < len(addrs)-1 {
			attempt, cancel = context.WithTimeout(ctx, patience)
		}
		conn, err = dial(attempt, addr)
		cancel()
		if err == nil || ctx.Err() != nil {
			return conn, err
		}
	}
	return nil, err
}

// resolve returns where u may be reached.
func (l *http3Lane) resolve(ctx context.Context, u *url.URL) ([]netip.AddrPort, error) {
	ctx, cancel := context.WithTimeout(ctx, l.options.ConnectTimeout)
	defer cancel()
	host, err := parseHost(u.Hostname())
	if err != nil {
		return nil, err
	}
	target := egress.Target{Client: call.From(ctx).Profile, Host: host, Port: portOf(u)}
	addrs, err := l.sockets.dialer.Resolve(dialContext(ctx), target)
	if err != nil {
		return nil, l.sockets.late(ctx, reason(err))
	}
	list := make([]netip.AddrPort, len(addrs))
	for i, addr := range addrs {
		list[i] = netip.AddrPortFrom(addr, target.Port)
	}
	return list, nil
}

// open returns the socket.
func (l *http3Lane) open() (*quic.Transport, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.socket != nil {
		return l.socket, nil
	}
	if !l.sockets.own(l, l.close) {
		return nil, net.ErrClosed
	}
	udp, err := net.ListenUDP("udp", nil)
	if err != nil {
		return nil, fmt.Errorf("open a UDP socket: %w", err)
	}
	l.socket = &quic.Transport{Conn: udp}
	return l.socket, nil
}

// own counts a connection until it ends.
func (l *http3Lane) own(name string, host *http3Host, conn *quic.Conn) error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return errors.Join(net.ErrClosed, conn.CloseWithError(0, ""))
	}
	host.users++
	l.mu.Unlock()
	counters := l.options.Counters
	counters.Opened.Inc()
	counters.Open.Inc()
	context.AfterFunc(conn.Context(), func() {
		// QUIC counts by itself; the bytes are known when the connection has ended.
		stats := conn.ConnectionStats()
		counters.Received.Add(float64(stats.BytesReceived))
		counters.Sent.Add(float64(stats.BytesSent))
		counters.Open.Dec()
		l.part(name, host)
	})
	return nil
}

// close ends all connections and the socket, for good.
func (l *http3Lane) close() {
	l.mu.Lock()
	l.closed = true
	socket := l.socket
	l.mu.Unlock()
	if socket != nil {
		_ = socket.Close()
		_ = socket.Conn.Close()
	}
}

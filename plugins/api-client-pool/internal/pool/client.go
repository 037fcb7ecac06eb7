package pool

import (
	"context"
	"crypto/tls"
	"net/http"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/resend"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

const (
	// socketBuffer lets a request's head and a body of some KiB leave in one
	// write. Larger bodies pass it by.
	socketBuffer = 16 << 10

	// sessions is how many TLS sessions are remembered, some KiB each.
	sessions = 256

	// continueWait is how long a request with "Expect: 100-continue" holds its
	// body back from a server that does not react. RFC 9110, 10.1.1 sets no
	// time; net/http's own default transport and curl wait 1s.
	continueWait = time.Second

	// headerSlack is how far over max_response_headers net/http still reads a
	// header section, for readable to refuse it. net/http's own limit is inexact
	// by some 300 bytes, and beyond it an HTTP/2 connection breaks with all its
	// other calls, and the reason is lost.
	headerSlack = 1 << 20

	// An HTTP/2 connection that has been silent for pingAfter is asked for a
	// sign of life and closed after pingWait without one. Otherwise a dead one
	// takes all calls to its host along until TCP gives up, some 15 minutes.
	pingAfter = 15 * time.Second
	pingWait  = 5 * time.Second
)

// client is one configuration's connections and the calls on them.
type client struct {
	settings  settings
	sockets   *sockets
	transport *http.Transport
	bulkhead  *bulkhead
	sender    http.RoundTripper // the transport and what decorates it

	mu     sync.Mutex
	calls  int // in flight
	closed bool
}

func newClient(s settings, m *metrics) *client {
	sockets := newSockets(s.connectTimeout, m)
	transport := newTransport(s, sockets)
	// The order of what a request passes, from the connection outwards.
	var sender http.RoundTripper = &sound{next: transport, limit: s.maxResponseHeaders}
	bulkhead := newBulkhead(sender, s.connectionsPerHost)
	sender = resend.New(resend.Options{
		Next: bulkhead, Metrics: m.resend, Connected: m.connected,
		Budget: s.budget, BaseDelay: s.baseDelay, MaxDelay: s.maxDelay, MaxPause: s.maxPause,
	})
	return &client{settings: s, sockets: sockets, transport: transport, bulkhead: bulkhead, sender: sender}
}

// newTransport is the one transport for all hosts and callers. As many
// connections may idle as may exist: the standard library's 2 idle ones a host
// would close and reopen the rest under load.
func newTransport(s settings, sockets *sockets) *http.Transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(s.http2)
	return &http.Transport{
		Proxy:                  nil, // a plugin's environment is an allow-list, so there is none to obey
		DialContext:            sockets.dial,
		TLSClientConfig:        newTLS(s),
		TLSHandshakeTimeout:    s.tlsTimeout,
		MaxIdleConns:           0, // unlimited: connectionsPerHost and idleTimeout bound them
		MaxIdleConnsPerHost:    s.connectionsPerHost,
		MaxConnsPerHost:        s.connectionsPerHost,
		IdleConnTimeout:        s.idleTimeout,
		ExpectContinueTimeout:  continueWait,
		MaxResponseHeaderBytes: s.maxResponseHeaders + headerSlack,
		WriteBufferSize:        socketBuffer,
		ReadBufferSize:         socketBuffer,
		Protocols:              protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
	}
}

// newTLS lets a server that was met before skip half of the handshake.
func newTLS(s settings) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		RootCAs:            s.roots,
		ClientSessionCache: tls.NewLRUClientSessionCache(sessions),
	}
}

// do checks message, sends it and reads the answer.
func (c *client) do(ctx context.Context, message *apiv1.DoRequest, t *trace) (*apiv1.DoResponse, error) {
	request, err := newRequest(message, c.settings.userAgent)
	if err != nil {
		return nil, err
	}
	if size := int64(len(message.GetBody())); size > c.settings.maxRequestBody {
		return nil, requestTooLarge(size, c.settings.maxRequestBody)
	}
	if message.GetTimeout() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, message.GetTimeout().AsDuration())
		defer cancel()
	}
	t.begin(request, newCall(message, request, c.settings))
	if ctx.Err() != nil {
		return nil, c.explain(ctx, t, ctx.Err())
	}
	request = request.WithContext(call.With(ctx, t.call))
	response, err := c.send(request, redirectLimit(message))
	if err != nil {
		return nil, c.explain(ctx, t, err)
	}
	defer response.Body.Close() //nolint:errcheck // what has been read is complete or an error already
	answer, err := c.read(response, t)
	if err != nil {
		return nil, c.explain(ctx, t, err)
	}
	return answer, nil
}

// send returns the response at which redirects end. The caller closes its body.
func (c *client) send(request *http.Request, limit int) (*http.Response, error) {
	redirects := &redirects{limit: limit}
	walker := http.Client{Transport: c.sender, CheckRedirect: redirects.check}
	response, err := walker.Do(request)
	if err == nil && request.Context().Err() != nil {
		// net/http has hung up; what a server says to that, before the
		// connection is gone, is not its answer to the request.
		_ = response.Body.Close()
		return nil, request.Context().Err()
	}
	return response, err
}

func (c *client) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calls++
}

func (c *client) leave() {
	c.mu.Lock()
	c.calls--
	last := c.closed && c.calls == 0
	c.mu.Unlock()
	if last {
		c.transport.CloseIdleConnections()
		c.sockets.close()
	}
}

func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	last := c.calls == 0
	c.mu.Unlock()
	c.transport.CloseIdleConnections()
	if last {
		c.sockets.close()
	}
}

package pool

import (
	"context"
	"net/http"
	"sync"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/coalesce"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/domain"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/profile"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/resend"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/still"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/transport"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/unpack"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// headerSlack is how far over max_response_headers net/http still reads a
// header section, for readable to refuse it. net/http's own limit is inexact
// by some 300 bytes, and beyond it an HTTP/2 connection breaks with all its
// other calls, and the reason is lost.
const headerSlack = 1 << 20

// client is one configuration's connections and the calls on them.
type client struct {
	settings  settings
	transport *transport.Set
	bulkhead  *bulkhead
	sender    http.RoundTripper // the transport and what decorates it

	mu     sync.Mutex
	calls  int // in flight
	closed bool
}

func newClient(s settings, m *metrics) *client {
	transport := transport.New(s.transport(m), s.routes)
	// The order of what a request passes, from the connection outwards.
	var sender http.RoundTripper = unpack.New(transport)
	sender = &sound{next: sender, limit: s.maxResponseHeaders}
	sender = &still.Watcher{Next: sender, Limit: s.bodyTimeout}
	bulkhead := newBulkhead(sender, func(host string) (int, string) {
		return s.domains.Connections(host, s.connectionsPerHost)
	})
	sender = &domain.Limiter{Next: bulkhead, Domains: s.domains}
	sender = &profile.Authoriser{Next: sender, Profiles: s.profiles}
	sender = resend.New(resend.Options{
		Next: sender, Metrics: m.resend, Connected: m.connected,
		Budget: s.budget, BaseDelay: s.baseDelay, MaxDelay: s.maxDelay, MaxPause: s.maxPause,
	})
	if s.coalesce {
		sender = coalesce.New(sender, m.shared)
	}
	if s.cache != nil {
		sender = s.cache.Over(sender)
	}
	return &client{settings: s, transport: transport, bulkhead: bulkhead, sender: sender}
}

// do checks message, sends it and reads the answer.
func (c *client) do(ctx context.Context, message *apiv1.DoRequest, t *trace) (*apiv1.DoResponse, error) {
	request, err := newRequest(message, &c.settings)
	if err != nil {
		return nil, err
	}
	if size := int64(len(message.GetBody())); size > c.settings.maxRequestBody {
		return nil, requestTooLarge(size, c.settings.maxRequestBody)
	}
	if timeout := c.settings.timeout(message); timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout)
		defer cancel()
	}
	t.begin(request, newCall(message, request, c.settings))
	if ctx.Err() != nil {
		return nil, c.explain(ctx, t, ctx.Err())
	}
	request = request.WithContext(call.With(ctx, t.call))
	response, err := c.send(request, t.call, redirectLimit(message))
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
func (c *client) send(request *http.Request, wants *call.Call, limit int) (*http.Response, error) {
	redirects := &redirects{limit: limit, version: wants.Version}
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
		c.end()
	}
}

func (c *client) close() {
	c.mu.Lock()
	c.closed = true
	last := c.calls == 0
	c.mu.Unlock()
	c.transport.CloseIdleConnections()
	if last {
		c.end()
	}
}

// end gives back what the client holds, when no call is in flight any more.
func (c *client) end() {
	if c.settings.cache != nil {
		_ = c.settings.cache.Close() // a directory that was only read and written loses nothing
	}
	c.transport.Close()
}

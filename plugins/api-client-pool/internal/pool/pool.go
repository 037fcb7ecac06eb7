// Package pool sends HTTP requests for many callers over one set of warm
// connections: it is the service gaia.api.v1.APIClientPool.
//
// A call travels Pool.Do → client.do → http.Client (redirects) → http.Transport
// (connections). What is between the last two are decorators of
// http.RoundTripper, whose order is written in newClient; package call is what
// they know of the caller.
package pool

import (
	"context"
	"sync"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/cache"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Pool is the service. It is safe for concurrent use.
type Pool struct {
	apiv1.UnimplementedAPIClientPoolServer

	metrics *metrics

	mu     sync.Mutex
	client *client // nil once closed
}

// New returns a pool with the default configuration. The caller closes it.
func New() *Pool {
	m := newMetrics()
	s, err := settingsFrom(context.Background(), nil)
	if err != nil {
		panic("internal: the default configuration is faulty: " + err.Error())
	}
	return &Pool{metrics: m, client: newClient(s, m)}
}

// Configure gives the pool new settings, and with them new connections; calls
// in flight end on the old ones, and cookies and tokens are forgotten. The error
// joins one sdk.FieldError per fault, without secrets.
func (p *Pool) Configure(ctx context.Context, config *apiv1.Config) error {
	s, err := settingsFrom(ctx, config)
	if err != nil {
		return err
	}
	if config.GetCache() != nil {
		if s.cache, err = cache.Open(config.GetCache(), cache.Options{Metrics: p.metrics.cache, Warn: sdk.Logger().Warn, Profiles: config.GetProfile()}); err != nil {
			return err
		}
	}
	return p.use(s)
}

func (p *Pool) use(s settings) error {
	fresh := newClient(s, p.metrics)
	p.mu.Lock()
	old := p.client
	if old != nil {
		p.client = fresh
	}
	p.mu.Unlock()
	if old == nil {
		fresh.close()
		return errClosed()
	}
	old.close()
	return nil
}

// Do sends one request and returns the whole response. The errors are those of
// api.proto; their text names the method, the server's address and the phase,
// and never a URL's path or query, a header's value or a body, in which secrets
// travel. After Close it answers Unavailable.
func (p *Pool) Do(ctx context.Context, request *apiv1.DoRequest) (*apiv1.DoResponse, error) {
	trace := newTrace()
	client, err := p.enter()
	if err != nil {
		p.metrics.record(trace, nil, err)
		return nil, err
	}
	defer client.leave()
	response, err := client.do(ctx, request, trace)
	p.metrics.record(trace, response, err)
	return response, err
}

// enter counts a call in at the client of the moment, which its leave ends.
func (p *Pool) enter() (*client, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.client == nil {
		return nil, errClosed()
	}
	p.client.enter()
	return p.client, nil
}

// Shutdown refuses new calls and closes the idle connections. It does not wait:
// calls in flight end normally, and the last of them closes what is left.
func (p *Pool) Shutdown(context.Context) error {
	p.mu.Lock()
	client := p.client
	p.client = nil
	p.mu.Unlock()
	if client != nil {
		client.close()
	}
	return nil
}

// Metrics are the pool's own, listed in the plugin's README.
func (p *Pool) Metrics() prometheus.Gatherer {
	return p.metrics.registry
}

func errClosed() error {
	return status.Error(codes.Unavailable, "the api client pool is closed")
}

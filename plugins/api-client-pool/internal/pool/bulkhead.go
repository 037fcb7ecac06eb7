package pool

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
)

// bulkhead is a RoundTripper that runs at most so many exchanges with one host
// at once; the others wait in the order of their arrival.
//
// http.Transport.MaxConnsPerHost does that for HTTP/1. For HTTP/2 it does not:
// when all streams of a connection are taken, net/http (Go 1.26) opens more
// connections than that, 15 where 4 were allowed, and what it offers instead,
// StrictMaxConcurrentRequests, leaves callers hanging. With no more exchanges
// than connections, neither comes to pass. (What is left: a server that allows
// but one or two streams a connection may see as many connections too many.)
type bulkhead struct {
	next   http.RoundTripper
	limits func(host string) (n int, field string) // exchanges with a host, and who says so

	mu    sync.Mutex
	hosts map[origin]*permits // of hosts with an exchange, running or waiting
}

// origin is what connections are shared within.
type origin struct{ scheme, host, port string }

// permits are one host's.
type permits struct {
	taken chan struct{} // holds one element for each running exchange
	field string        // of the configuration, that says how many
	users int           // exchanges, running or waiting; guarded by bulkhead.mu
}

func newBulkhead(next http.RoundTripper, limits func(host string) (int, string)) *bulkhead {
	return &bulkhead{next: next, limits: limits, hosts: map[origin]*permits{}}
}

// RoundTrip waits for a permit and keeps it until the response's body is closed.
func (b *bulkhead) RoundTrip(request *http.Request) (*http.Response, error) {
	from := originOf(request.URL)
	host := b.join(from)
	if err := host.acquire(request.Context()); err != nil {
		b.part(from, host)
		return nil, err
	}
	release := func() {
		<-host.taken
		b.part(from, host)
	}
	response, err := b.next.RoundTrip(request)
	if err != nil {
		release()
		return nil, err
	}
	response.Body = &permitBody{ReadCloser: response.Body, release: release}
	return response, nil
}

func (p *permits) acquire(ctx context.Context) error {
	select {
	case p.taken <- struct{}{}:
		return nil
	default:
	}
	exchange := call.ExchangeFrom(ctx)
	exchange.Await(fmt.Sprintf("one of %d connections (%s)", cap(p.taken), p.field))
	select {
	case p.taken <- struct{}{}:
		exchange.Await("")
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// join returns the permits of a host, which part lets go.
func (b *bulkhead) join(from origin) *permits {
	b.mu.Lock()
	defer b.mu.Unlock()
	host := b.hosts[from]
	if host == nil {
		limit, field := b.limits(from.host)
		host = &permits{taken: make(chan struct{}, limit), field: field}
		b.hosts[from] = host
	}
	host.users++
	return host
}

// part forgets a host with the last of its exchanges, so that the map is never
// larger than the calls in flight.
func (b *bulkhead) part(from origin, host *permits) {
	b.mu.Lock()
	defer b.mu.Unlock()
	host.users--
	if host.users == 0 {
		delete(b.hosts, from)
	}
}

func originOf(u *url.URL) origin {
	from := origin{scheme: u.Scheme, host: strings.ToLower(u.Hostname()), port: u.Port()}
	if from.port == "" {
		from.port = "80"
		if u.Scheme == "https" {
			from.port = "443"
		}
	}
	return from
}

// permitBody gives its permit back when it is closed.
type permitBody struct {
	io.ReadCloser

	once    sync.Once
	release func()
}

// Close closes the body; called again, it gives no second permit back.
func (b *permitBody) Close() error {
	err := b.ReadCloser.Close()
	b.once.Do(b.release)
	return err
}

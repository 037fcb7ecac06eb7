// Package outlet is the way out for pages: a proxy on loopback for each browser
// context, through which all its traffic goes. Browsers reach nothing else, and
// look up no name themselves. An outlet knows whose traffic it carries, asks the
// egress rules about each connection, and remembers why one failed, which a
// browser does not tell.
package outlet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/gaia-go/gaia/sdk/egress"
)

const (
	// headerTime is how long a browser may take over a request's header. It is
	// the only client, and sends one at once.
	headerTime = 30 * time.Second

	// idleTime is how long a connection without a request is kept.
	idleTime = 90 * time.Second

	// maxRequests is how many requests and tunnels an outlet carries at once.
	// Chromium makes 32 connections to a proxy, and 255 for WebSockets.
	maxRequests = 256

	// maxFailures is how many destinations are remembered as failed.
	maxFailures = 256
)

// Rules are what all outlets of a pool have in common. The fields do not change
// once an outlet is open.
type Rules struct {
	// Policy is asked about each connection.
	Policy *egress.Policy
	// Resolve has destinations, "host:port", that are found elsewhere.
	Resolve map[string]string
	// Proxy is where all connections go, unless nil. It is the operator's, so
	// that no rule is asked about its own address.
	Proxy *url.URL
	// Reported is called for each connection that is denied; see egress.Dialer.
	Reported func(*egress.Denied)

	guarded bool // by Guard

	mu    sync.Mutex
	ports map[uint16]bool // of open outlets, which no page may reach
	doors []func(netip.AddrPort) bool
}

// Refuse keeps pages from an address at which this program listens, whatever the
// rules say.
func (r *Rules) Refuse(at netip.AddrPort) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.doors = append(r.doors, egress.Listeners(at))
}

// Outlet is the way out of one browser context. Its methods are safe for
// concurrent use.
type Outlet struct {
	rules    *Rules
	dialer   egress.Dialer
	listener net.Listener
	server   *http.Server
	served   chan struct{}
	requests sync.WaitGroup

	mu        sync.Mutex
	closed    bool
	active    int                // requests
	using     context.Context    //nolint:containedctx // ends what is under way, with the use of the outlet; nil while nobody uses it
	rest      context.CancelFunc // ends using
	client    string
	proxy     *url.URL // of the page, in place of Rules.Proxy
	transport *http.Transport
	failures  map[string]error // by "host:port"
}

// Open opens an outlet. It carries nothing until Use. The caller closes it.
func (r *Rules) Open(ctx context.Context) (*Outlet, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("way out for pages: %w", err)
	}
	o := &Outlet{rules: r, listener: listener, served: make(chan struct{}), failures: make(map[string]error)}
	o.dialer = egress.Dialer{Policy: r.Policy, Own: r.isOwn, Reported: r.Reported}
	forward := &httputil.ReverseProxy{
		Rewrite:       asMade,
		Transport:     roundTripper(o.roundTrip),
		FlushInterval: -1, // what arrives is shown
		ErrorHandler:  func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
	}
	o.server = &http.Server{
		ReadHeaderTimeout: headerTime,
		IdleTimeout:       idleTime,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
			using, err := o.enter()
			if err != nil {
				o.failed(destination(request), err)
				http.Error(w, err.Error(), http.StatusServiceUnavailable)
				return
			}
			defer o.leave()
			ctx, cancel := context.WithCancel(request.Context())
			defer cancel()
			defer context.AfterFunc(using, cancel)()
			request = request.WithContext(ctx)
			if request.Method == http.MethodConnect {
				o.tunnel(w, request)
				return
			}
			forward.ServeHTTP(w, request)
		}),
	}
	r.own(o.port(), true)
	go func() {
		defer close(o.served)
		_ = o.server.Serve(r.guard(listener)) // until Close
	}()
	return o, nil
}

// asMade gives a request back what a ReverseProxy takes from it: these are the
// page's.
func asMade(r *httputil.ProxyRequest) {
	r.Out.URL.RawQuery = r.In.URL.RawQuery
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto"} {
		if values, ok := r.In.Header[name]; ok {
			r.Out.Header[name] = values
		}
	}
}

func (r *Rules) guard(l net.Listener) net.Listener {
	if r.guarded {
		return guarded{l}
	}
	return l
}

// own notes a port that is one of ours, or no longer.
func (r *Rules) own(port uint16, isOwn bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ports == nil {
		r.ports = make(map[uint16]bool)
	}
	if isOwn {
		r.ports[port] = true
	} else {
		delete(r.ports, port)
	}
}

func (r *Rules) isOwn(at netip.AddrPort) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ports[at.Port()] && (at.Addr().Unmap().IsLoopback() || at.Addr().IsUnspecified()) {
		return true
	}
	return slices.ContainsFunc(r.doors, func(isDoor func(netip.AddrPort) bool) bool { return isDoor(at) })
}

func (o *Outlet) port() uint16 {
	return o.listener.Addr().(*net.TCPAddr).AddrPort().Port() // it listens on TCP
}

// Address is what a browser context has as its proxy.
func (o *Outlet) Address() string { return "http://" + o.listener.Addr().String() }

// Use says whose traffic is carried from here on, and through which proxy of
// their own, if that is not nil. Failures of earlier traffic are forgotten.
func (o *Outlet) Use(client string, proxy *url.URL) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.transport != nil && (client != o.client || proxy != o.proxy) {
		o.transport.CloseIdleConnections() // they were allowed to somebody else
		o.transport = nil
	}
	o.client, o.proxy = client, proxy
	clear(o.failures)
	if o.using == nil {
		o.using, o.rest = context.WithCancel(context.Background())
	}
	if o.transport == nil {
		o.transport = o.newTransport(client, proxy)
	}
}

// Rest ends all that is under way, and lets nothing pass until Use: what a page
// asked for does not arrive when it has gone.
func (o *Outlet) Rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.rest != nil {
		o.rest()
	}
	o.using, o.rest = nil, nil
}

// Why is why the last connection to a destination, "host:port", failed; nil if
// none has. It is an *egress.Denied, an *egress.DialError or one of the proxy's.
func (o *Outlet) Why(destination string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.failures[destination]
}

func (o *Outlet) failed(destination string, err error) {
	if errors.Is(err, context.Canceled) {
		return // the page gave up
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.failures) < maxFailures || o.failures[destination] != nil {
		o.failures[destination] = err
	}
}

// enter counts a request in and returns what it ends with, unless nothing may
// pass or there are too many.
func (o *Outlet) enter() (context.Context, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed, o.using == nil:
		return nil, errClosed
	case o.active >= maxRequests:
		return nil, errBusy
	}
	o.active++
	o.requests.Add(1)
	return o.using, nil
}

func (o *Outlet) leave() {
	o.mu.Lock()
	o.active--
	o.mu.Unlock()
	o.requests.Done()
}

// Close ends all connections and returns when nothing of the outlet is left.
func (o *Outlet) Close() {
	o.mu.Lock()
	o.closed = true
	o.mu.Unlock()
	o.Rest()
	_ = o.server.Close() // of a listener on loopback
	<-o.served
	o.requests.Wait()
	o.mu.Lock()
	transport := o.transport
	o.transport = nil
	o.mu.Unlock()
	if transport != nil {
		transport.CloseIdleConnections()
	}
	o.rules.own(o.port(), false)
}

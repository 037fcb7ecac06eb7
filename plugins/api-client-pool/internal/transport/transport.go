// Package transport sends single requests. It has the connections: as many
// http.Transports as there are kinds of them, each made when it is first needed
// and shared by all requests that it fits.
package transport

import (
	"crypto/tls"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk/egress"
	"google.golang.org/grpc/codes"
)

// Options are what all connections have in common.
type Options struct {
	ConnectionsPerHost int           // busy and idle
	IdleTimeout        time.Duration // of a connection without requests
	ConnectTimeout     time.Duration // of a dial, name resolution included
	TLSTimeout         time.Duration // of a handshake
	MaxResponseHeaders int64         // bytes, at which reading stops
	HTTP2              bool          // whether it is used where a server offers it
	Dialer             *egress.Dialer
	Counters           Counters
}

// Route is how the requests of one profile leave.
type Route struct {
	Proxy *Proxy    // nil for none
	TLS   *Identity // what is asked of servers and shown to them
	Apart bool      // whether egress rules tell this profile from others

	// Knows says which servers the client's certificate is shown to; nil is all
	// of them.
	Knows func(*url.URL) bool
}

// Routes are those of all profiles by name; "" is of requests without one.
type Routes map[string]Route

// Set is a RoundTripper that sends each request by the route of its profile,
// with the version of HTTP that its call.Call asks for. It is safe for
// concurrent use.
type Set struct {
	options Options
	routes  Routes
	sockets *sockets

	mu    sync.Mutex
	lanes map[lane]http.RoundTripper
}

// lane is a kind of connections. What differs in one of these must not share
// one.
type lane struct {
	proxy   *Proxy
	tls     *tls.Config // of an Identity
	apart   bool        // whether egress rules tell profile, which may be "", from others
	profile string
	version apiv1.HTTPVersion
}

// New returns a set that knows no connection yet. The caller closes it.
func New(o Options, routes Routes) *Set {
	return &Set{
		options: o,
		routes:  routes,
		sockets: newSockets(o),
		lanes:   map[lane]http.RoundTripper{},
	}
}

// RoundTrip sends one request. What egress rules do not allow is a call.Failure,
// which ends the call; the failure of a proxy is a *ProxyError.
func (s *Set) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := s.send(request)
	if denied, ok := errors.AsType[*egress.Denied](err); ok {
		return nil, &call.Failure{Code: codes.PermissionDenied, Text: denied.Error()}
	}
	return response, err
}

func (s *Set) send(request *http.Request) (*http.Response, error) {
	c := call.From(request.Context())
	route := s.routes[c.Profile]
	if route.Proxy != nil {
		if err := s.permit(c.Profile, request.URL); err != nil {
			return nil, closing(request, err)
		}
	}
	if err := Fits(c.Version, request.URL, route.Proxy != nil, s.options.HTTP2); err != nil {
		return nil, closing(request, err)
	}
	next := s.lane(route, c, request.URL)
	if route.Proxy != nil {
		return through(route.Proxy, request, next)
	}
	return next.RoundTrip(request)
}

// Fits says why a request to u cannot be made with a version of HTTP, and is nil
// if it can.
func Fits(version apiv1.HTTPVersion, u *url.URL, proxied, http2 bool) error {
	switch {
	case version == apiv1.HTTPVersion_HTTP_3 && proxied:
		return errors.New("HTTP/3 does not go through a proxy, and there is one for this request")
	case version == apiv1.HTTPVersion_HTTP_3 && u.Scheme != "https":
		return errors.New("HTTP/3 is for https only")
	case version == apiv1.HTTPVersion_HTTP_2 && u.Scheme != "https":
		return errors.New("HTTP/2 is for https only")
	case version == apiv1.HTTPVersion_HTTP_2 && !http2:
		return errors.New("HTTP/2 is switched off (disable_http2)")
	}
	return nil
}

// closing returns err for a request that nobody will send: its body is ours to
// close.
func closing(request *http.Request, err error) error {
	if request.Body != nil {
		_ = request.Body.Close()
	}
	return err
}

// permit asks the rules about a request that a proxy will resolve: by its name,
// or by its address where it has one.
func (s *Set) permit(profile string, u *url.URL) error {
	host, err := parseHost(u.Hostname())
	if err != nil {
		return err
	}
	dialer := s.options.Dialer
	denied, is := errors.AsType[*egress.Denied](dialer.Policy.Name(egress.Target{Client: profile, Host: host, Port: portOf(u)}))
	if !is {
		return nil
	}
	denied.Passed = dialer.Policy.ReportOnly()
	if dialer.Reported != nil {
		dialer.Reported(denied)
	}
	if denied.Passed {
		return nil
	}
	return denied
}

// portOf is the port of a URL that has been checked.
func portOf(u *url.URL) uint16 {
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	switch {
	case err == nil:
		return uint16(port)
	case u.Scheme == "https":
		return 443
	}
	return 80
}

// lane returns the connections for a request, made now if it is the first.
func (s *Set) lane(route Route, c *call.Call, u *url.URL) http.RoundTripper {
	key := lane{proxy: route.Proxy, version: c.Version, tls: route.TLS.config(route.Knows == nil || route.Knows(u))}
	if route.Apart {
		key.apart, key.profile = true, c.Profile
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if next, ok := s.lanes[key]; ok {
		return next
	}
	if c.Version == apiv1.HTTPVersion_HTTP_3 {
		s.lanes[key] = newHTTP3(s.options, key.tls, s.sockets)
	} else {
		s.lanes[key] = s.newTransport(key)
	}
	return s.lanes[key]
}

// CloseIdleConnections closes the connections that carry no request. Those of
// HTTP/3, which cannot tell, go with their idle timeout or with Close.
func (s *Set) CloseIdleConnections() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, next := range s.lanes {
		if idle, ok := next.(*http.Transport); ok {
			idle.CloseIdleConnections()
		}
	}
}

// Close ends all dials and connections, busy ones too.
func (s *Set) Close() {
	s.CloseIdleConnections()
	s.sockets.close()
}

package outlet

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gaia-go/gaia/sdk/egress"
	socks "golang.org/x/net/proxy"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	errClosed = errors.New("the page has been closed")
	errBusy   = fmt.Errorf("the page has %d connections, which is the limit", maxRequests)
)

// roundTripper is a function as an http.RoundTripper.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip calls the function.
func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// roundTrip sends a plain HTTP request of the browser on.
func (o *Outlet) roundTrip(request *http.Request) (*http.Response, error) {
	o.mu.Lock()
	transport := o.transport
	o.mu.Unlock()
	if transport == nil {
		return nil, errClosed
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		o.failed(withPort(request.URL), err)
	}
	return response, err
}

// withPort is the destination of a plain HTTP request.
func withPort(u *url.URL) string {
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))
}

// destination is where a request goes, "host:port".
func destination(request *http.Request) string {
	if request.Method == http.MethodConnect {
		return request.Host
	}
	return withPort(request.URL)
}

// newTransport makes connections for plain HTTP requests. Each client of an
// outlet has its own: what one was allowed, the next may not be.
func (o *Outlet) newTransport(client string, proxy *url.URL) *http.Transport {
	return &http.Transport{
		DisableCompression:  true, // what the browser asks for, it gets
		MaxIdleConnsPerHost: 16,
		IdleConnTimeout:     idleTime,
		DialContext: func(ctx context.Context, _, address string) (net.Conn, error) {
			return o.dial(ctx, client, proxy, address)
		},
	}
}

// dial connects to a destination, "host:port", if that is allowed: directly, or
// through a proxy. All a proxy is asked for is a tunnel, so that it makes no
// difference to what runs over it.
func (o *Outlet) dial(ctx context.Context, client string, proxy *url.URL, destination string) (net.Conn, error) {
	target, err := parse(client, destination)
	if err != nil {
		return nil, err
	}
	if elsewhere := o.rules.Resolve[destination]; elsewhere != "" {
		if err := o.rules.allow(target); err != nil {
			return nil, err
		}
		return new(net.Dialer).DialContext(ctx, "tcp", elsewhere)
	}
	switch {
	case proxy != nil:
		return o.through(ctx, proxy, target, func(ctx context.Context, at egress.Target) (net.Conn, error) {
			return o.dialer.Dial(ctx, at) // a caller named it: it is held by the rules too
		})
	case o.rules.Proxy != nil:
		return o.through(ctx, o.rules.Proxy, target, func(ctx context.Context, at egress.Target) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort(at.Host.String(), strconv.Itoa(int(at.Port))))
		})
	}
	return o.dialer.Dial(ctx, target)
}

// allow asks about a destination whose addresses are not known here.
func (r *Rules) allow(target egress.Target) error {
	err := r.Policy.Name(target)
	if err == nil {
		return nil
	}
	if denied, ok := errors.AsType[*egress.Denied](err); ok && r.Reported != nil {
		r.Reported(denied)
	}
	if r.Policy.ReportOnly() {
		return nil
	}
	return err
}

func parse(client, destination string) (egress.Target, error) {
	name, text, err := net.SplitHostPort(destination)
	if err != nil {
		return egress.Target{}, err
	}
	host, err := egress.ParseHost(name)
	if err != nil {
		return egress.Target{}, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return egress.Target{}, fmt.Errorf("port %q is not a number up to 65535", text)
	}
	return egress.Target{Client: client, Host: host, Port: uint16(port)}, nil
}

// through asks a proxy for a tunnel. The name is asked about here; the addresses
// that it has are the proxy's to know.
func (o *Outlet) through(ctx context.Context, proxy *url.URL, target egress.Target, dial func(context.Context, egress.Target) (net.Conn, error)) (net.Conn, error) {
	if err := o.rules.allow(target); err != nil {
		return nil, err
	}
	at, err := parse(target.Client, proxy.Host)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", proxy.Redacted(), err)
	}
	conn, err := dial(ctx, at)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
	}
	if proxy.Scheme == "https" {
		conn = tls.Client(conn, &tls.Config{ServerName: proxy.Hostname(), MinVersion: tls.VersionTLS12})
	}
	handshake := connect
	if proxy.Scheme == "socks5" {
		handshake = connectSOCKS
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	err = handshake(ctx, conn, proxy, net.JoinHostPort(target.Host.String(), strconv.Itoa(int(target.Port))))
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("proxy %s: %w", proxy.Host, err)
	}
	return conn, nil
}

// connectSOCKS is the handshake of SOCKS 5 (RFC 1928, RFC 1929). Names are the
// proxy's to look up.
func connectSOCKS(ctx context.Context, conn net.Conn, proxy *url.URL, destination string) error {
	var auth *socks.Auth
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		auth = &socks.Auth{User: user.Username(), Password: password}
	}
	dialer, err := socks.SOCKS5("tcp", proxy.Host, auth, connected{conn})
	if err != nil {
		return err
	}
	// What it returns is conn, with addresses that nobody asks for.
	_, err = dialer.(socks.ContextDialer).DialContext(ctx, "tcp", destination)
	return err
}

// connected is a connection that has been made, as a dialer.
type connected struct{ net.Conn }

// Dial returns the connection.
func (c connected) Dial(string, string) (net.Conn, error) { return c.Conn, nil }

// DialContext returns the connection.
func (c connected) DialContext(context.Context, string, string) (net.Conn, error) {
	return c.Conn, nil
}

// connect is the handshake of a CONNECT tunnel.
func connect(_ context.Context, conn net.Conn, proxy *url.URL, destination string) error {
	header := make(http.Header)
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		header.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(user.Username()+":"+password)))
	}
	request := &http.Request{Method: http.MethodConnect, URL: &url.URL{Opaque: destination}, Host: destination, Header: header}
	if err := request.Write(conn); err != nil {
		return err
	}
	reader := bufio.NewReader(io.LimitReader(conn, 64<<10))
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return err
	}
	_ = response.Body.Close() // of a CONNECT, it has none
	if response.StatusCode != http.StatusOK {
		return refusal(response)
	}
	if reader.Buffered() > 0 {
		return errors.New("it sent data before the tunnel was used")
	}
	return nil
}

// refused is a proxy's answer to a request for a tunnel, other than yes.
type refused struct {
	code codes.Code
	text string
}

// Error is what the proxy said.
func (r *refused) Error() string { return r.text }

// GRPCStatus makes it the caller's to know that a rule of the proxy denies a page.
func (r *refused) GRPCStatus() *status.Status { return status.New(r.code, r.text) }

// maxReason is the longest reason that is taken from a proxy, in bytes.
const maxReason = 1 << 10

// refusal is why a proxy makes no tunnel. The network coordinator names its rule.
func refusal(response *http.Response) error {
	r := &refused{code: codes.Unavailable, text: "it answers " + response.Status}
	if response.StatusCode == http.StatusForbidden {
		r.code = codes.PermissionDenied
	}
	if reason := response.Header.Get("X-Gaia-Reason"); reason != "" {
		r.text += ": " + strings.ToValidUTF8(reason[:min(len(reason), maxReason)], "")
	}
	return r
}

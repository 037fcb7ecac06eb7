package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
)

// reasonHeader is where gaia's own proxy, the network coordinator, says why it
// refuses.
const reasonHeader = "X-Gaia-Reason"

// maxReason bounds, in bytes, what an error repeats of a proxy's words.
const maxReason = 200

// ProxyError tells that it was the proxy through which there is no way. Nothing
// of the request has reached the server.
type ProxyError struct {
	Proxy string // host and port; never the password
	Err   error
}

func (e *ProxyError) Error() string { return "proxy " + e.Proxy + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *ProxyError) Unwrap() error { return e.Err }

// Proxy is the way that requests take. Its password is printed by nobody.
type Proxy struct{ url *url.URL }

// String returns the URL without its password.
func (p *Proxy) String() string { return p.url.Redacted() }

// ParseProxy reads the URL of a proxy; nil is for "" and "none". The error does
// not repeat text, which may have a password in it.
func ParseProxy(text string) (*Proxy, error) {
	if text == "" || text == "none" {
		return nil, nil //nolint:nilnil // no proxy is a proxy like any other
	}
	const form = //nolint:gosec // G101: an example
	`write "http://user:password@127.0.0.1:3128", https:// or socks5h://`
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return nil, errors.New("not a well-formed URL; " + form)
	case u.Scheme == "socks5":
		return nil, errors.New("socks5 would resolve names on this side of the proxy; write socks5h")
	case u.Scheme != "http" && u.Scheme != "https" && u.Scheme != "socks5h":
		return nil, errors.New("a proxy of no known scheme; " + form)
	case u.Hostname() == "":
		return nil, errors.New("has no host; " + form)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("has more than scheme, user and host; " + form)
	case u.Scheme == "socks5h" && u.Port() == "":
		return nil, errors.New(`has no port; SOCKS proxies often have 1080`)
	}
	return &Proxy{u}, nil
}

// passage follows one request through its proxy, to tell the proxy's failures
// from the server's.
type passage struct {
	proxy   *Proxy
	through atomic.Bool // whether what comes next is the server's
}

// passageKey is of the passage in a request's context, which is also that of the
// dial that the request begins.
type passageKey struct{}

// through sends request through the proxy.
func through(proxy *Proxy, request *http.Request, next http.RoundTripper) (*http.Response, error) {
	p := &passage{proxy: proxy}
	ctx := context.WithValue(request.Context(), passageKey{}, p)
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { p.through.Store(true) },
	})
	response, err := next.RoundTrip(request.WithContext(ctx))
	if err != nil {
		return nil, p.blame(ctx, err)
	}
	response.Request = request
	// Of a plain http request the answer may be the proxy's own. One that wants a
	// password, or is gaia's, says so.
	if request.URL.Scheme == "http" && (response.StatusCode == http.StatusProxyAuthRequired || response.Header.Get(reasonHeader) != "") {
		_ = response.Body.Close()
		return nil, &ProxyError{Proxy: proxy.url.Host, Err: refusal(response)}
	}
	return response, nil
}

func (p *passage) blame(ctx context.Context, err error) error {
	if p.through.Load() || ctx.Err() != nil {
		return err
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && (op.Op == "proxyconnect" || op.Op == "socks connect") {
		err = op.Err
	}
	return &ProxyError{Proxy: p.proxy.url.Host, Err: err}
}

// connectAnswer is an http.Transport's OnProxyConnectResponse: net/http's own
// error has no more than the words of the status line.
func connectAnswer(ctx context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
	if response.StatusCode != http.StatusOK {
		return refusal(response)
	}
	if p, ok := ctx.Value(passageKey{}).(*passage); ok {
		p.through.Store(true)
	}
	return nil
}

// refusal is a proxy's answer that is no way through, in words.
func refusal(response *http.Response) error {
	text := response.Status
	if reason := response.Header.Get(reasonHeader); reason != "" {
		text = fmt.Sprintf("%d %s", response.StatusCode, reason)
	}
	if len(text) > maxReason {
		text = text[:maxReason] + "…"
	}
	return errors.New(strings.ToValidUTF8(text, "\uFFFD"))
}

// dialProxy returns an http.Transport's DialContext to a proxy. Egress rules are
// about where requests lead, not about the way.
//
// The TLS of an https proxy begins here, because net/http would show it the
// client's certificate that is meant for the server.
func (s *Set) dialProxy(proxy *Proxy) func(ctx context.Context, network, address string) (net.Conn, error) {
	if proxy.url.Scheme != "https" {
		return s.sockets.dialPlain
	}
	config := s.routes[""].TLS.config(false).Clone()
	config.ServerName = proxy.url.Hostname()
	config.NextProtos = []string{"http/1.1"}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := s.sockets.dialPlain(ctx, network, address)
		if err != nil {
			return nil, err
		}
		ctx, cancel := context.WithTimeout(ctx, s.options.TLSTimeout)
		defer cancel()
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return secure, nil
	}
}

// hop is the URL as an http.Transport needs it: the TLS of an https one
// is dialProxy's.
func (p *Proxy) hop() *url.URL {
	if p.url.Scheme != "https" {
		return p.url
	}
	plain := *p.url
	plain.Scheme = "http"
	if plain.Port() == "" {
		plain.Host += ":443"
	}
	return &plain
}

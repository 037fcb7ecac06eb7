package transport

import (
	"crypto/tls"
	"errors"
	"net/http"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

const (
	// socketBuffer lets a request's head and a body of some KiB leave in one
	// write. Larger bodies pass it by.
	socketBuffer = 16 << 10

	// continueWait is how long a request with "Expect: 100-continue" holds its
	// body back from a server that does not react. RFC 9110, 10.1.1 sets no
	// time; net/http's own default transport and curl wait 1s.
	continueWait = time.Second

	// An HTTP/2 connection that has been silent for pingAfter is asked for a
	// sign of life and closed after pingWait without one. Otherwise a dead one
	// takes all calls to its host along until TCP gives up, some 15 minutes.
	pingAfter = 15 * time.Second
	pingWait  = 5 * time.Second
)

// newTransport makes the connections of a lane. As many may idle as may exist:
// the standard library's 2 idle ones a host would close and reopen the rest
// under load.
func (s *Set) newTransport(key lane) *http.Transport {
	o := s.options
	t := &http.Transport{
		Proxy:                  nil, // a plugin's environment is an allow-list, so there is none to obey
		DialContext:            s.sockets.dial,
		TLSClientConfig:        key.tls.Clone(), // net/http writes into it
		TLSHandshakeTimeout:    o.TLSTimeout,
		MaxIdleConns:           0, // unlimited: ConnectionsPerHost and IdleTimeout bound them
		MaxIdleConnsPerHost:    o.ConnectionsPerHost,
		MaxConnsPerHost:        o.ConnectionsPerHost,
		IdleConnTimeout:        o.IdleTimeout,
		ExpectContinueTimeout:  continueWait,
		MaxResponseHeaderBytes: o.MaxResponseHeaders,
		WriteBufferSize:        socketBuffer,
		ReadBufferSize:         socketBuffer,
		DisableCompression:     true, // package unpack does it, for more codings
		Protocols:              new(http.Protocols),
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingWait},
	}
	t.Protocols.SetHTTP1(key.version != apiv1.HTTPVersion_HTTP_2)
	t.Protocols.SetHTTP2(o.HTTP2 && key.version != apiv1.HTTPVersion_HTTP_1_1)
	if key.version == apiv1.HTTPVersion_HTTP_2 {
		t.TLSClientConfig.VerifyConnection = insistOnHTTP2
	}
	if key.proxy != nil {
		t.Proxy = http.ProxyURL(key.proxy.hop())
		t.DialContext = s.dialProxy(key.proxy)
		t.OnProxyConnectResponse = connectAnswer
	}
	return t
}

// insistOnHTTP2 ends the handshake with a server that would speak HTTP/1.1:
// net/http would go along.
func insistOnHTTP2(state tls.ConnectionState) error {
	if state.NegotiatedProtocol != "h2" {
		return errors.New("the server does not offer HTTP/2")
	}
	return nil
}

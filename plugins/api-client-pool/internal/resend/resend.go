// Package resend sends requests, and sends them again where HTTP allows it.
package resend

import (
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/body"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
)

// Resender is an http.RoundTripper.
type Resender struct {
	Next      http.RoundTripper
	Connected func(reused bool)
}

// RoundTrip sends request.
func (r *Resender) RoundTrip(request *http.Request) (*http.Response, error) {
	c := call.From(request.Context())
	e := c.Begin(target(request.URL), r.Connected)
	c.Note(func(o *call.Outcome) { o.Attempts++ })
	response, err := r.Next.RoundTrip(request.WithContext(e.Follow(request.Context())))
	if err != nil || c.MaxBody == 0 {
		return response, err
	}
	e.Reach(call.Reading)
	data, err := body.Read(response, c.MaxBody)
	_ = response.Body.Close()
	if err != nil {
		return nil, err
	}
	response.Body = body.Of(data, true)
	return response, nil
}

// target is the address of the server that u is of.
func target(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	default:
		port = "80"
	}
	return net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// Package unpack asks servers for packed bodies and unpacks them: gzip, br and
// zstd (RFC 9110, 8.4).
package unpack

import (
	"context"
	"maps"
	"net/http"
	"runtime"
	"strings"
)

const (
	// accept is what is asked for.
	accept = "gzip, br, zstd"

	// maxCodings bounds how often a body may be packed over. Each needs memory,
	// and nobody means more than one.
	maxCodings = 4
)

// Unpacker is a RoundTripper that asks for packed bodies where a request does
// not say itself what it takes, and unpacks them. A body that is no such thing,
// or that breaks off, ends with an error.
type Unpacker struct {
	next   http.RoundTripper
	accept []string // shared by all requests, written by none
	pools  pools
	turns  turns
}

// New returns an Unpacker over next.
func New(next http.RoundTripper) *Unpacker {
	// One processor is left to all else: a few hundred bytes can be work for
	// seconds, and whoever asks whether we are alive would wait behind them all.
	return &Unpacker{next: next, accept: []string{accept}, turns: make(turns, max(1, runtime.GOMAXPROCS(0)-1))}
}

// RoundTrip sends one request. Where it unpacks, the response looks as if it had
// never been packed, and its Uncompressed is true.
func (u *Unpacker) RoundTrip(request *http.Request) (*http.Response, error) {
	if !asks(request) {
		return u.next.RoundTrip(request)
	}
	asking := request.WithContext(request.Context()) // a copy
	asking.Header = maps.Clone(request.Header)
	asking.Header["Accept-Encoding"] = u.accept
	response, err := u.next.RoundTrip(asking)
	if err != nil {
		return nil, err
	}
	response.Request = request
	u.unpack(request.Context(), response)
	return response, nil
}

// asks reports whether request leaves the coding to us. A part of a packed body
// cannot be unpacked, and a HEAD has none (golang.org/issue/8923, 5522).
func asks(request *http.Request) bool {
	_, own := request.Header["Accept-Encoding"]
	_, part := request.Header["Range"]
	return !own && !part && request.Method != http.MethodHead
}

// unpack takes off the codings that it knows, the last one that was put on
// first. Reading the body ends with ctx.
func (u *Unpacker) unpack(ctx context.Context, response *http.Response) {
	packed := response.Header.Values("Content-Encoding")
	if len(packed) == 0 || response.Body == http.NoBody || response.ContentLength == 0 || bodiless(response.StatusCode) {
		return
	}
	codings := list(packed)
	if len(codings) > maxCodings {
		return // as it came, which the caller sees
	}
	for len(codings) > 0 {
		pool := u.pools.of(codings[len(codings)-1])
		if pool == nil {
			break
		}
		response.Body = &body{packed: response.Body, pool: pool, turns: u.turns, ended: ctx.Err}
		response.Uncompressed = true
		codings = codings[:len(codings)-1]
	}
	if !response.Uncompressed {
		return
	}
	response.ContentLength = -1
	response.Header.Del("Content-Length")
	response.Header.Del("Content-Encoding")
	if len(codings) > 0 {
		response.Header.Set("Content-Encoding", strings.Join(codings, ", "))
	}
}

func bodiless(status int) bool {
	return status == http.StatusNoContent || status == http.StatusNotModified
}

// list returns the codings in the order in which they were put on. "identity"
// is none (RFC 9110, 12.5.3).
func list(values []string) []string {
	var codings []string
	for _, value := range values {
		for coding := range strings.SplitSeq(value, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				codings = append(codings, coding)
			}
		}
	}
	return codings
}

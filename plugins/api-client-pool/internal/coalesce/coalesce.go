// Package coalesce lets identical requests that are under way at once share one
// exchange.
package coalesce

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"sync"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/body"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"github.com/prometheus/client_golang/prometheus"
)

// Group is an http.RoundTripper. Its responses are each caller's own: headers
// are copied, and so are bodies when they are taken. It is safe for concurrent
// use.
type Group struct {
	next   http.RoundTripper
	shared prometheus.Counter

	mu      sync.Mutex
	flights map[string]*flight // under way, by what they ask for
}

// New returns a Group over next, which reads bodies whole as package resend
// does. shared counts the requests that got another's response.
func New(next http.RoundTripper, shared prometheus.Counter) *Group {
	return &Group{next: next, shared: shared, flights: map[string]*flight{}}
}

// flight is one exchange for all who ask for the same. Who began it makes it, on
// his own goroutine and in his own time: most requests are alone.
type flight struct {
	call   *call.Call // of who began it
	joined bool       // whether others wait; guarded by Group.mu until the landing

	landed   chan struct{} // closed when there is a result, which nobody writes to then
	result   call.Result   // of who began it
	response *http.Response
	data     []byte // its body
	err      error
	again    bool // whether all that is one only for who began it
}

// RoundTrip sends request, or waits for the response to an identical one that is
// under way. Whoever gives up does so for himself alone: when that is who began,
// one of the others begins anew.
func (g *Group) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	c := call.From(ctx)
	if !isShareable(request, c) {
		return g.next.RoundTrip(request)
	}
	name := describe(request, c)
	for {
		f, first := g.join(name, c)
		if first {
			return g.fly(name, f, request)
		}
		c.Follow(f.call)
		select {
		case <-f.landed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if !f.again {
			g.shared.Inc()
			c.Adopt(f.result)
			return f.own(request)
		}
	}
}

// isShareable reports whether a request asks for something that others may have,
// too, and for all of it at once.
func isShareable(request *http.Request, c *call.Call) bool {
	return c.MaxBody > 0 && (request.Body == nil || request.Body == http.NoBody) &&
		(request.Method == http.MethodGet || request.Method == http.MethodHead)
}

// describe is all that makes a response the one that was asked for. It is built
// on the stack: each request has one, and few are ever shared.
func describe(request *http.Request, c *call.Call) string {
	var space [512]byte
	var names [24]string
	text := append(space[:0], request.Method...)
	for _, part := range []string{request.URL.Scheme, request.URL.Host, request.URL.EscapedPath(), request.URL.RawQuery, request.Host, c.Profile} {
		text = append(append(text, '\n'), part...) // which none of them can have
	}
	for _, n := range []int64{int64(c.Version), int64(c.Cache), int64(c.Retries), int64(c.HedgeAfter), c.MaxBody} {
		text = strconv.AppendInt(append(text, '\n'), n, 10)
	}
	text = strconv.AppendBool(append(text, '\n'), c.Hedge)
	sorted := names[:0]
	for name := range request.Header {
		sorted = append(sorted, name)
	}
	slices.Sort(sorted)
	for _, name := range sorted {
		for _, value := range request.Header[name] {
			text = append(append(append(append(text, '\n'), name...), ':'), value...)
		}
	}
	return string(text)
}

// join returns the flight of that name, and whether it began with this call.
func (g *Group) join(name string, c *call.Call) (f *flight, first bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flights[name]; f != nil {
		f.joined = true
		return f, false
	}
	f = &flight{call: c, landed: make(chan struct{})}
	g.flights[name] = f
	return f, true
}

// fly makes the exchange of f, and returns its result as that of who began it.
func (g *Group) fly(name string, f *flight, request *http.Request) (*http.Response, error) {
	f.again = true // should the exchange panic
	defer func() {
		g.land(name, f)
		close(f.landed)
	}()
	response, err := g.next.RoundTrip(request)
	if !g.land(name, f) {
		return response, err
	}
	f.response, f.err, f.result = response, err, f.call.Result()
	if err == nil {
		f.data, f.err = body.Read(response, f.call.MaxBody)
	}
	f.again = f.err != nil && (request.Context().Err() != nil || isLimited(f.err))
	return f.own(request)
}

// isLimited reports whether a request was not sent because a wait would have
// ended after its deadline, which says nothing to those with another one.
func isLimited(err error) bool {
	failure, ok := errors.AsType[*call.Failure](err)
	return ok && failure.RetryAfter > 0
}

// land lets nobody join f any more, and reports whether somebody has.
func (g *Group) land(name string, f *flight) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.flights[name] == f {
		delete(g.flights, name)
	}
	return f.joined
}

// own is the result as one caller's own.
func (f *flight) own(request *http.Request) (*http.Response, error) {
	if f.err != nil {
		return nil, f.err
	}
	response := *f.response
	response.Header = f.response.Header.Clone()
	response.Trailer = f.response.Trailer.Clone()
	response.Request = request
	response.Body = body.Of(f.data, false)
	return &response, nil
}

// Package coalesce lets identical requests that are under way at once share one
// exchange.
package coalesce

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

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

// flight is one exchange for all who ask for the same.
type flight struct {
	call   *call.Call
	wait   *patience
	cancel context.CancelFunc

	waiting int // callers that are still there; guarded by Group.mu, as is joined
	joined  int // callers that there ever were

	landed   chan struct{} // closed when there is a result, which nobody writes to then
	response *http.Response
	data     []byte // its body
	err      error
}

// RoundTrip sends request, or waits for the response to an identical one that is
// under way. Whoever gives up does so for himself alone; the exchange ends when
// the last has given up.
func (g *Group) RoundTrip(request *http.Request) (*http.Response, error) {
	ctx := request.Context()
	c := call.From(ctx)
	if !isShareable(request, c) {
		return g.next.RoundTrip(request)
	}
	name := describe(request, c)
	f, first := g.join(name, request, c)
	c.Follow(f.call)
	select {
	case <-f.landed:
	case <-ctx.Done():
		g.leave(name, f)
		return nil, ctx.Err()
	}
	if !first {
		g.shared.Inc()
		c.Note(func(o *call.Outcome) { o.Shared = true })
	}
	return f.own(request)
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

// join returns the flight of that name, and whether it began with this request.
func (g *Group) join(name string, request *http.Request, c *call.Call) (*flight, bool) {
	ctx := request.Context()
	g.mu.Lock()
	defer g.mu.Unlock()
	if f := g.flights[name]; f != nil {
		f.waiting++
		f.joined++
		f.wait.extend(ctx)
		return f, false
	}
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	f := &flight{call: c.Again(), wait: &patience{Context: own}, cancel: cancel, waiting: 1, joined: 1, landed: make(chan struct{})}
	f.wait.extend(ctx)
	g.flights[name] = f
	go g.fly(name, f, request.WithContext(call.With(f.wait, f.call)))
	return f, true
}

// fly makes the exchange of f.
func (g *Group) fly(name string, f *flight, request *http.Request) {
	defer f.cancel()
	f.response, f.err = g.next.RoundTrip(request) //nolint:bodyclose // it has been read, or each caller closes its own
	g.mu.Lock()
	g.remove(name, f)
	g.mu.Unlock() // nobody joins any more
	if f.err == nil && f.joined > 1 {
		f.data, f.err = body.Read(f.response, f.call.MaxBody)
	}
	close(f.landed)
}

// leave takes a caller out of f. The last one ends the exchange, and returns
// when it has ended.
func (g *Group) leave(name string, f *flight) {
	g.mu.Lock()
	f.waiting--
	last := f.waiting == 0
	if last {
		g.remove(name, f)
	}
	g.mu.Unlock()
	if last {
		f.cancel()
		<-f.landed
	}
}

// remove takes f out of the flights that can be joined.
func (g *Group) remove(name string, f *flight) {
	if g.flights[name] == f {
		delete(g.flights, name)
	}
}

// own is the result as one caller's own. It is called after the landing.
func (f *flight) own(request *http.Request) (*http.Response, error) {
	if f.err != nil {
		return nil, f.err
	}
	if f.joined == 1 {
		f.response.Request = request
		return f.response, nil
	}
	response := *f.response
	response.Header = f.response.Header.Clone()
	response.Trailer = f.response.Trailer.Clone()
	response.Request = request
	response.Body = body.Of(f.data, false)
	return &response, nil
}

// patience is a context whose deadline is the latest of those who wait. It does
// not end then: each of them has a context that does.
type patience struct {
	context.Context //nolint:containedctx // it is one itself

	mu       sync.Mutex
	deadline time.Time
	endless  bool
}

// Deadline returns the latest deadline so far.
func (p *patience) Deadline() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.deadline, !p.endless
}

// extend takes the deadline of one more who waits.
func (p *patience) extend(ctx context.Context) {
	deadline, ok := ctx.Deadline()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.endless = p.endless || !ok
	if deadline.After(p.deadline) {
		p.deadline = deadline
	}
}

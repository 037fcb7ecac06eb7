// Package call is what travels with a request through the pool's round trippers
// beside HTTP: what the caller asked for, and what became of it.
package call

import (
	"context"
	"net/http"
	"sync"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// Call is one request of a caller. What it asks for is not written to once the
// call is under way; what became of it is safe for concurrent use. The zero
// value is a call of nobody's: it is sent once, and its body is passed on as it
// comes.
type Call struct {
	Profile    string            // name; "" for none
	Cache      apiv1.CacheMode   // how a cache is used
	Version    apiv1.HTTPVersion // of HTTP that must be used
	Idempotent bool              // by its method or an idempotency key
	Retries    int               // how often it may be sent again at most
	Hedge      bool              // whether a second copy may be sent
	HedgeAfter time.Duration     // when; 0 for the domain's 95th percentile

	// MaxBody is the largest body of a response, which is then read whole before
	// it is passed on, so that one that breaks off can be asked for again. 0 is
	// a stream: its body is passed on as it comes.
	MaxBody int64

	mu        sync.Mutex
	outcome   Outcome
	exchanges []*Exchange  // all that were begun
	first     [1]*Exchange // where exchanges begins: most calls have but one
	current   *Exchange    // the one that counts
	leader    *Call        // whose exchange this call waits for; nil for its own
	sent      bool         // something left before the last redirect
}

// Outcome is what became of a call.
type Outcome struct {
	Attempts int               // how often it was sent since the last redirect
	Cache    apiv1.CacheStatus // what the cache did
	Shared   bool              // whether the response was another identical request's
}

// Note changes the outcome.
func (c *Call) Note(change func(*Outcome)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.outcome)
}

// Outcome returns what became of the call so far.
func (c *Call) Outcome() Outcome {
	c.mu.Lock()
	outcome, leader := c.outcome, c.leader
	c.mu.Unlock()
	if leader != nil {
		outcome.Attempts = leader.Outcome().Attempts
	}
	return outcome
}

// Redirected begins the outcome anew, for the request that a redirect led to.
// What was sent before remains sent.
func (c *Call) Redirected() {
	sent, current := c.Sent(), c.Exchange()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.outcome = Outcome{}
	c.leader = nil
	c.sent, c.current = sent, current
}

// Begin adds an exchange with target, "host:port", and makes it the one that
// counts. connected is told each time it gets a connection; it may be nil.
func (c *Call) Begin(target string, connected func(reused bool)) *Exchange {
	e := &Exchange{target: target, connected: connected, replayable: c.Idempotent, begun: time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = nil
	if c.exchanges == nil {
		c.exchanges = c.first[:0]
	}
	c.exchanges = append(c.exchanges, e)
	c.current = e
	return e
}

// Choose makes e the exchange that counts.
func (c *Call) Choose(e *Exchange) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = e
}

// Follow makes the exchanges of leader those of c, until c begins its own.
func (c *Call) Follow(leader *Call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = leader
}

// Result is the part of what became of a call that another may have, too.
type Result struct {
	exchange *Exchange
	attempts int
	sent     bool
}

// Result returns what became of the call so far, for Adopt.
func (c *Call) Result() Result {
	return Result{exchange: c.Exchange(), attempts: c.Outcome().Attempts, sent: c.Sent()}
}

// Adopt makes the result of another call, which c has followed, that of c.
func (c *Call) Adopt(r Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader, c.current = nil, r.exchange
	c.sent = c.sent || r.sent
	c.outcome.Attempts, c.outcome.Shared = r.attempts, true
}

// Exchange returns the exchange that counts: the last one, or the faster of two
// copies. It is nil before the first.
func (c *Call) Exchange() *Exchange {
	c.mu.Lock()
	leader, current := c.leader, c.current
	c.mu.Unlock()
	if leader != nil {
		if e := leader.Exchange(); e != nil {
			return e
		}
	}
	return current
}

// Sent reports whether something of the request may have reached a server.
func (c *Call) Sent() bool {
	c.mu.Lock()
	leader, exchanges, sent := c.leader, c.exchanges, c.sent
	c.mu.Unlock()
	if sent {
		return true
	}
	for _, e := range exchanges {
		if e.Sent() {
			return true
		}
	}
	return leader != nil && leader.Sent()
}

// Idempotent reports whether a request may be repeated: RFC 9110, 9.2.2 says so
// of its method, or an Idempotency-Key that the server knows repetitions by,
// under this name or the one from before it, as net/http sees it.
func Idempotent(method string, header http.Header) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPut, http.MethodDelete:
		return true
	}
	return header.Get("Idempotency-Key") != "" || header.Get("X-Idempotency-Key") != ""
}

// key is of the call in a context.
type key struct{}

// With returns a context that carries c.
func With(ctx context.Context, c *Call) context.Context { return context.WithValue(ctx, key{}, c) }

// From returns the call that ctx carries, or an empty one.
func From(ctx context.Context) *Call {
	if c, ok := ctx.Value(key{}).(*Call); ok {
		return c
	}
	return &Call{}
}

// Bare returns a context that ends with ctx and has none of its values: what is
// done in it is nobody's call, and followed by no trace.
func Bare(ctx context.Context) context.Context { return bare{ctx} }

type bare struct{ context.Context } //nolint:containedctx // it is one

// Value returns nil.
func (bare) Value(any) any { return nil }

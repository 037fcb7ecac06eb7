// Package call is what travels with a request through the pool's round trippers
// beside HTTP: what the caller asked for, and what became of it.
package call

import (
	"context"
	"sync"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
)

// Call is one request of a caller. What it asks for is not written to once the
// call is under way; what became of it is safe for concurrent use.
type Call struct {
	Profile    string            // name; "" for none
	Cache      apiv1.CacheMode   // how a cache is used
	Version    apiv1.HTTPVersion // of HTTP that must be used
	Idempotent bool              // by its method or an idempotency key
	Retries    int               // how often it may be sent again at most
	Hedge      bool              // whether a second copy may be sent
	HedgeAfter time.Duration     // when; 0 for the domain's 95th percentile

	mu      sync.Mutex
	outcome Outcome
}

// Outcome is what became of a call.
type Outcome struct {
	Attempts int               // how often it was sent, redirects excluded
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
	defer c.mu.Unlock()
	return c.outcome
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

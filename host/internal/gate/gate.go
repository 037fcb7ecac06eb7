package gate

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Gate is what each call to a subsystem must pass. Made by New; safe for
// concurrent use.
type Gate struct {
	clock    clock
	observer Observer
	chain    atomic.Pointer[chain]

	mu sync.Mutex // serializes Update
}

// Observer is told what the gate does. Its methods do not block and are safe
// for concurrent use.
type Observer interface {
	Rejected(policy string) // a call was turned away
	Retried()               // a call is tried once more
}

// Forward makes one try to get a call to the plugin and its answer back. c has
// the deadline, see Call.Context.
type Forward func(ctx context.Context, c *Call) Result

// New builds the gate of one subsystem, which keeps c: nobody may write it
// afterwards. The observer may be nil.
func New(c Config, o Observer) *Gate {
	if o == nil {
		o = nobody{}
	}
	g := &Gate{clock: clock{epoch: time.Now()}, observer: o}
	g.chain.Store(newChain(c, nil))
	return g
}

// nobody observes nothing.
type nobody struct{}

// Rejected does nothing.
func (nobody) Rejected(string) {}

// Retried does nothing.
func (nobody) Retried() {}

// Update puts another config into force for the calls to come, and keeps it as
// New does. Policies whose
// settings are the same keep what they know, and the calls in flight go on
// counting against the limit of calls in flight.
func (g *Gate) Update(c Config) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.chain.Store(newChain(c, g.chain.Load()))
}

// maxInlineSteps is how many policies a call passes without an allocation.
const maxInlineSteps = 12

// Do lets a call through the gate: it fixes c.Deadline, asks each policy in
// order, runs forward, perhaps more than once, and tells the policies in
// reverse order how it ended. A call that policy i rejects is not forwarded and
// is Done for the policies before i. Do blocks as long as the policies and
// forward do.
//
// The error is that of the last try, or the rejection: a gRPC status. When
// forward panics, the policies hear of a failure and the panic goes on.
func (g *Gate) Do(ctx context.Context, c *Call, forward Forward) error {
	chain := g.chain.Load()
	c.clock = &g.clock
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	ours := chain.deadline.set(ctx, c)
	c.read()
	if err := expired(ctx, c); err != nil {
		return g.reject(PolicyDeadline, err)
	}
	var inline [maxInlineSteps]Ticket
	tickets := inline[:0]
	outcome := Failure
	defer func() {
		for i, ticket := range slices.Backward(tickets) {
			chain.steps[i].policy.Done(c, ticket, outcome)
		}
	}()
	for _, s := range chain.steps {
		ticket, err := s.policy.Admit(ctx, c)
		if err != nil {
			outcome = Neutral
			return g.reject(s.name, err)
		}
		tickets = append(tickets, ticket)
	}
	chain.retrier.begin()
	forwarded := c.now
	result := forward(ctx, c)
	for tried := 1; chain.retrier.again(ctx, c, result, tried) && chain.mayRepeat(ctx, c, result); tried++ {
		g.observer.Retried()
		result = forward(ctx, c)
	}
	err := result.Err
	late := ours && status.Code(err) == codes.DeadlineExceeded && c.read() >= c.deadline
	outcome = result.outcome(late && c.deadline.sub(forwarded) >= chain.deadline.timeout/2)
	if late {
		err = chain.deadline.explain(err)
	}
	return err
}

// reject counts a rejection. A caller who gave up was not rejected.
func (g *Gate) reject(policy string, err error) error {
	if status.Code(err) != codes.Canceled {
		g.observer.Rejected(policy)
	}
	return err
}

// Policies returns the names under which calls can be rejected.
func (g *Gate) Policies() []string {
	names := []string{PolicyDeadline}
	for _, s := range g.chain.Load().steps {
		names = append(names, s.name)
	}
	return names
}

// InFlight is how many calls were admitted and have not ended.
func (g *Gate) InFlight() int {
	inFlight, _ := g.chain.Load().bulkhead.counts()
	return inFlight
}

// Queued is how many calls wait for the bulkhead.
func (g *Gate) Queued() int {
	_, queued := g.chain.Load().bulkhead.counts()
	return queued
}

// Breakers is the state of the breaker that is worst off: 0 closed, 1
// half-open, 2 open; -1 when there is none.
func (g *Gate) Breakers() int {
	worst, now := -1, g.clock.now()
	for _, s := range g.chain.Load().steps {
		if b := breakersOf(s.policy); b != nil {
			worst = max(worst, b.worst(now))
		}
	}
	return worst
}

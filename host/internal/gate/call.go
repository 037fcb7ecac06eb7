// Package gate decides which calls may be forwarded, and which are forwarded
// again. A gate is a chain of policies, each in its own file; a call passes all
// of them, is forwarded, and reports to all of them how it ended.
package gate

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
)

// Call is one call, as far as policies look at it. The methods of the gate
// change it, and only one may run at a time, in whatever goroutine. One that is
// over may be made a new one by *c = Call{…}, which allocates nothing; one that is
// under way must not be copied.
type Call struct {
	Method string // "/pkg.Service/Method"
	Stream bool   // not unary: any number of messages in either direction

	// Keys are what policies may be kept by. Nil: the method declares none.
	Keys Keys

	// Idempotent reports whether the call may be repeated. It is asked only
	// when there is a reason to, so it may be slow. Nil: the call may not.
	Idempotent func() bool

	// Start is when the call reached the gate: the gate takes it for the present
	// moment, so that one reading of the clock serves a batch of calls. Tokens
	// count from it. Zero: the gate reads its clock.
	Start time.Time

	// Deadline is when the call must be over; zero means never. The gate lowers it to
	// the deadline of the context and the ceiling of the operator. It is not in
	// the context that forward gets, because making such a context costs more
	// than all policies together and not every transport needs one; see Context.
	Deadline time.Time

	progress
}

// Keys reads the keys of one request.
type Keys interface {
	// Key returns the value of a key, and whether the method declares it. The
	// value may be empty; it must not change before the call is over, whatever
	// other keys are read.
	Key(name string) (value []byte, ok bool)
}

// progress is what the gate and its policies know of a call that is under way.
// What is in it has room in the call itself, so that nothing is allocated for a
// gate of a usual size.
type progress struct {
	chain    *chain     // that the call goes through; nil: it is not under way
	began    int64      // when the call came, by the gate's clock
	now      int64      // the last reading of that clock
	deadline int64      // Deadline by that clock
	ours     bool       // the deadline is the operator's, not the caller's
	waited   bool       // a policy made the call wait
	entered  bool       // all policies let the call pass
	code     codes.Code // with which it ended; valid in Done
	sent     int64      // when it had entered
	tries    int        // how often it was forwarded, at present included

	keys        []keyValue // by slot, see key
	tickets     []Ticket   // of the policies that let the call pass, in their order
	keyRoom     [2]keyValue
	ticketsRoom [6]Ticket
}

// arrive begins a call, or lets one go on that was stopped.
func (g *Gate) arrive(c *Call) {
	if c.chain != nil {
		c.now = g.common.clock.now()
		return
	}
	c.begin(g.chain.Load(), g.common.clock)
	c.chain.deadline.set(c, g.common.clock)
}

// begin makes c ready for a chain.
func (c *Call) begin(ch *chain, k clock) {
	c.chain = ch
	if c.Start.IsZero() {
		c.now = k.now()
	} else {
		c.now = k.moment(c.Start)
	}
	c.began = c.now
	c.ours, c.waited, c.entered = false, false, false
	c.tickets = c.ticketsRoom[:0]
	if ch.keys > len(c.keyRoom) {
		c.keys = make([]keyValue, ch.keys)
		return
	}
	c.keys = c.keyRoom[:ch.keys]
	for i := range c.keys {
		c.keys[i].state = unread
	}
}

// enter notes that all policies let the call pass.
func (c *Call) enter() {
	c.entered, c.sent, c.tries = true, c.now, 1
	c.chain.retry.budget.deposit()
}

// leave tells the policies that let the call pass what became of it, the last
// one first, and ends it.
func (c *Call) leave(o Outcome) {
	steps := c.chain.steps
	for i := len(c.tickets) - 1; i >= 0; i-- { //nolint:modernize // slices.Backward costs as much as a policy
		steps[i].policy.Done(c, c.tickets[i], o)
	}
	c.chain, c.tickets = nil, nil
}

// Context returns ctx with the call's deadline, for transports that take it
// from there. The caller must call cancel.
func (c *Call) Context(ctx context.Context) (bounded context.Context, cancel context.CancelFunc) {
	if c.Deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, c.Deadline)
}

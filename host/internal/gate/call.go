// Package gate decides which calls may be forwarded, and which are forwarded
// again. A gate is a chain of policies, each in its own file; a call passes all
// of them, is forwarded, and reports to all of them how it ended.
package gate

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
)

// Call is one call, as far as policies look at it. It is for one Do, which
// changes it; nobody may share it with another call that is under way.
type Call struct {
	Method string // "/pkg.Service/Method"
	Stream bool   // not unary: any number of messages in either direction

	// Keys are what policies may be kept by. Nil: the method declares none.
	Keys Keys

	// Idempotent reports whether the call may be repeated. It is asked only
	// when there is a reason to, so it may be slow. Nil: the call may not.
	Idempotent func() bool

	// Start is when the call reached the host. Zero: when Do was called.
	Start time.Time

	// Deadline is when the call must be over; zero means never. Do lowers it to
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

// progress is what Do and the policies know of a call that is under way. What
// is in it has room in the call itself, so that nothing is allocated for a
// gate of a usual size.
type progress struct {
	now       int64      // the last reading of the gate's clock
	deadline  int64      // Deadline by that clock
	ours      bool       // the deadline is the operator's, not the caller's
	waited    bool       // a policy made the call wait
	forwarded bool       // the call was handed to forward
	sent      int64      // when that was
	code      codes.Code // with which it ended; valid in Done

	keys        []keyValue // by slot, see key
	tickets     []Ticket   // of the policies that let the call pass, in their order
	keyRoom     [2]keyValue
	ticketsRoom [6]Ticket
}

// begin makes c ready for a gate whose policies use a number of keys.
func (c *Call) begin(k clock, keys int) {
	c.now = k.now()
	if c.Start.IsZero() {
		c.Start = k.time(c.now)
	}
	c.ours, c.waited, c.forwarded = false, false, false
	c.tickets = c.ticketsRoom[:0]
	if keys > len(c.keyRoom) {
		c.keys = make([]keyValue, keys)
		return
	}
	c.keys = c.keyRoom[:keys]
	clear(c.keys)
}

// Context returns ctx with the call's deadline, for transports that take it
// from there. The caller must call cancel.
func (c *Call) Context(ctx context.Context) (bounded context.Context, cancel context.CancelFunc) {
	if c.Deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, c.Deadline)
}

// Package gate decides which calls may be forwarded. A gate is a chain of
// policies, each in its own file; a call passes all of them, is forwarded, and
// reports to all of them how it ended.
package gate

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
)

// Call is one call, as far as policies look at it. Do changes it; nobody may
// share it with another call that is under way.
type Call struct {
	Method string // "/pkg.Service/Method"
	Stream bool   // not unary: any number of messages in either direction

	// Start is when the call reached the host. Zero: when Do was called.
	Start time.Time

	// Deadline is when the call must be over; zero means never. Do lowers it to
	// the deadline of the context and the ceiling of the operator. It is not in
	// the context that forward gets, because making such a context costs more
	// than all policies together and not every transport needs one; see Context.
	Deadline time.Time
}

// Context returns ctx with the call's deadline, for transports that take it
// from there. The caller must call cancel.
func (c *Call) Context(ctx context.Context) (bounded context.Context, cancel context.CancelFunc) {
	if c.Deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, c.Deadline)
}

// Policy is one decision. Policies know nothing of each other and are safe for
// concurrent use.
type Policy interface {
	// Admit returns nil when the call may go on. It may wait, no longer than
	// until ctx ends or c.Deadline passes. An error is a gRPC status that
	// names the policy, the bound and the remedy.
	Admit(ctx context.Context, c *Call) error

	// Done is called exactly once for each call that Admit let pass, when the
	// call is over, with its outcome.
	Done(c *Call, code codes.Code)
}

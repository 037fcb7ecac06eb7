package gate

import "context"

// Policy is one decision. Policies know nothing of each other and are safe for
// concurrent use. Their errors are gRPC statuses that name the policy, the bound
// and the remedy.
type Policy interface {
	// Try lets a call pass, or turns it away with an error, and does not wait.
	// Neither means that the call has to wait: it has got nothing then, not even
	// a place in a queue.
	Try(c *Call) (t Ticket, passed bool, err error)

	// Await is for a call that has to wait. It does so no longer than until ctx
	// ends or c.Deadline passes, and returns no error when the call may go on.
	Await(ctx context.Context, c *Call) (Ticket, error)

	// Done is called exactly once for each call that Try or Await let pass, with
	// what they returned, when the call is over. It does not wait.
	Done(c *Call, t Ticket, o Outcome)
}

// pass takes a call through a policy, however long that takes.
func pass(ctx context.Context, p Policy, c *Call) (Ticket, error) {
	t, passed, err := p.Try(c)
	if passed || err != nil {
		return t, err
	}
	return p.Await(ctx, c)
}

// Ticket is a policy's own note on a call that it let pass. Zero: it has
// nothing to note.
type Ticket struct {
	mark int64 // what the policy recognises the admission by
	held any   // a pointer to the state that the call is inside of
}

// verdict is what a state of a policy says to a call.
type verdict uint8

const (
	taken   verdict = iota // the token or permit is the call's
	short                  // there is none at this moment, but a place in the queue
	refused                // nor is there a place
	tooLate                // nor would one be of use before the call's deadline
	gone                   // the state was dropped; its key has another one
)

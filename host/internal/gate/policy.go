package gate

import "context"

// Policy is one decision. Policies know nothing of each other and are safe for
// concurrent use.
type Policy interface {
	// Admit returns no error when the call may go on. It may wait, no longer
	// than until ctx ends or c.Deadline passes. An error is a gRPC status that
	// names the policy, the bound and the remedy.
	Admit(ctx context.Context, c *Call) (Ticket, error)

	// Done is called exactly once for each call that Admit let pass, with what
	// Admit returned, when the call is over.
	Done(c *Call, t Ticket, o Outcome)
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
	short                  // there is none at this moment
	queued                 // the call has a place in the queue
	refused                // nor is there a place
	tooLate                // nor would one be of use before the call's deadline
	gone                   // the state was dropped; its key has another one
)

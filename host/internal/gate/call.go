// Package gate decides which calls may be forwarded. A gate is a chain of
// policies, each in its own file; a call passes all of them, is forwarded, and
// reports to all of them how it ended.
package gate

import (
	"context"
	"math"
	"time"
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

	// Keys reads the values by which policies are kept apart; nil for none.
	Keys Keys

	// Idempotent reports whether the call may be repeated when it was lost on
	// the way or on its instance. It is asked only then. Nil: it may not.
	Idempotent func() bool

	clock    *clock
	now      instant // the last reading of the clock
	deadline instant // Deadline; 0 for none
	keys     [cachedKeys]keyValue
	cached   int
}

// Keys reads the keys of a request.
type Keys interface {
	// Key returns the value of a key. It reports false when the method does not
	// declare it. The bytes stay valid until the call ends, and are not written.
	Key(name string) (value []byte, declared bool)
}

// cachedKeys is how many keys of a call are read only once. A config with more
// of them works, and reads the others again for each policy.
const cachedKeys = 2

type keyValue struct {
	name     string
	value    []byte
	declared bool
}

// key returns the value of a key, read at most once.
func (c *Call) key(name string) (value []byte, declared bool) {
	for i := range c.cached {
		if c.keys[i].name == name {
			return c.keys[i].value, c.keys[i].declared
		}
	}
	if c.Keys == nil {
		return nil, false
	}
	value, declared = c.Keys.Key(name)
	if c.cached < cachedKeys {
		c.keys[c.cached] = keyValue{name, value, declared}
		c.cached++
	}
	return value, declared
}

// Context returns ctx with the call's deadline, for transports that take it
// from there. The caller must call cancel.
func (c *Call) Context(ctx context.Context) (bounded context.Context, cancel context.CancelFunc) {
	if c.Deadline.IsZero() {
		return context.WithCancel(ctx)
	}
	return context.WithDeadline(ctx, c.Deadline)
}

// read reads the clock anew, after a wait.
func (c *Call) read() instant {
	c.now = c.clock.now()
	return c.now
}

// instant is a time in nanoseconds since a gate was made, by the monotonic
// clock: no step of the wall clock moves it.
type instant int64

func (i instant) add(d time.Duration) instant     { return i + instant(d) }
func (i instant) sub(other instant) time.Duration { return time.Duration(i - other) }

// clock tells instants.
type clock struct{ epoch time.Time }

// now is never 0, which stands for no time at all.
func (c *clock) now() instant { return instant(time.Since(c.epoch)) + 1 }

// at keeps within what an instant can tell, some 292 years.
func (c *clock) at(t time.Time) instant {
	return max(instant(min(t.Sub(c.epoch), math.MaxInt64-1))+1, 1)
}

// Policy is one decision. Policies know nothing of each other and are safe for
// concurrent use.
type Policy interface {
	// Admit returns no error when the call may go on. It may wait, no longer
	// than until ctx ends or the call's deadline passes. An error is a gRPC
	// status that names the policy, the bound and the remedy.
	Admit(ctx context.Context, c *Call) (Ticket, error)

	// Done is called exactly once for each call that Admit let pass, when the
	// call is over, with what Admit returned and what became of the call.
	Done(c *Call, t Ticket, o Outcome)
}

// Ticket is what a policy wants to know again of a call that it admitted.
type Ticket struct {
	number uint64
	state  *keyState
}

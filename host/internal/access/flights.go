package access

import (
	"context"
	"errors"
	"sync"
)

// flights are the calls of a client that are under way, so that a reload can
// end those that are not allowed any more. Safe for concurrent use.
type flights struct {
	mu  sync.Mutex
	all map[*flight]struct{}
}

type flight struct {
	client *Client // as it was when the call came
	call   *Call
	revoke context.CancelCauseFunc
}

// revocation is why a call was ended that is not allowed any more.
type revocation struct{ err error } // a gRPC status

// Error is that of the status.
func (r *revocation) Error() string { return r.err.Error() }

// asRevocation reports whether a context was ended by a revocation.
func asRevocation(cause error, r **revocation) bool { return errors.As(cause, r) }

func (f *flights) add(client *Client, call *Call, revoke context.CancelCauseFunc) *flight {
	one := &flight{client, call, revoke}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[one] = struct{}{}
	return one
}

func (f *flights) remove(one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, one)
}

// recheck ends those calls that may not go on as clients are now.
func (f *flights) recheck() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for one := range f.all {
		if err := one.client.clients.permit(one.client, one.call); err != nil {
			one.revoke(&revocation{err})
		}
	}
}

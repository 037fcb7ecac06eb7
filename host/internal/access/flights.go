package access

import (
	"context"
	"errors"
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// flights are the calls of a client that are under way, so that a reload can
// end those that are not allowed any more. Safe for concurrent use.
type flights struct {
	mu     sync.Mutex
	all    map[*flight]struct{}
	latest *Client // as the config has it that is in force; nil: there is none any more
}

type flight struct {
	client *Client // as the config had it that knew who calls
	call   *Call
	revoke context.CancelCauseFunc
}

// revocation is why a call was ended that is not allowed any more.
type revocation struct{ err error } // a gRPC status

// Error is that of the status.
func (r *revocation) Error() string { return r.err.Error() }

// asRevocation reports whether a context was ended by a revocation.
func asRevocation(cause error, r **revocation) bool { return errors.As(cause, r) }

// add takes a call up, or says why it may not go on: between the moment when its
// caller was known and this one, in which all of a request may have come, there
// may have been a reload.
func (f *flights) add(client *Client, call *Call, revoke context.CancelCauseFunc) (*flight, error) {
	one := &flight{client: client, call: call, revoke: revoke}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := one.check(f.latest); err != nil {
		return nil, err
	}
	f.all[one] = struct{}{}
	return one, nil
}

func (f *flights) remove(one *flight) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.all, one)
}

// recheck ends those calls that may not go on by what the client now is; nil: it
// is not there any more.
func (f *flights) recheck(latest *Client) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.latest = latest
	for one := range f.all {
		if err := one.check(latest); err != nil {
			one.revoke(&revocation{err})
		}
	}
}

// check says why a call may not go on by what its client now is.
func (f *flight) check(latest *Client) error {
	if latest == nil || latest.token != f.client.token || latest.certificate != f.client.certificate {
		return status.Error(codes.Unauthenticated, "the credentials of this call were taken away by a reload of the config")
	}
	return latest.permit(f.call)
}

package gate

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// deadline bounds calls in time. It is not a Policy: it admits everything and
// says how long the policies may wait.
type deadline struct {
	timeout time.Duration // of unary calls; 0: no ceiling
}

// set fixes when c must be over, as far as that is known without a context.
func (d deadline) set(c *Call, k clock) {
	c.deadline = never
	if !c.Deadline.IsZero() {
		c.deadline = k.moment(c.Deadline)
	}
	if c.Stream || d.timeout <= 0 {
		return
	}
	if ceiling := c.now + int64(d.timeout); ceiling < c.deadline {
		c.Deadline, c.deadline, c.ours = k.time(ceiling), ceiling, true
	}
}

// bound lowers the deadline to that of ctx.
func (c *Call) bound(ctx context.Context, k clock) {
	callers, ok := ctx.Deadline()
	if !ok {
		return
	}
	if moment := k.moment(callers); moment < c.deadline {
		c.Deadline, c.deadline, c.ours = callers, moment, false
	}
}

// explain adds to an expiry whose bound it was.
func (d deadline) explain(err error) error {
	p := status.Convert(err).Proto()
	p.Code = int32(codes.DeadlineExceeded)
	p.Message = fmt.Sprintf("%s (limits.timeout is %v)", p.GetMessage(), d.timeout)
	return status.ErrorProto(p)
}

// over returns an error when there is no sense in going on with the call.
func (c *Call) over(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	return c.expired()
}

func (c *Call) expired() error {
	if c.now >= c.deadline {
		return status.Error(codes.DeadlineExceeded, "deadline: it passed before the call was forwarded")
	}
	return nil
}

// timedOut reports whether the operator's deadline has passed, or all but.
func (c *Call) timedOut(now int64) bool { return c.ours && now >= c.deadline-int64(expirySlack) }

// left is how long the call may still take.
func (c *Call) left(now int64) time.Duration { return time.Duration(c.deadline - now) }

// gaveUp is what a call is told that waited in vain until ctx or its deadline
// ended just now, given where it waited and what would help.
func (c *Call) gaveUp(err error, where, remedy string) error {
	waited := time.Duration(c.now - c.began).Round(time.Millisecond)
	if errors.Is(err, context.DeadlineExceeded) {
		return status.Errorf(codes.DeadlineExceeded, "%s: deadline exceeded after %v, while in the queue: %s", where, waited, remedy)
	}
	return status.Errorf(codes.Canceled, "%s: cancelled by the caller after %v, while in the queue", where, waited)
}

// await waits until the waiter is called, ctx ends or the call's deadline
// passes, and returns nil, or an error of package context.
func await(ctx context.Context, w *waiter, left time.Duration) error {
	timer := time.NewTimer(left)
	defer timer.Stop()
	select {
	case <-w.called:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return context.DeadlineExceeded
	}
}

package gate

import (
	"context"
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

// set fixes the call's deadline and reports whether it is the operator's, not
// the caller's.
func (d deadline) set(ctx context.Context, c *Call) (ours bool) {
	if callers, ok := ctx.Deadline(); ok && (c.Deadline.IsZero() || callers.Before(c.Deadline)) {
		c.Deadline = callers
	}
	if !c.Stream && d.timeout > 0 {
		if ceiling := c.Start.Add(d.timeout); c.Deadline.IsZero() || ceiling.Before(c.Deadline) {
			c.Deadline, ours = ceiling, true
		}
	}
	c.deadline = 0
	if !c.Deadline.IsZero() {
		c.deadline = c.clock.at(c.Deadline)
	}
	return ours
}

// explain adds to an expiry whose bound it was.
func (d deadline) explain(err error) error {
	p := status.Convert(err).Proto()
	p.Message = fmt.Sprintf("%s (limits.timeout is %v)", p.GetMessage(), d.timeout)
	return status.ErrorProto(p)
}

// expired returns an error when there is no sense in starting the call.
func expired(ctx context.Context, c *Call) error {
	if err := ctx.Err(); err != nil {
		return status.FromContextError(err).Err()
	}
	if c.isOver() {
		return status.Error(codes.DeadlineExceeded, "deadline: it passed before the call was forwarded")
	}
	return nil
}

// isOver reports whether the deadline had passed when the clock was last read.
func (c *Call) isOver() bool { return c.deadline != 0 && c.now >= c.deadline }

// await waits until granted is closed, ctx ends or the latest instant has come,
// 0 for none, and returns nil, or an error of package context.
func (c *Call) await(ctx context.Context, granted <-chan struct{}, latest instant) error {
	defer c.read()
	var passed <-chan time.Time
	if latest != 0 {
		timer := time.NewTimer(latest.sub(c.clock.now()))
		defer timer.Stop()
		passed = timer.C
	}
	select {
	case <-granted:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-passed:
		return context.DeadlineExceeded
	}
}

// gaveUp is the status of a call that stopped waiting at a policy, because of
// an error of await.
func (c *Call) gaveUp(policy string, err error, remedy string) error {
	waited := c.clock.now().sub(c.clock.at(c.Start)).Round(time.Millisecond)
	if err != context.DeadlineExceeded { //nolint:errorlint // await returns it as it is
		return status.Errorf(codes.Canceled, "%s: cancelled by the caller after %v, while in the queue", policy, waited)
	}
	return status.Errorf(codes.DeadlineExceeded, "%s: deadline exceeded after %v, while in the queue: %s", policy, waited, remedy)
}

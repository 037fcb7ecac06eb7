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

// set fixes c.Deadline and reports whether it is the operator's, not the
// caller's.
func (d deadline) set(ctx context.Context, c *Call) (ours bool) {
	if callers, ok := ctx.Deadline(); ok && (c.Deadline.IsZero() || callers.Before(c.Deadline)) {
		c.Deadline = callers
	}
	if c.Stream || d.timeout <= 0 {
		return false
	}
	if ceiling := c.Start.Add(d.timeout); c.Deadline.IsZero() || ceiling.Before(c.Deadline) {
		c.Deadline = ceiling
		return true
	}
	return false
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
	if !c.Deadline.IsZero() && !time.Now().Before(c.Deadline) {
		return status.Error(codes.DeadlineExceeded, "deadline: it passed before the call was forwarded")
	}
	return nil
}

// await waits until granted is closed, ctx ends or the call's deadline passes,
// and returns nil, or an error of package context.
func await(ctx context.Context, c *Call, granted <-chan struct{}) error {
	var passed <-chan time.Time
	if !c.Deadline.IsZero() {
		timer := time.NewTimer(time.Until(c.Deadline))
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

// isExpiry reports whether an error of await was a deadline.
func isExpiry(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

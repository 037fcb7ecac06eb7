package gate

import (
	"context"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Gate is what each call to a subsystem must pass. Made by New; safe for
// concurrent use.
type Gate struct {
	deadline deadline
	steps    []step
	bulkhead *bulkhead // one of steps
	rejected func(policy string)
}

// step is a policy under the name by which its rejections are counted.
type step struct {
	name   string
	policy Policy
}

// Do lets a call through the gate: it fixes c.Deadline, asks each policy in
// order, runs forward, and tells the policies in reverse order how it ended. A
// call that policy i rejects is not forwarded and is Done for the policies
// before i. Do blocks as long as the policies and forward do.
//
// The error is what forward returned, or the rejection: a gRPC status. When
// forward panics, the policies hear Internal and the panic goes on.
func (g *Gate) Do(ctx context.Context, c *Call, forward func(ctx context.Context, c *Call) error) error {
	if c.Start.IsZero() {
		c.Start = time.Now()
	}
	ours := g.deadline.set(ctx, c)
	if err := expired(ctx, c); err != nil {
		return g.reject(PolicyDeadline, err)
	}
	admitted, code := 0, codes.Internal
	defer func() {
		for admitted > 0 {
			admitted--
			g.steps[admitted].policy.Done(c, code)
		}
	}()
	for _, s := range g.steps {
		if err := s.policy.Admit(ctx, c); err != nil {
			code = status.Code(err)
			return g.reject(s.name, err)
		}
		admitted++
	}
	err := forward(ctx, c)
	if code = status.Code(err); code == codes.DeadlineExceeded && ours && !time.Now().Before(c.Deadline) {
		err = g.deadline.explain(err)
	}
	return err
}

// reject counts a rejection. A caller who gave up was not rejected.
func (g *Gate) reject(policy string, err error) error {
	if status.Code(err) != codes.Canceled {
		g.rejected(policy)
	}
	return err
}

// InFlight is how many calls were admitted and have not ended.
func (g *Gate) InFlight() int {
	inFlight, _ := g.bulkhead.counts()
	return inFlight
}

// Queued is how many calls wait for the bulkhead.
func (g *Gate) Queued() int {
	_, queued := g.bulkhead.counts()
	return queued
}

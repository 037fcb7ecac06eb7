package gate

import (
	"context"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// errPanicked is what policies are told of a call whose forward panicked.
var errPanicked = status.Error(codes.Internal, "internal: a panic while the call was forwarded")

// Do lets a call through the gate, or through what is left of it after
// TryEnter: Enter, forward, as often as Again says, and Leave. It blocks as long as the policies and forward do.
//
// The error is what forward returned last, or the rejection: a gRPC status.
// When forward panics, the policies hear of a failure and the panic goes on.
func (g *Gate) Do(ctx context.Context, c *Call, forward Forward) (err error) {
	r := Result{Err: errPanicked}
	defer func() { err = g.Leave(c, r) }()
	if r.Err = g.Enter(ctx, c); r.Err != nil {
		return r.Err
	}
	for again := true; again; again = g.Again(ctx, c, r) {
		r = Result{Err: errPanicked}
		r = forward(ctx, c)
	}
	return r.Err
}

// TryEnter takes a call as far into the gate as it gets without waiting. It
// fixes c.Deadline and asks each policy in order. When one would make the call
// wait it reports false and no error: the call keeps what it has got, has no
// place in that policy's queue, and goes on with Enter, or gives all back with
// Leave. It never waits.
//
// An error is a rejection, a gRPC status; all is given back then, and the call
// is over.
func (g *Gate) TryEnter(c *Call) (entered bool, err error) {
	g.arrive(c)
	if err := c.expired(); err != nil {
		return false, g.reject(c, PolicyDeadline, err)
	}
	if passed, err := g.ask(c); !passed {
		return false, err
	}
	c.enter()
	return true, nil
}

// Enter takes a call into the gate, from where TryEnter stopped, or from the
// beginning; one that has entered it leaves as it is. It waits where the
// policies make it wait, and c.Deadline becomes no later than that of ctx. An
// error is as from TryEnter; so is what becomes of a call whose ctx ends
// meanwhile, which is not counted as rejected.
func (g *Gate) Enter(ctx context.Context, c *Call) error {
	if c.chain != nil && c.entered {
		return nil
	}
	g.arrive(c)
	c.bound(ctx, g.common.clock)
	if err := c.over(ctx); err != nil {
		return g.reject(c, PolicyDeadline, err)
	}
	for {
		passed, err := g.ask(c)
		if err != nil {
			return err
		}
		if passed {
			break
		}
		s := c.chain.steps[len(c.tickets)]
		t, err := s.policy.Await(ctx, c)
		if err != nil {
			return g.reject(c, s.name, err)
		}
		c.tickets = append(c.tickets, t)
	}
	if c.waited {
		if err := c.over(ctx); err != nil {
			return g.reject(c, PolicyDeadline, err)
		}
	}
	c.enter()
	return nil
}

// ask asks the policies that the call has not passed yet, until it has passed
// all or has to wait for one.
func (g *Gate) ask(c *Call) (passed bool, err error) {
	steps := c.chain.steps
	for i := len(c.tickets); i < len(steps); i++ {
		t, passed, err := steps[i].policy.Try(c)
		if err != nil {
			return false, g.reject(c, steps[i].name, err)
		}
		if !passed {
			return false, nil
		}
		c.tickets = append(c.tickets, t)
	}
	return true, nil
}

// Again reports whether a call that has entered is to be forwarded once more
// after r. It waits, for a delay and for the tokens of the rates, only where
// the plugin itself has answered with Unavailable; else it returns at once.
func (g *Gate) Again(ctx context.Context, c *Call, r Result) bool {
	if r.Err == nil || c.chain == nil || !c.chain.mayRepeat(ctx, c, r) {
		return false
	}
	c.tries++
	g.observer.Retried()
	return true
}

// Leave ends a call that has entered, with the result of its last try, or one
// that was stopped in TryEnter. It tells the policies in reverse order and gives
// back what the call holds, without waiting, and returns the call's error for
// its caller: r.Err, perhaps with the bound that it ran into. For a call that was
// rejected, or has left, it does nothing.
func (g *Gate) Leave(c *Call, r Result) error {
	if c.chain == nil {
		return r.Err
	}
	outcome, err := Neutral, r.Err
	switch {
	case !c.entered:
		c.code = codes.Canceled
	case err == nil:
		c.code = codes.OK
		outcome = r.outcome(codes.OK, false)
	default:
		outcome, err = g.failed(c, r)
	}
	c.leave(outcome)
	return err
}

// failed says what to make of a call that ended with an error.
func (g *Gate) failed(c *Call, r Result) (Outcome, error) {
	c.code = codeOf(r.Err)
	d := c.chain.deadline
	timedOut := c.code == codes.DeadlineExceeded && c.timedOut(g.common.clock.now())
	outcome := r.outcome(c.code, timedOut && c.deadline-c.sent >= int64(d.timeout/2))
	if timedOut {
		return outcome, d.explain(r.Err)
	}
	return outcome, r.Err
}

// reject counts a rejection and gives back what the call has got. A caller who
// gave up was not rejected.
func (g *Gate) reject(c *Call, policy string, err error) error {
	if c.code = codeOf(err); c.code != codes.Canceled {
		g.observer.Rejected(policy)
	}
	c.leave(Neutral)
	return err
}

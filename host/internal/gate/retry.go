package gate

import (
	"context"
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Retry says how often a call is tried that was not answered well. It keeps its
// permits meanwhile, and its deadline.
//
//   - A call that was not reached is repeated at once, whatever its method.
//   - A call that was lost with its instance is repeated at once, if it is
//     idempotent and no stream: the supervisor sees to it that instances do not
//     come and go too fast.
//   - A call that the plugin answered with Unavailable is repeated after a
//     delay, under the same condition, within the budget, and with tokens of its
//     own: what is behind the plugin sees each try.
type Retry struct {
	Attempts int     // in all; 1 and less repeat nothing
	Budget   float64 // repeats after a delay, as a share of the calls
}

const (
	// The delay before a repeat is drawn from 0 to a bound, the first delay at
	// first, and twice the one before after that.
	firstDelay = 20 * time.Millisecond
	mostDelay  = time.Second

	// reserve is how many repeats the budget allows beyond its share, so that
	// it serves those who call rarely.
	reserve = 10
)

// retry says which calls are forwarded again.
type retry struct {
	*common
	Retry

	budget budget
}

func newRetry(g *common, r Retry) *retry {
	p := &retry{common: g, Retry: r}
	p.budget.share = int64(math.Round(min(max(r.Budget, 0), 1) * oneRepeat))
	if p.budget.share > 0 {
		p.budget.credit.Store(reserve * oneRepeat)
	}
	return p
}

// mayRepeat reports whether a call may be tried again after r, and waits until
// it is time to.
func (ch *chain) mayRepeat(ctx context.Context, c *Call, r Result) bool {
	if r.Final || c.tries >= ch.retry.Attempts || codeOf(r.Err) != codes.Unavailable {
		return false
	}
	if c.now = ch.retry.clock.now(); c.over(ctx) != nil {
		return false
	}
	switch r.Reach {
	case Unreached:
		return true
	case Lost:
		return c.isRepeatable()
	default:
		return c.isRepeatable() && ch.retry.delay(ctx, c, r) && ch.tokens(ctx, c)
	}
}

// delay takes a repeat out of the budget and waits until its time has come. It
// reports false when that cannot be.
func (r *retry) delay(ctx context.Context, c *Call, result Result) bool {
	delay := asked(result.Err) + jitter(c.tries)
	return c.now+int64(delay) < c.deadline && r.budget.withdraw() && pause(ctx, delay)
}

// tokens reports whether the rates let a call pass once more.
func (ch *chain) tokens(ctx context.Context, c *Call) bool {
	for _, s := range ch.steps {
		r, ok := s.policy.(*rate)
		if !ok {
			continue
		}
		c.now = r.clock.now()
		if _, err := pass(ctx, r, c); err != nil {
			return false
		}
	}
	return true
}

func (c *Call) isRepeatable() bool { return !c.Stream && c.Idempotent != nil && c.Idempotent() }

// asked is how long the plugin asks callers to stay away; 0 if it does not.
func asked(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return min(max(info.GetRetryDelay().AsDuration(), 0), time.Duration(longest))
		}
	}
	return 0
}

// jitter is the delay after a number of attempts.
func jitter(attempt int) time.Duration {
	bound := min(firstDelay<<min(attempt-1, 10), mostDelay)
	return rand.N(bound) //nolint:gosec // G404: nobody gains from guessing it
}

// pause reports whether d has passed and ctx not ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// budget bounds repeats to a share of the calls and a reserve: of any N calls
// at most reserve + share·N are repeated.
type budget struct {
	credit atomic.Int64 // in parts of a repeat
	share  int64        // what a call adds
}

// oneRepeat is what a repeat costs; small enough for a share of a thousandth of
// a percent.
const oneRepeat = 1_000_000

// deposit adds the share of a call. It writes nothing while the budget is full.
func (b *budget) deposit() {
	for {
		credit := b.credit.Load()
		if b.share == 0 || credit >= reserve*oneRepeat {
			return
		}
		if b.credit.CompareAndSwap(credit, min(credit+b.share, reserve*oneRepeat)) {
			return
		}
	}
}

// withdraw takes what a repeat costs, if that much is left.
func (b *budget) withdraw() bool {
	for {
		credit := b.credit.Load()
		if credit < oneRepeat {
			return false
		}
		if b.credit.CompareAndSwap(credit, credit-oneRepeat) {
			return true
		}
	}
}

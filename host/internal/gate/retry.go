package gate

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Retry says how calls are tried again.
type Retry struct {
	Attempts int     // how often a call is tried in all; 1 or less: once
	Budget   float64 // the most retries of answered calls, as a share of the calls
}

const (
	// retryDelay and maxRetryDelay bound the wait before a call is repeated that
	// the plugin answered: the wait is a random part of the first one, doubled
	// with each further try.
	retryDelay    = 20 * time.Millisecond
	maxRetryDelay = time.Second
	// oneRetry is what a retry costs; budgetCap is what can be saved up, and what
	// there is at first: ten retries.
	oneRetry  = 1_000_000
	budgetCap = 10 * oneRetry
)

// retrier decides which calls are tried again.
//
// A call that never reached the plugin is, whatever it does; one that was with
// an instance when that ended is, if it is idempotent. Both wait for the next
// instance, which the supervisor paces, and so need no delay and no budget. A
// call that the plugin answered with Unavailable is tried again if it is
// idempotent and the budget allows it: each call adds its share to the budget,
// each retry takes one whole. In any number of calls, at most ten and the
// budget's share of them are retried.
type retrier struct {
	attempts int
	deposit  int64
	credit   atomic.Int64
}

func newRetrier(r Retry) *retrier {
	t := &retrier{attempts: max(r.Attempts, 1), deposit: int64(r.Budget * oneRetry)}
	if t.deposit > 0 {
		t.credit.Store(budgetCap)
	}
	return t
}

// begin adds a call's share to the budget, unless that is full.
func (t *retrier) begin() {
	for t.deposit > 0 {
		credit := t.credit.Load()
		if credit >= budgetCap || t.credit.CompareAndSwap(credit, min(credit+t.deposit, budgetCap)) {
			return
		}
	}
}

// again reports whether a call is to be tried once more after r, and waits
// until then.
func (t *retrier) again(ctx context.Context, c *Call, r Result, tried int) bool {
	if r.Err == nil || r.Final || tried >= t.attempts || status.Code(r.Err) != codes.Unavailable {
		return false
	}
	if c.read(); c.isOver() || ctx.Err() != nil {
		return false
	}
	if r.Reach == Unreached {
		return true
	}
	if c.Stream || c.Idempotent == nil || !c.Idempotent() {
		return false
	}
	return r.Reach == Lost || t.afterDelay(ctx, c, r.Err, tried)
}

// afterDelay takes a retry out of the budget and waits for its time.
func (t *retrier) afterDelay(ctx context.Context, c *Call, err error, tried int) bool {
	longest := min(retryDelay<<(tried-1), maxRetryDelay)
	delay := max(rand.N(longest), wanted(err)) //nolint:gosec // G404: jitter, not a secret
	if c.deadline != 0 && c.now.add(delay) >= c.deadline || !t.spend() {
		return false
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		c.read()
		return true
	case <-ctx.Done():
		return false
	}
}

func (t *retrier) spend() bool {
	for {
		credit := t.credit.Load()
		if credit < oneRetry {
			return false
		}
		if t.credit.CompareAndSwap(credit, credit-oneRetry) {
			return true
		}
	}
}

// wanted is how long the one who refused wants to be left alone.
func wanted(err error) time.Duration {
	for _, detail := range status.Convert(err).Details() {
		if info, ok := detail.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return 0
}

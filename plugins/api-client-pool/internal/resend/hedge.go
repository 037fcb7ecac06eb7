package resend

import (
	"context"
	"net/http"
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
)

// hedgeAfter returns when a second copy of the request is due, if one is.
func (t *trip) hedgeAfter() (time.Duration, bool) {
	switch {
	case !t.call.Hedge, t.hedged, !t.idempotent, t.call.MaxBody == 0, !t.rewinds():
		return 0, false
	case t.call.HedgeAfter > 0:
		return t.call.HedgeAfter, true
	}
	return t.domain.p95()
}

// runner is a copy of the request under way.
type runner struct {
	attempt

	begun  time.Time
	cancel context.CancelFunc
}

// race sends the request, and a second copy when no response has begun after
// the given time. The response that begins first wins, and the other copy ends;
// an error counts only when no copy is left.
func (t *trip) race(ctx context.Context, first attempt, after time.Duration) attempt {
	finish := make(chan *runner, 2) // both, so that none waits for a reader
	start := func(a attempt) *runner {
		own, cancel := context.WithCancel(ctx)
		run := &runner{attempt: a, begun: time.Now(), cancel: cancel}
		request, err := t.copy(a.exchange.Follow(own))
		go func() {
			run.attempt = t.head(request, err, a)
			finish <- run
		}()
		return run
	}
	running := map[*runner]bool{start(first): true}
	timer := time.NewTimer(after)
	defer timer.Stop()
	for {
		select {
		case run := <-finish:
			delete(running, run)
			if run.err != nil && len(running) > 0 {
				run.cancel()
				continue
			}
			if run.err == nil && run.exchange != first.exchange {
				t.options.Metrics.hedgesWon.Inc()
			}
			return t.won(run, running, finish)
		case <-timer.C:
			t.hedged = true
			if time.Now().Before(t.domain.pausedUntil()) {
				continue // the server has had enough
			}
			if !t.domain.withdraw() {
				t.options.Metrics.refusedByBudget.Inc()
				continue
			}
			t.options.Metrics.resent[forHedge].Inc()
			running[start(attempt{exchange: t.call.Begin(t.domain.name, t.options.Connected)})] = true
		}
	}
}

// won ends the copies that are still running, reads the winner's body and
// returns when all have ended.
func (t *trip) won(winner *runner, losers map[*runner]bool, finish <-chan *runner) attempt {
	t.call.Choose(winner.exchange)
	for loser := range losers {
		loser.cancel()
		t.domain.observe(time.Since(loser.begun)) // at least; without it the slow ones would never be seen
	}
	whole := t.whole(winner.attempt)
	winner.cancel()
	for range losers {
		late := <-finish
		discard(late.response)
	}
	return whole
}

// rewinds reports whether the body can be sent more than once.
func (t *trip) rewinds() bool {
	return t.request.Body == nil || t.request.Body == http.NoBody || t.request.GetBody != nil
}

// head sends a copy of the request and returns the response with its body to
// read. err is what kept the copy from being made.
func (t *trip) head(request *http.Request, err error, a attempt) attempt {
	if err != nil {
		a.err = err
		return a
	}
	t.call.Note(func(o *call.Outcome) { o.Attempts++ })
	a.response, a.err = t.options.Next.RoundTrip(request) //nolint:bodyclose // whole or the caller closes it
	switch {
	case a.err == nil:
		t.domain.observe(a.exchange.Times().FirstByte)
		t.learn(a.response)
	case unsent(a):
		t.call.Note(func(o *call.Outcome) { o.Attempts-- })
	}
	return a
}

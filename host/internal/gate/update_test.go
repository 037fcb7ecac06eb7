package gate

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnUpdateKeepsWhatDidNotChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := broken("")
		c.Rates = []Rate{
			{Name: "slow", Quota: Quota{1, time.Hour, 2}},
			{Name: "each", Key: "domain", Quota: Quota{1, time.Hour, 2}},
		}
		g := New(c, nil)
		do := func() error { return g.Do(t.Context(), &Call{Keys: domain("a")}, answered) }
		if err := do(); err != nil {
			t.Fatal(err)
		}
		other := c
		other.Limits.Queue = 7
		other.Breakers = nil
		g.Update(other) // the rates are the same
		if err := do(); err != nil {
			t.Errorf("the second token: %v", err)
		}
		if do() == nil {
			t.Error("the update filled the buckets")
		}
		other.Rates = []Rate{{Name: "each", Key: "domain", Quota: Quota{1, time.Hour, 2}}}
		g.Update(other)
		if do() == nil {
			t.Error("the update filled the bucket of the value")
		}
		other.Rates = []Rate{{Name: "each", Key: "domain", Quota: Quota{1, time.Hour, 3}}}
		g.Update(other)
		if err := do(); err != nil {
			t.Errorf("another rate begins anew: %v", err)
		}
		if diff := cmp.Diff([]string{"deadline", "rate.each", "bulkhead"}, g.Policies()); diff != "" {
			t.Errorf("policies (-want +got):\n%s", diff)
		}
	})
}

func TestCallsInFlightCountAgainstTheNewLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limit := func(n int) Config { return Config{Limits: Limits{Concurrency: n, Queue: 10}} }
		g := New(limit(3), nil)
		block := make(chan struct{})
		var calls sync.WaitGroup
		for range 5 {
			calls.Go(func() {
				if err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result { <-block; return Result{} }); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		g.Update(limit(4))
		synctest.Wait()
		if g.InFlight() != 4 || g.Queued() != 1 {
			t.Errorf("%d in flight and %d queued, want 4 and 1", g.InFlight(), g.Queued())
		}
		g.Update(limit(1))
		block <- struct{}{}
		synctest.Wait()
		if g.InFlight() != 3 || g.Queued() != 1 {
			t.Errorf("%d in flight and %d queued, want 3 and 1", g.InFlight(), g.Queued())
		}
		close(block)
		calls.Wait()
		if g.InFlight() != 0 || g.Queued() != 0 {
			t.Errorf("%d in flight and %d queued at the end", g.InFlight(), g.Queued())
		}
	})
}

func TestAnExplanationNamesEachValueAndItsState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := Config{
			Limits:   Limits{Timeout: 30 * time.Second, Adaptive: &Adaptive{Min: 2, Max: 100}, Queue: 5},
			PerKey:   []KeyLimit{{Key: "tenant", Concurrency: 3}},
			Breakers: []Breaker{{Failures: 3, Within: 10 * time.Second, OpenFor: 5 * time.Second}},
			Rates: []Rate{
				{Name: "global", Quota: Quota{9, time.Second, 4}, Wait: 2 * time.Second},
				{Name: "each", Key: "domain", Quota: Quota{1, time.Minute, 2}, Overrides: []Override{{"*.example.com", Quota{5000, time.Hour, 20}}}},
			},
			Retry: Retry{Attempts: 3, Budget: 0.1},
		}
		g := New(c, nil)
		if err := g.Do(t.Context(), &Call{Keys: domain("a.example.com")}, answer(errBroken)); err == nil {
			t.Fatal("no error")
		}
		got := g.Explain(&Call{Method: "/x.X/Do", Keys: domain("a.example.com")})
		want := []Explanation{
			{Policy: "deadline", Applies: true, Settings: []Setting{{"limits.timeout", "30s"}}},
			{Policy: "breaker", Applies: true, State: "closed, 1 failures in the last 10s",
				Settings: []Setting{{"breaker.failures", "3"}, {"breaker.within", "10s"}, {"breaker.open_for", "5s"}}},
			{Policy: "rate.global", Applies: true, State: "3 of 4 tokens left, 0 waiting",
				Settings: []Setting{{`rate["global"].limit`, "9/s"}, {`rate["global"].burst`, "4"}, {`rate["global"].wait`, "2s"}}},
			{Policy: "rate.each", Applies: true, State: `for domain "a.example.com": 19 of 20 tokens left, 0 waiting`,
				Settings: []Setting{{`rate["each"].override["*.example.com"].limit`, "5000/h"}, {`rate["each"].override["*.example.com"].burst`, "20"}, {`rate["each"].wait`, "0s"}}},
			{Policy: "bulkhead.tenant", Why: `the method has no key "tenant"`},
			{Policy: "bulkhead", Applies: true, State: "0 in flight of 10, 0 queued of 5; the limit is adaptive, 2 to 100",
				Settings: []Setting{{"limits.concurrency", "adaptive"}, {"limits.queue", "5"}, {"limits.min", "2"}, {"limits.max", "100"}}},
			{Policy: "retry", Applies: true, State: "10 retries of answered calls left", Settings: []Setting{{"retry.attempts", "3"}, {"retry.budget", "10%"}}},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		_ = g.Explain(&Call{Keys: domain("never.seen")})
		if k := g.chain.Load().step("rate.each").(*keyed); k.count.Load() != 1 {
			t.Errorf("explaining made a state: %d", k.count.Load())
		}
	})
}

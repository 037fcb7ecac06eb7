package gate

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// TestAnAdaptiveLimitKeepsTheGoodput is the property it exists for: at three
// times the capacity of a backend the goodput is at least nine tenths of the
// capacity, and is so again ten seconds after the capacity has changed.
func TestAnAdaptiveLimitKeepsTheGoodput(t *testing.T) {
	const service = 100 * time.Millisecond
	for _, c := range []struct {
		given       string
		workers     int
		exponential bool
		queue       int
		deadline    time.Duration
	}{
		{"constant", 24, false, 100, 10 * time.Second},
		{"exponential", 24, true, 100, 10 * time.Second},
		{"a queue longer than the deadline", 24, false, 2000, 2 * time.Second},
	} {
		for _, change := range []struct {
			given   string
			workers int // a part of them is left
			service int // times as long
			pause   time.Duration
		}{
			{"nothing changes", 1, 1, 0},
			{"a third of the workers is left", 3, 1, 0},
			{"calls take three times as long", 1, 3, 0},
			{"the load falls and rises", 1, 1, 20 * time.Second},
		} {
			t.Run(c.given+"/"+change.given, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					s := simulation{
						gate:     New(Config{Limits: Limits{Queue: c.queue, Adaptive: &Adaptive{Min: 1, Max: 1000}}}, nil),
						backend:  &backend{workers: c.workers, service: service},
						deadline: c.deadline,
						random:   rand.New(rand.NewPCG(1, 2)),
					}
					if c.exponential {
						s.backend.random = rand.New(rand.NewPCG(3, 4))
					}
					load := 3 * s.backend.capacity()
					check := func(when string, got float64) {
						t.Helper()
						share := got / s.backend.capacity()
						t.Logf("%s: %.0f%% of the capacity, limit %d for %d workers", when, share*100, s.gate.chain.Load().bulkhead.bounds.limit.Load(), s.backend.workers)
						if share < 0.9 {
							t.Errorf("%s: %.0f%% of the capacity", when, share*100)
						}
					}
					check("from the start", s.run(t, load, 20*time.Second))
					if change.pause > 0 {
						s.run(t, load/10, change.pause)
						check("under load again", s.run(t, load, 20*time.Second))
					} else {
						s.backend.set(c.workers/change.workers, service*time.Duration(change.service))
						s.run(t, load, 10*time.Second)
						check("10 seconds after", s.run(t, load, 20*time.Second))
					}
					s.calls.Wait()
				})
			})
		}
	}
}

// A backend that goes on with what nobody waits for any more spends all of its
// time on that, unless the limit falls below what it can do.
func TestGoodputComesBackFromCallsThatAllCameTooLate(t *testing.T) {
	for _, ours := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			limits := Limits{Queue: 50, Adaptive: &Adaptive{Min: 1, Max: 1000}}
			s := simulation{
				backend:  &backend{workers: 30, service: 20 * time.Millisecond, stubborn: true},
				deadline: 500 * time.Millisecond,
				random:   rand.New(rand.NewPCG(1, 2)),
			}
			if ours {
				limits.Timeout, s.deadline = s.deadline, time.Minute
			}
			s.gate = New(Config{Limits: limits}, nil)
			s.run(t, 4500, 20*time.Second)
			s.backend.set(2, 20*time.Millisecond) // which do 100 a second
			s.run(t, 600, 30*time.Second)
			if got := s.run(t, 600, 20*time.Second); got < 85 {
				t.Errorf("%.0f calls a second were answered of 100", got)
			}
			s.backend.set(30, time.Millisecond) // else the bubble waits for long
			s.calls.Wait()
			pause(t.Context(), 10*time.Minute)
		})
	}
}

// From the least limit the latency cannot be cut to see what of it is a queue.
func TestTheLimitDoesNotStayAtItsMinimum(t *testing.T) {
	for _, least := range []int{1, 8, 50} {
		synctest.Test(t, func(t *testing.T) {
			s := simulation{
				gate:     New(Config{Limits: Limits{Timeout: time.Second, Queue: 50, Adaptive: &Adaptive{Min: least, Max: 1000}}}, nil),
				backend:  &backend{workers: 300, service: time.Millisecond},
				deadline: time.Minute,
				random:   rand.New(rand.NewPCG(1, 2)),
			}
			s.run(t, 200, 5*time.Second)
			s.backend.set(300, 20*time.Millisecond) // for good
			s.run(t, 3000, 5*time.Second)
			if got := s.run(t, 3000, 2*time.Second); got < 0.85*3000 {
				t.Errorf("at least %d: %.0f calls a second were answered of 3000", least, got)
			}
			s.calls.Wait()
		})
	}
}

// TestWithoutAnAdaptiveLimitTheGoodputIsLost shows that the simulation can tell
// the difference.
func TestWithoutAnAdaptiveLimitTheGoodputIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := simulation{
			gate:     limited(1000, 2000),
			backend:  &backend{workers: 30, service: 100 * time.Millisecond},
			deadline: 2 * time.Second,
			random:   rand.New(rand.NewPCG(1, 2)),
		}
		if got := s.run(t, 3*s.backend.capacity(), 20*time.Second) / s.backend.capacity(); got > 0.5 {
			t.Errorf("%.0f%% of the capacity without an adaptive limit", got*100)
		}
		s.calls.Wait()
	})
}

func TestAnAdaptiveLimitStaysWithinItsBounds(t *testing.T) {
	for seed := range uint64(50) {
		random := rand.New(rand.NewPCG(seed, 7))
		a := &Adaptive{Min: 1 + random.IntN(20), Max: 20 + random.IntN(100)}
		g := New(Config{Limits: Limits{Adaptive: a}}, nil)
		b := g.chain.Load().bulkhead
		now := int64(0)
		for range 3000 {
			now += int64(random.ExpFloat64() * 1e7)
			latency := int64(random.ExpFloat64() * 1e8 * (1 + float64(random.IntN(3))))
			b.tuner.usedUp.Store(random.IntN(5) > 0)
			b.tuner.observe(&Call{}, now-latency, now, Outcome(random.IntN(3)))
			if limit := b.bounds.limit.Load(); limit < int64(a.Min) || limit > int64(a.Max) {
				t.Fatalf("limit %d, bounds %d and %d", limit, a.Min, a.Max)
			}
		}
	}
}

func TestWhatACallSaysOfTheLatency(t *testing.T) {
	tuner := New(Config{Limits: Limits{Adaptive: &Adaptive{Min: 1, Max: 10}}}, nil).chain.Load().bulkhead.tuner
	tuner.aimd.rebase(float64(100 * time.Millisecond))
	for _, c := range []struct {
		given   string
		latency time.Duration
		outcome Outcome
		expired bool
		want    bool
	}{
		{"an answer", time.Millisecond, Success, false, true},
		{"a failure at once", time.Millisecond, Failure, false, false},
		{"a failure after a while", time.Second, Failure, false, true},
		{"an expiry at once", time.Millisecond, Neutral, true, false},
		{"an expiry after a while", time.Second, Neutral, true, true},
		{"a caller who gave up, or a call that was not reached", time.Second, Neutral, false, false},
	} {
		call := &Call{}
		if c.expired {
			call.code = 4
		}
		if got := tuner.counts(call, int64(c.latency), c.outcome); got != c.want {
			t.Errorf("%s: %t", c.given, got)
		}
	}
}

func TestACallThatCannotBeAnsweredInTimeIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Limits: Limits{Queue: 100, Adaptive: &Adaptive{Min: 1, Max: 1}}}, nil)
		b := g.chain.Load().bulkhead
		b.bounds.turn.Store(int64(100 * time.Millisecond))
		b.bounds.need.Store(int64(needFactor * 300 * time.Millisecond))
		release := hold(t, g, &Call{})
		waiting := make(chan error, 3)
		for range 3 {
			go func() { waiting <- try(t, g, "") }()
			synctest.Wait()
		}
		call := &Call{Deadline: time.Now().Add(seconds(0.9))}
		start := time.Now()
		err := g.Do(t.Context(), call, ok)
		want := "rpc error: code = ResourceExhausted desc = bulkhead: no answer could come before the deadline, which is in 900ms: " +
			"there are 3 calls in the queue, 100ms apart, and a call takes 300ms; retry later, with a later deadline, or raise limits.max"
		if err == nil || err.Error() != want || time.Since(start) != 0 {
			t.Errorf("after %v: %v", time.Since(start), err)
		}
		late := &Call{Deadline: time.Now().Add(seconds(1.1))}
		go func() { waiting <- g.Do(t.Context(), late, ok) }()
		synctest.Wait()
		if g.Queued() != 4 {
			t.Errorf("%d queued", g.Queued())
		}
		pause(t.Context(), seconds(0.6)) // its turn comes later than was thought
		release()
		refused := 0
		for range 4 {
			if err := <-waiting; err != nil {
				refused++
			}
		}
		if refused != 1 || g.Queued() != 0 {
			t.Errorf("%d refused, %d queued", refused, g.Queued())
		}
	})
}

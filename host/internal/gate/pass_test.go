package gate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// doInSteps is Do for a caller who does not wait unless there is no other way.
func (g *Gate) doInSteps(ctx context.Context, c *Call, forward Forward) error {
	entered, err := g.TryEnter(c)
	if err == nil && !entered {
		err = g.Enter(ctx, c)
	}
	if err != nil {
		return err
	}
	return g.Leave(c, forward(ctx, c))
}

// enter takes a call into the gate without waiting.
func enter(t *testing.T, g *Gate, c *Call) {
	t.Helper()
	if entered, err := g.TryEnter(c); !entered || err != nil {
		t.Fatalf("entered %t, error %v", entered, err)
	}
}

// stop takes a call as far as it gets, which is not through.
func stop(t *testing.T, g *Gate, c *Call) {
	t.Helper()
	before := time.Now()
	if entered, err := g.TryEnter(c); entered || err != nil {
		t.Fatalf("entered %t, error %v, want it to stop", entered, err)
	}
	if took := time.Since(before); took != 0 {
		t.Errorf("it waited for %v", took)
	}
	if g.Queued() != 0 {
		t.Errorf("%d calls have a place in a queue", g.Queued())
	}
}

// spent is a gate in whose one policy a call has to wait.
func spent(t *testing.T, given string) *Gate {
	t.Helper()
	slow := Rate{Name: "slow", Quota: Quota{1, time.Hour, 1}, Wait: 2 * time.Hour}
	c := map[string]Config{
		"bulkhead":         {Limits: Limits{Concurrency: 1, Queue: 1}},
		"bulkhead of keys": {PerKey: []KeyLimit{{Key: "domain", Concurrency: 1, Queue: 1}}},
		"rate":             {Rates: []Rate{slow}},
		"rate of keys":     {Rates: []Rate{{Name: "slow", Key: "domain", Quota: slow.Quota, Wait: slow.Wait}}},
	}[given]
	g := New(c, nil)
	enter(t, g, callFor("x"))
	return g
}

func TestTryEnterNeverWaits(t *testing.T) {
	for _, given := range []string{"bulkhead", "bulkhead of keys", "rate", "rate of keys"} {
		t.Run(given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := spent(t, given)
				c := callFor("x")
				stop(t, g, c)
				stop(t, g, c) // nor the second time
				if err := g.Leave(c, Result{}); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func TestTheRejectionIsTheSameHoweverACallComes(t *testing.T) {
	configs := map[string]Config{
		"bulkhead": {Limits: Limits{Concurrency: 1}},
		"rate":     {Rates: []Rate{{Name: "r", Quota: Quota{1, time.Hour, 1}, Wait: time.Second}}},
		"deadline": {Limits: Limits{Timeout: time.Second}},
	}
	for given, config := range configs {
		t.Run(given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen counter
				g := New(config, &seen)
				enter(t, g, &Call{})
				deadline := time.Now().Add(time.Minute)
				if given == "deadline" {
					deadline = time.Now()
				}
				_, tried := g.TryEnter(&Call{Deadline: deadline})
				entered := g.Enter(t.Context(), &Call{Deadline: deadline})
				if tried == nil || fmt.Sprint(tried) != fmt.Sprint(entered) {
					t.Errorf("got %v and %v", tried, entered)
				}
				if len(seen.rejected) != 2 {
					t.Errorf("counted %q, want two", seen.rejected)
				}
			})
		})
	}
}

func TestACallThatStoppedTakesItsPlaceWhenItEnters(t *testing.T) {
	for _, given := range []Config{
		{Limits: Limits{Concurrency: 1, Queue: 5}},
		{Rates: []Rate{{Name: "r", Quota: Quota{1, time.Second, 1}, Wait: time.Minute}}},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := New(given, nil)
			first := &Call{}
			enter(t, g, first)
			stopped := &Call{}
			stop(t, g, stopped)
			order := make(chan string, 2)
			goes := func(name string, c *Call) {
				if err := g.Enter(t.Context(), c); err != nil {
					t.Error(err)
				}
				order <- name
				_ = g.Leave(c, Result{})
			}
			go goes("the one that waits", &Call{})
			synctest.Wait()
			go goes("the one that stopped", stopped)
			synctest.Wait()
			if err := g.Leave(first, Result{}); err != nil {
				t.Error(err)
			}
			if got := <-order; got != "the one that waits" {
				t.Errorf("first came %s", got)
			}
			<-order
		})
	}
}

// A call that has got the place of the one that tries, and tokens, and permits,
// stops at the last bulkhead; then nobody wants it any more.
func TestACallThatIsDroppedGivesEverythingBack(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for given, drop := range map[string]func(*Gate, *Call) error{
		"by Leave":       func(g *Gate, c *Call) error { return g.Leave(c, Result{Err: context.Canceled}) },
		"by its context": func(g *Gate, c *Call) error { return g.Enter(cancelled, c) },
		"by Leave, and again": func(g *Gate, c *Call) error {
			_ = g.Leave(c, Result{})
			return g.Leave(c, Result{Err: context.Canceled})
		},
		"in the queue": func(g *Gate, c *Call) error {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(cancelled), time.Second)
			defer cancel()
			return g.Enter(ctx, c)
		},
	} {
		t.Run(given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(Config{
					Limits:   Limits{Concurrency: 1, Queue: 1},
					PerKey:   []KeyLimit{{Key: "domain", Concurrency: 1}},
					Rates:    []Rate{{Name: "r", Quota: Quota{1, 24 * time.Hour, 3}}},
					Breakers: []Breaker{{Failures: 1, Within: time.Second, OpenFor: time.Second}},
				}, nil)
				holder := callFor("")
				enter(t, g, holder)
				fails := g.chain.Load().steps[0].policy
				fails.Done(&Call{}, Ticket{}, Failure)
				pause(t.Context(), time.Second)
				c := callFor("x")
				stop(t, g, c)
				if err := drop(g, c); status.Code(err) == codes.OK {
					t.Error("no error")
				}
				if g.InFlight() != 1 || g.Queued() != 0 {
					t.Errorf("%d in flight, %d queued", g.InFlight(), g.Queued())
				}
				_ = g.Leave(holder, Result{})
				again := callFor("x") // needs the place of the one that tries, a token and both permits
				enter(t, g, again)
				_ = g.Leave(again, Result{})
				last := callFor("x")
				enter(t, g, last)
				if _, err := g.TryEnter(callFor("y")); detailsOf(t, err).Reason != "RATE_LIMITED" {
					t.Errorf("a fourth token: %v", err)
				}
			})
		})
	}
}

func TestAStartIsThePresentMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Limits: Limits{Timeout: time.Minute}, Rates: []Rate{{Name: "r", Quota: Quota{1, time.Second, 1}, Wait: time.Minute}}}, nil)
		enter(t, g, &Call{})
		start := time.Now()
		pause(t.Context(), time.Second)
		c := &Call{Start: start} // at that time there was no token
		enter(t, g, c)           // but one who has to wait looks again
		if got := c.Deadline.Sub(start); got != time.Minute {
			t.Errorf("deadline %v after the start", got)
		}
	})
}

func TestACallGoesOnWhereItStopped(t *testing.T) {
	g, log := recorded("", nil, "a", "b", "c")
	steps := g.chain.Load().steps
	for _, i := range []int{0, 1} {
		r := steps[i].policy.(recorder) //nolint:forcetypeassert // it is one
		r.waits = true
		steps[i].policy = r
	}
	c := &Call{}
	if entered, err := g.TryEnter(c); entered || err != nil {
		t.Fatalf("entered %t, %v", entered, err)
	}
	if err := g.Enter(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := g.Leave(c, Result{}); err != nil {
			t.Error(err)
		}
	}
	want := []string{"try a", "try a", "await a", "try b", "await b", "try c", "done c 2 success", "done b 1 success", "done a 0 success"}
	if diff := cmp.Diff(want, *log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestHoweverCallsComeTheLimitsHold mixes the ways in and out: calls that are
// dropped where they stopped, that come back later or not, that wait, that are
// cancelled meanwhile; with the clock of the gate and with that of a batch.
func TestHoweverCallsComeTheLimitsHold(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 6))
			const limit = 3
			q := Quota{1 + random.Uint64N(50), time.Duration(1 + random.Int64N(int64(3*time.Second))), random.IntN(20)}
			g := New(Config{
				Rates:  []Rate{{Name: "global", Quota: q, Wait: time.Duration(random.Int64N(int64(5 * time.Second)))}},
				Limits: Limits{Concurrency: limit, Queue: random.IntN(4)},
				PerKey: []KeyLimit{{Key: "domain", Concurrency: 2, Queue: 2}},
			}, nil)
			passed := &stamps{}
			ch := g.chain.Load()
			ch.steps = slices.Insert(ch.steps, 1, step{"stamps", passed})
			m := mixture{gate: g, limit: limit, hold: int64(q.Per)/10 + 1}
			for range 400 {
				pause(t.Context(), time.Duration(random.ExpFloat64()*float64(q.Per)/float64(q.Events)*2*random.Float64()))
				m.calls.Add(1)
				go m.call(t, rand.New(rand.NewPCG(seed, random.Uint64())))
			}
			m.calls.Wait()
			slices.Sort(passed.all)
			checkWindows(t, q, passed.all)
			if len(passed.all) < 10 {
				t.Errorf("seed %d: %d of 400 entered", seed, len(passed.all))
			}
			if g.InFlight() != 0 || g.Queued() != 0 {
				t.Errorf("seed %d: left %d in flight, %d queued", seed, g.InFlight(), g.Queued())
			}
		})
	}
}

// mixture is calls that come in all ways.
type mixture struct {
	gate     *Gate
	limit    int64
	hold     int64 // the most that a call takes
	inFlight atomic.Int64
	calls    sync.WaitGroup
}

func (m *mixture) call(t *testing.T, random *rand.Rand) {
	t.Helper()
	defer m.calls.Done()
	c := callFor([]string{"a", "b", ""}[random.IntN(3)])
	if random.IntN(2) == 0 {
		c.Start = time.Now()
	}
	if entered := m.enter(t, c, random); !entered {
		return
	}
	if got := m.inFlight.Add(1); got > m.limit {
		t.Errorf("%d in flight", got)
	}
	pause(t.Context(), time.Duration(random.Int64N(m.hold)))
	m.inFlight.Add(-1)
	_ = m.gate.Leave(c, Result{Err: status.FromContextError(nil).Err()})
}

// enter reports whether the call has entered; if not, it holds nothing.
func (m *mixture) enter(t *testing.T, c *Call, random *rand.Rand) bool {
	t.Helper()
	for range random.IntN(4) {
		entered, err := m.gate.TryEnter(c)
		if entered || err != nil {
			return entered
		}
		switch random.IntN(4) {
		case 0:
			_ = m.gate.Leave(c, Result{})
			return false
		case 1:
			pause(t.Context(), time.Duration(random.Int64N(m.hold)))
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	if random.IntN(3) == 0 {
		time.AfterFunc(time.Duration(random.Int64N(int64(time.Second))), cancel)
	}
	return m.gate.Enter(ctx, c) == nil
}

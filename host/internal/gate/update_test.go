package gate

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestAnUpdateKeepsTheStateOfWhatStaysTheSame(t *testing.T) {
	slow := Quota{1, time.Hour, 1}
	config := func() Config {
		return Config{
			Rates: []Rate{
				{Name: "global", Quota: Quota{1, time.Hour, 5}},
				{Name: "each", Key: "domain", Quota: slow, Overrides: []Override{{"*.x.com", slow}}},
			},
			Breakers: []Breaker{{Key: "domain", Failures: 1, Within: time.Minute, OpenFor: time.Minute}},
			Retry:    Retry{Attempts: 2, Budget: 0},
		}
	}
	for _, c := range []struct {
		given  string
		change func(*Config)
		rate   bool // the tokens of "a" are still spent
		broken bool // the breaker of "b" is still open
	}{
		{"nothing", func(*Config) {}, true, true},
		{"other policies", func(c *Config) {
			c.Limits = Limits{Concurrency: 5, Timeout: time.Second}
			c.PerKey = []KeyLimit{{Key: "other", Concurrency: 1}, {Key: "domain", Concurrency: 9}}
			c.Rates = append([]Rate{{Name: "new", Key: "another", Quota: slow}}, c.Rates...)
			c.Retry.Attempts = 3
		}, true, true},
		{"the rate", func(c *Config) { c.Rates[1].Burst = 2 }, false, true},
		{"an override", func(c *Config) { c.Rates[1].Overrides[0].Burst = 2 }, false, true},
		{"the breaker", func(c *Config) { c.Breakers[0].Failures = 2 }, true, false},
		{"all is gone and comes back", nil, false, false},
	} {
		t.Run(c.given, func(t *testing.T) {
			g := New(config(), nil)
			_ = do(t, g, "a", codes.OK)
			_ = do(t, g, "b", codes.Internal)
			if c.change == nil {
				g.Update(Config{})
				g.Update(config())
			} else {
				next := config()
				c.change(&next)
				g.Update(next)
			}
			if err := do(t, g, "a", codes.OK); (status.Code(err) == codes.ResourceExhausted) != c.rate {
				t.Errorf("the rate: %v", err)
			}
			if err := do(t, g, "b", codes.OK); isOpen(t, err) != c.broken {
				t.Errorf("the breaker: %v", err)
			}
		})
	}
}

func TestCallsInFlightCountAgainstTheNewLimits(t *testing.T) {
	config := Config{Limits: Limits{Concurrency: 5}, PerKey: []KeyLimit{{Key: "domain", Concurrency: 2}}}
	g := New(config, nil)
	one, two := hold(t, g, callFor("x")), hold(t, g, callFor("y"))
	config.Limits = Limits{Concurrency: 2, Queue: 0}
	config.PerKey[0] = KeyLimit{Key: "domain", Concurrency: 1}
	g.Update(config)
	if err := try(t, g, ""); detailsOf(t, err).Metadata["policy"] != "bulkhead" {
		t.Errorf("total: got %v", err)
	}
	two()
	if err := try(t, g, "x"); detailsOf(t, err).Metadata["policy"] != "bulkhead.domain" {
		t.Errorf("keyed: got %v", err)
	}
	if err := try(t, g, "y"); err != nil {
		t.Errorf("another value: %v", err)
	}
	one()
	if g.InFlight() != 0 {
		t.Errorf("%d in flight", g.InFlight())
	}
}

func TestCallsThatWaitGoByThePoliciesTheyMet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Rates: []Rate{{Name: "global", Quota: Quota{1, time.Second, 1}, Wait: time.Minute}}}, nil)
		start := time.Now()
		var last atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if err := try(t, g, ""); err != nil {
					t.Error(err)
				}
				last.Store(int64(time.Since(start)))
			})
		}
		synctest.Wait()
		g.Update(Config{})
		if err := try(t, g, ""); err != nil || time.Since(start) != 0 {
			t.Errorf("a call after the update: %v after %v", err, time.Since(start))
		}
		wg.Wait()
		if got := time.Duration(last.Load()); got != 3*time.Second {
			t.Errorf("the last one went after %v, want 3s", got)
		}
	})
}

func TestALimitMayBecomeAdaptiveAndFixedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limited(3, 0)
		releases := []func(){hold(t, g, &Call{}), hold(t, g, &Call{}), hold(t, g, &Call{})}
		adaptive := Config{Limits: Limits{Concurrency: 50, Adaptive: &Adaptive{Min: 5, Max: 50}}}
		g.Update(adaptive)
		adaptive.Limits.Adaptive = &Adaptive{Min: 5, Max: 50} // the same
		g.Update(adaptive)
		for range 2 {
			releases = append(releases, hold(t, g, &Call{}))
		}
		g.Update(Config{Limits: Limits{Concurrency: 4}})
		for _, release := range releases {
			if err := try(t, g, ""); (err != nil) != (g.InFlight() >= 4) {
				t.Errorf("%d in flight: %v", g.InFlight(), err)
			}
			release()
		}
		if g.InFlight() != 0 {
			t.Errorf("%d in flight", g.InFlight())
		}
	})
}

func TestUpdatesAmongCallsLoseNothing(t *testing.T) {
	configs := []Config{everything(), {}, everything()}
	configs[2].Limits.Adaptive = &Adaptive{Min: 1, Max: 10}
	configs[2].Rates[0].Overrides = []Override{{"x", Quota{1, time.Hour, 1}}}
	g := New(Config{}, nil)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 500 {
				if i%20 == 0 {
					g.Update(configs[i/20%len(configs)])
				}
				_ = g.Do(t.Context(), callFor([]string{"x", "y", ""}[i%3]), func(context.Context, *Call) Result {
					g.Explain(callFor("x"))
					return Result{Err: status.Error(codes.Code(i%17), "")}
				})
			}
		})
	}
	wg.Wait()
	if g.InFlight() != 0 || g.Queued() != 0 {
		t.Errorf("%d in flight, %d queued", g.InFlight(), g.Queued())
	}
}

// A call has room for the values of two keys, whichever a config names.
func TestKeysOfEarlierConfigsTakeNoRoom(t *testing.T) {
	config := func(keys ...string) (c Config) {
		for _, k := range keys {
			c.PerKey = append(c.PerKey, KeyLimit{Key: k, Concurrency: 1})
		}
		return c
	}
	g := New(config("a", "b"), nil)
	values := requestKeys{"a": "1", "b": "2", "c": "3", "d": "4"}
	before := &Call{Keys: values}
	enter(t, g, before)
	for i, keys := range [][]string{{"c", "b"}, {"c", "d"}, {"d"}, {"b", "d"}} {
		g.Update(config(keys...))
		if got := g.chain.Load().keys; got > 2 {
			t.Errorf("%v: room for %d", keys, got)
		}
		c := &Call{Keys: values}
		if entered, err := g.TryEnter(c); entered != (i > 0) { // the first time "b" still is that of before
			t.Errorf("%v: entered %t, %v", keys, entered, err)
		}
		_ = g.Leave(c, Result{})
	}
	_ = g.Leave(before, Result{})
	if g.InFlight() != 0 {
		t.Errorf("%d in flight", g.InFlight())
	}
}

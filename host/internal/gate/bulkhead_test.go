package gate

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// limited is a gate with limits for all calls.
func limited(concurrency, queue int) *Gate {
	return New(Config{Limits: Limits{Concurrency: concurrency, Queue: queue}}, nil)
}

// hold makes a call that is in flight until release is called; it has its
// permit when hold returns.
func hold(t *testing.T, g *Gate, c *Call) (release func()) {
	t.Helper()
	entered, leave, left := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(left)
		if err := g.Do(t.Context(), c, func(context.Context, *Call) Result {
			close(entered)
			<-leave
			return Result{}
		}); err != nil {
			t.Error(err)
		}
	}()
	<-entered
	return func() {
		close(leave)
		<-left
	}
}

func TestAQueueThatIsFullRefusesAtOnce(t *testing.T) {
	for _, c := range []struct {
		given, domain string
		config        Config
		text          string
		metadata      map[string]string
	}{
		{"total", "", Config{Limits: Limits{Concurrency: 2, Queue: 1}},
			"bulkhead: 2 calls in flight and 1 queued, limits 2 and 1; retry later or raise limits.concurrency",
			map[string]string{"policy": "bulkhead", "limits.concurrency": "2", "limits.queue": "1"}},
		{"keyed", "x", Config{PerKey: []KeyLimit{{Key: "domain", Concurrency: 2, Queue: 1}}},
			`bulkhead.domain: 2 calls in flight and 1 queued for domain "x", limits 2 and 1; retry later or raise limits.per_key["domain"].concurrency`,
			map[string]string{
				"policy": "bulkhead.domain", "key": "x",
				`limits.per_key["domain"].concurrency`: "2", `limits.per_key["domain"].queue`: "1",
			}},
	} {
		t.Run(c.given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(c.config, nil)
				one, two := hold(t, g, callFor(c.domain)), hold(t, g, callFor(c.domain))
				waited := make(chan error)
				go func() { waited <- try(t, g, c.domain) }()
				synctest.Wait()
				if got := g.Queued(); got != 1 {
					t.Errorf("%d queued", got)
				}

				before := time.Now()
				call := callFor(c.domain)
				call.Deadline = before.Add(time.Hour)
				err := g.Do(t.Context(), call, ok)
				if since := time.Since(before); since != 0 {
					t.Errorf("refused after %v", since)
				}
				if got := status.Convert(err).Message(); got != c.text {
					t.Errorf("got  %s\nwant %s", got, c.text)
				}
				want := told{codes.ResourceExhausted, "BULKHEAD_FULL", bulkheadRetry, c.metadata}
				if diff := cmp.Diff(want, detailsOf(t, err)); diff != "" {
					t.Errorf("details (-want +got):\n%s", diff)
				}
				if c.domain != "" {
					if err := try(t, g, "other"); err != nil {
						t.Errorf("another value: %v", err)
					}
				}
				one()
				if err := <-waited; err != nil {
					t.Errorf("the call in the queue: %v", err)
				}
				two()
			})
		})
	}
}

func TestWithoutAQueueCallsBeyondTheLimitAreRefused(t *testing.T) {
	g := limited(1, 0)
	release := hold(t, g, &Call{})
	if err := try(t, g, ""); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
	release()
	if err := try(t, g, ""); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}

func TestTheLongestWaitingCallGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limited(1, 10)
		release := hold(t, g, &Call{})
		order := make(chan int, 10)
		for i := range 5 {
			go func() {
				_ = g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
					order <- i
					return Result{}
				})
			}()
			synctest.Wait() // in the queue before the next one comes
		}
		release()
		for want := range 5 {
			if got := <-order; got != want {
				t.Errorf("call %d went, want %d", got, want)
			}
		}
		synctest.Wait()
		if g.InFlight() != 0 || g.Queued() != 0 {
			t.Errorf("left %d in flight, %d queued", g.InFlight(), g.Queued())
		}
	})
}

func TestACallExpiresInTheQueueAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Limits: Limits{Timeout: 3 * time.Second, Concurrency: 1, Queue: 1}}, nil)
		release := hold(t, g, &Call{Stream: true})
		start := time.Now()
		err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
			t.Error("forwarded")
			return Result{}
		})
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("after %v, want 3s", got)
		}
		want := "bulkhead: deadline exceeded after 3s, while in the queue: 1 calls were in flight, the limit; retry later or raise limits.concurrency"
		if st := status.Convert(err); st.Code() != codes.DeadlineExceeded || st.Message() != want {
			t.Errorf("got %v", err)
		}
		if g.Queued() != 0 || g.InFlight() != 1 {
			t.Errorf("%d queued, %d in flight", g.Queued(), g.InFlight())
		}
		release()
	})
}

func TestACancelledCallLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limited(1, 1)
		release := hold(t, g, &Call{})
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- g.Do(ctx, &Call{}, ok) }()
		synctest.Wait()
		cancel()
		if err := <-result; status.Code(err) != codes.Canceled || !strings.Contains(err.Error(), "in the queue") {
			t.Errorf("got %v", err)
		}
		if g.InFlight() != 1 || g.Queued() != 0 {
			t.Errorf("%d in flight, %d queued", g.InFlight(), g.Queued())
		}
		release()
		if err := try(t, g, ""); err != nil {
			t.Errorf("the permit is lost: %v", err)
		}
	})
}

func TestAHigherLimitLetsWaitersInAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := Config{
			Limits: Limits{Concurrency: 1, Queue: 10},
			PerKey: []KeyLimit{{Key: "domain", Concurrency: 2, Queue: 10}},
		}
		g := New(config, nil)
		var releases sync.WaitGroup
		leave := make(chan struct{})
		for range 5 {
			releases.Go(func() {
				_ = g.Do(t.Context(), callFor("x"), func(context.Context, *Call) Result {
					<-leave
					return Result{}
				})
			})
		}
		check := func(total, perKey, inFlight int) {
			t.Helper()
			config.Limits.Concurrency = total
			config.PerKey = []KeyLimit{{Key: "domain", Concurrency: perKey, Queue: 10}}
			g.Update(config)
			synctest.Wait()
			if got := g.InFlight(); got != inFlight || g.Queued() != 5-inFlight {
				t.Errorf("limits %d and %d: %d in flight, %d queued, want %d in flight", total, perKey, got, g.Queued(), inFlight)
			}
		}
		synctest.Wait()
		check(1, 2, 1)
		check(3, 2, 2)
		check(3, 4, 3)
		check(1, 1, 3) // takes effect as calls end
		check(9, 9, 5)
		close(leave)
		releases.Wait()
	})
}

func TestALowerLimitTakesEffectAsCallsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := limited(3, 1)
		releases := []func(){hold(t, g, &Call{}), hold(t, g, &Call{}), hold(t, g, &Call{})}
		g.Update(Config{Limits: Limits{Concurrency: 1, Queue: 1}})
		waited := make(chan error, 1)
		go func() { waited <- try(t, g, "") }()
		synctest.Wait()
		for _, release := range releases[:2] {
			release()
			synctest.Wait()
			if g.Queued() != 1 {
				t.Errorf("let in with %d in flight", g.InFlight())
			}
		}
		releases[2]()
		if err := <-waited; err != nil {
			t.Error(err)
		}
	})
}

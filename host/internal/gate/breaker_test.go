package gate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var errBroken = status.Error(codes.Internal, "broken")

func broken(key string) Config {
	return Config{
		Limits:   Limits{Timeout: time.Minute},
		Breakers: []Breaker{{Key: key, Failures: 3, Within: 10 * time.Second, OpenFor: 5 * time.Second}},
	}
}

// isOpen reports whether an error is the rejection of a breaker.
func isOpen(err error) bool {
	return status.Code(err) == codes.Unavailable && retryAfter(err) > 0
}

func TestABreakerOpensAfterItsFailuresAndClosesAfterOneGoodCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		observed := &counter{}
		g := New(broken(""), observed)
		do := func(f Forward) error { return g.Do(t.Context(), &Call{}, f) }
		for range 3 {
			if err := do(answer(errBroken)); !errors.Is(err, errBroken) {
				t.Fatalf("got %v", err)
			}
		}
		if got := g.Breakers(); got != 2 {
			t.Errorf("state %d, want 2, open", got)
		}
		err := do(answered)
		want := "breaker is open: 3 calls failed within 10s; retry in 5s"
		if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != want || retryAfter(err) != 5*time.Second {
			t.Errorf("got %v", err)
		}
		time.Sleep(5*time.Second - 1) //nolint:forbidigo // the bubble's clock does not pass by itself
		if !isOpen(do(answered)) {
			t.Error("a call passed before the time")
		}
		time.Sleep(time.Nanosecond) //nolint:forbidigo // the bubble's clock does not pass by itself
		if err := do(answer(errBroken)); !errors.Is(err, errBroken) {
			t.Errorf("the call that tries: %v", err)
		}
		if !isOpen(do(answered)) {
			t.Error("a call passed after the one that tried has failed")
		}
		time.Sleep(5 * time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
		for range 5 {
			if err := do(answered); err != nil {
				t.Errorf("after the time: %v", err)
			}
		}
		// Closed, and nothing is held against it.
		for range 2 {
			_ = do(answer(errBroken))
		}
		if err := do(answered); err != nil || g.Breakers() != 0 {
			t.Errorf("after two failures: %v, state %d", err, g.Breakers())
		}
		if len(observed.rejected) != 3 || observed.rejected[0] != "breaker" {
			t.Errorf("rejected %q", observed.rejected)
		}
	})
}

func TestFailuresThatAreTooFarApartOpenNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(broken(""), nil)
		for range 20 {
			if err := g.Do(t.Context(), &Call{}, answer(errBroken)); !errors.Is(err, errBroken) {
				t.Fatalf("got %v", err)
			}
			time.Sleep(5 * time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
			if g.Breakers() != 0 {
				t.Fatal("it is not closed")
			}
		}
	})
}

// A stream that tries may last for days.
func TestACallThatTriesAndDoesNotEndKeepsNobodyOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(broken(""), nil)
		for range 3 {
			_ = g.Do(t.Context(), &Call{}, answer(errBroken))
		}
		time.Sleep(5 * time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
		end := make(chan struct{})
		var stream sync.WaitGroup
		stream.Go(func() {
			_ = g.Do(t.Context(), &Call{Stream: true}, func(context.Context, *Call) Result {
				<-end
				return Result{Err: errBroken}
			})
		})
		synctest.Wait()
		if err := g.Do(t.Context(), &Call{}, answered); !isOpen(err) {
			t.Errorf("while it tries: %v", err)
		}
		time.Sleep(5 * time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
		if err := g.Do(t.Context(), &Call{}, answered); err != nil || g.Breakers() != 0 {
			t.Errorf("after the time: %v, state %d", err, g.Breakers())
		}
		close(end)
		stream.Wait()
		if g.Breakers() != 0 {
			t.Errorf("state %d: the end of the stream has told something", g.Breakers())
		}
	})
}

func TestAnOpenBreakerThatNobodyAsksAnyMoreIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(broken("domain"), nil)
		for range 3 {
			_ = g.Do(t.Context(), &Call{Keys: domain("dead")}, answer(errBroken))
		}
		k := g.chain.Load().step("breaker.domain").(*keyed)
		b := k.peek([]byte("dead"))
		for _, tt := range []struct {
			after time.Duration
			state int
			idle  bool
		}{{0, 2, false}, {5 * time.Second, 1, false}, {10*time.Second - 1, 1, false}, {1, 1, true}} {
			time.Sleep(tt.after) //nolint:forbidigo // the bubble's clock does not pass by itself
			if state, idle := g.Breakers(), b.isIdle(g.clock.now()); state != tt.state || idle != tt.idle {
				t.Errorf("%v later: state %d, idle %t; want %d, %t", tt.after, state, idle, tt.state, tt.idle)
			}
		}
		if g.Breakers() != 0 {
			t.Errorf("state %d, want closed", g.Breakers())
		}
	})
}

// A queue of ours that leaves the plugin too little time is no fault of its.
func TestTimeInOurQueuesIsNotHeldAgainstThePlugin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := broken("")
		c.Limits = Limits{Timeout: time.Second, Concurrency: 1, Queue: 10}
		g := New(c, nil)
		var calls sync.WaitGroup
		for range 10 {
			calls.Go(func() {
				_ = g.Do(t.Context(), &Call{}, func(ctx context.Context, c *Call) Result {
					ctx, cancel := c.Context(ctx)
					defer cancel()
					select {
					case <-time.After(300 * time.Millisecond):
						return Result{}
					case <-ctx.Done():
						return Result{Err: status.FromContextError(ctx.Err()).Err()}
					}
				})
			})
		}
		calls.Wait()
		if b := g.chain.Load().step(PolicyBreaker).(*breaker); len(b.failed) != 0 || g.Breakers() != 0 {
			t.Errorf("%d failures, state %d", len(b.failed), g.Breakers())
		}
	})
}

// A known system let all 10,000 callers try at once.
func TestOfTenThousandCallersOneMayTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(broken(""), nil)
		for range 3 {
			_ = g.Do(t.Context(), &Call{}, answer(errBroken))
		}
		time.Sleep(5 * time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
		var tried, rejected atomic.Int64
		release := make(chan struct{})
		var calls sync.WaitGroup
		for range 10_000 {
			calls.Go(func() {
				err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
					tried.Add(1)
					<-release
					return Result{}
				})
				if isOpen(err) {
					rejected.Add(1)
				}
			})
		}
		synctest.Wait()
		if tried.Load() != 1 || rejected.Load() != 9_999 || g.Breakers() != 1 {
			t.Errorf("%d tried and %d were rejected, state %d, want 1, 9999 and 1, half-open", tried.Load(), rejected.Load(), g.Breakers())
		}
		close(release)
		calls.Wait()
		if g.Breakers() != 0 {
			t.Errorf("state %d, want closed", g.Breakers())
		}
	})
}

// A known system let eight impatient callers close a healthy server to all.
func TestOnlyFaultsOfThePluginCount(t *testing.T) {
	late := func(ctx context.Context, c *Call) Result {
		ctx, cancel := c.Context(ctx)
		defer cancel()
		<-ctx.Done()
		return Result{Err: status.FromContextError(ctx.Err()).Err()}
	}
	for _, tt := range []struct {
		given    string
		deadline time.Duration // of the caller; 0: none
		forward  Forward
		counts   bool
	}{
		{"internal error", 0, answer(errBroken), true},
		{"an error without a code", 0, answer(errors.New("?")), true},
		{"unavailable", 0, answer(status.Error(codes.Unavailable, "upstream is down")), true},
		{"our deadline", 0, late, true},
		{"lost", 0, func(context.Context, *Call) Result {
			return Result{Err: status.Error(codes.Unavailable, "instance exited"), Reach: Lost}
		}, true},
		{"an answer that tells of a failure", 0, func(context.Context, *Call) Result { return Result{UpstreamFailed: true} }, true},
		{"the caller's own short deadline", time.Second, late, false},
		{"a deadline in the request", 0, answer(status.Error(codes.DeadlineExceeded, "1ms")), false},
		{"cancelled", 0, answer(status.Error(codes.Canceled, "never mind")), false},
		{"never reached", 0, func(context.Context, *Call) Result {
			return Result{Err: status.Error(codes.Unavailable, "backoff"), Reach: Unreached, Final: true}
		}, false},
		{"not found", 0, answer(status.Error(codes.NotFound, "no such file")), false},
		{"a bad argument", 0, answer(status.Error(codes.InvalidArgument, "no such field")), false},
		{"the plugin's own limit", 0, answer(status.Error(codes.ResourceExhausted, "body too large")), false},
	} {
		t.Run(tt.given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := broken("")
				c.Limits.Timeout = 2 * time.Second
				g := New(c, nil)
				for range 3 {
					ctx := t.Context()
					if tt.deadline > 0 {
						var cancel context.CancelFunc
						ctx, cancel = context.WithTimeout(ctx, tt.deadline)
						defer cancel()
					}
					if err := g.Do(ctx, &Call{}, tt.forward); isOpen(err) {
						t.Fatalf("rejected: %v", err)
					}
				}
				if got := isOpen(g.Do(t.Context(), &Call{}, answered)); got != tt.counts {
					t.Errorf("open: %t, want %t", got, tt.counts)
				}
			})
		})
	}
}

func TestOurOwnRejectionsOpenNothing(t *testing.T) {
	c := broken("")
	c.Limits.Concurrency = 1
	c.Rates = []Rate{{Name: "global", Quota: Quota{1, time.Hour, 1}}}
	g := New(c, nil)
	for range 20 {
		_ = g.Do(t.Context(), &Call{}, answered)
	}
	if got := g.Breakers(); got != 0 {
		t.Errorf("state %d, want closed", got)
	}
}

func TestACallThatTriedAndTellsNothingLetsAnotherOneTry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(broken(""), nil)
		for range 3 {
			_ = g.Do(t.Context(), &Call{}, answer(errBroken))
		}
		time.Sleep(5 * time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
		for range 3 {
			if err := g.Do(t.Context(), &Call{}, answer(status.Error(codes.Canceled, "never mind"))); isOpen(err) {
				t.Fatal("the place of the one that tries is lost")
			}
		}
		if err := g.Do(t.Context(), &Call{}, answered); err != nil || g.Breakers() != 0 {
			t.Errorf("got %v, state %d, want closed", err, g.Breakers())
		}
	})
}

// A known system let those who came back late prolong the time, or end it.
func TestThoseWhoComeBackLateChangeNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(broken(""), nil)
		release := make(chan error)
		var calls sync.WaitGroup
		for range 10 {
			calls.Go(func() {
				_ = g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result { return Result{Err: <-release} })
			})
		}
		synctest.Wait()
		for range 3 {
			_ = g.Do(t.Context(), &Call{}, answer(errBroken))
		}
		for i := range 10 { // they end while it is open, and later while one tries
			if i == 5 {
				time.Sleep(5 * time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
				trying := make(chan struct{})
				defer close(trying)
				go func() {
					_ = g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result { <-trying; return Result{} })
				}()
				synctest.Wait()
			}
			var err error
			if i%2 == 0 {
				err = errBroken
			}
			release <- err
			synctest.Wait()
			if want := 2 - i/5; g.Breakers() != want {
				t.Errorf("after %d: state %d, want %d", i, g.Breakers(), want)
			}
		}
		calls.Wait()
	})
}

func TestEachValueOfAKeyHasABreakerOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(broken("domain"), nil)
		for range 3 {
			_ = g.Do(t.Context(), &Call{Keys: domain("a")}, answer(errBroken))
		}
		err := g.Do(t.Context(), &Call{Keys: domain("a")}, answered)
		if want := `breaker.domain for domain "a" is open: 3 calls failed within 10s; retry in 5s`; status.Convert(err).Message() != want {
			t.Errorf("a: %v", err)
		}
		for _, k := range []Keys{domain("b"), domain(""), nil} {
			if err := g.Do(t.Context(), &Call{Keys: k}, answered); err != nil {
				t.Errorf("a call to %v: %v", k, err)
			}
		}
		if g.Breakers() != 2 {
			t.Errorf("state %d, want open", g.Breakers())
		}
	})
}

// However calls begin and end, a breaker is open for those who come only after
// as many failures as it takes, and never lets two try.
func TestABreakerUnderAStormKeepsItsRules(t *testing.T) {
	b := newBreaker(newBreakers(Breaker{Failures: 5, Within: time.Hour, OpenFor: 50 * time.Microsecond}), "")
	var tries, passed atomic.Int64
	var mu sync.Mutex
	terms := make(map[uint64]int) // who tried in each
	var calls sync.WaitGroup
	for worker := range 16 {
		calls.Go(func() {
			for i := range 5_000 {
				c := newCall()
				c.clock = &clock{epoch: time.Unix(0, 0)}
				c.now = c.clock.now()
				ticket, err := b.Admit(t.Context(), c)
				if err != nil {
					continue
				}
				passed.Add(1)
				half := phaseOf(b.state.Load()) == halfOpen && termOf(b.state.Load()) == ticket.number
				if half {
					tries.Add(1)
					mu.Lock()
					if terms[ticket.number]++; terms[ticket.number] > 1 {
						t.Errorf("%d calls try in term %d", terms[ticket.number], ticket.number)
					}
					mu.Unlock()
				}
				b.Done(c, ticket, Outcome((worker+i)%3))
			}
		})
	}
	calls.Wait()
	t.Logf("%d passed, %d of them to try", passed.Load(), tries.Load())
	if tries.Load() == 0 {
		t.Error("nobody tried: the test proves nothing")
	}
	if n := b.in[open].Load() + b.in[halfOpen].Load(); n < 0 || n > 1 {
		t.Errorf("%d breakers are counted as not closed", n)
	}
	_ = fmt.Sprint(b.describe(1))
}

package gate

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// breaking is a gate with a breaker, for each domain if there is one.
func breaking(domain string) *Gate {
	b := Breaker{Failures: 3, Within: 10 * time.Second, OpenFor: 5 * time.Second}
	if domain != "" {
		b.Key = "domain"
	}
	return New(Config{Breakers: []Breaker{b}}, nil)
}

// do makes a call that ends with a code.
func do(t *testing.T, g *Gate, domain string, code codes.Code) error {
	t.Helper()
	return g.Do(t.Context(), callFor(domain), answer(code))
}

// isOpen reports whether a call was turned away by the breaker.
func isOpen(t *testing.T, err error) bool {
	t.Helper()
	return detailsOf(t, err).Reason == "BREAKER_OPEN"
}

func TestFailuresWithinTheTimeOpenTheBreaker(t *testing.T) {
	for _, domain := range []string{"", "x"} {
		for _, c := range []struct {
			given string
			apart time.Duration
			codes []codes.Code
			open  bool
		}{
			{"too few", 0, []codes.Code{codes.Internal, codes.Internal}, false},
			{"enough", 0, []codes.Code{codes.Internal, codes.Unavailable, codes.Unknown}, true},
			{"enough among successes", 0, []codes.Code{codes.Internal, codes.OK, codes.Unavailable, codes.OK, codes.DataLoss}, true},
			{"just within", 4999 * time.Millisecond, []codes.Code{codes.Internal, codes.Internal, codes.Internal}, true},
			{"too far apart", 5 * time.Second, []codes.Code{codes.Internal, codes.Internal, codes.Internal}, false},
			{"answers about requests", 0, []codes.Code{codes.NotFound, codes.InvalidArgument, codes.ResourceExhausted, codes.Aborted}, false},
			{"callers who give up", 0, []codes.Code{codes.Canceled, codes.Canceled, codes.Canceled, codes.DeadlineExceeded, codes.DeadlineExceeded, codes.DeadlineExceeded}, false},
		} {
			t.Run(c.given+" "+domain, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					g := breaking(domain)
					for i, code := range c.codes {
						if i > 0 {
							pause(t.Context(), c.apart)
						}
						_ = do(t, g, domain, code)
					}
					if got := isOpen(t, do(t, g, domain, codes.OK)); got != c.open {
						t.Errorf("open %t, want %t", got, c.open)
					}
					if want := map[bool]int{false: 0, true: 2}[c.open]; g.Breakers() != want {
						t.Errorf("state %d, want %d", g.Breakers(), want)
					}
					if domain != "" {
						if err := do(t, g, "other", codes.OK); err != nil {
							t.Errorf("another value: %v", err)
						}
					}
				})
			})
		}
	}
}

// open opens the breaker.
func trip(t *testing.T, g *Gate, domain string) {
	t.Helper()
	for range 3 {
		_ = do(t, g, domain, codes.Internal)
	}
	if err := do(t, g, domain, codes.OK); !isOpen(t, err) {
		t.Fatalf("not open: %v", err)
	}
}

func TestAnOpenBreakerSaysWhenToComeBack(t *testing.T) {
	for _, c := range []struct{ domain, whom, path string }{
		{"", "", "breaker"},
		{"x", ` for domain "x"`, `breaker["domain"]`},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := breaking(c.domain)
			trip(t, g, c.domain)
			pause(t.Context(), 1800*time.Millisecond)
			err := do(t, g, c.domain, codes.OK)
			policy := g.Policies()[1]
			want := told{codes.Unavailable, "BREAKER_OPEN", 3200 * time.Millisecond, map[string]string{
				"policy": policy, c.path + ".failures": "3", c.path + ".within": "10s", c.path + ".open_for": "5s",
			}}
			if c.domain != "" {
				want.Metadata["key"] = c.domain
			}
			if diff := cmp.Diff(want, detailsOf(t, err)); diff != "" {
				t.Errorf("details (-want +got):\n%s", diff)
			}
			text := policy + ": open for another 3.2s" + c.whom + ", after 3 failures within 10s; retry later, see why the calls failed, or raise " + c.path + ".failures"
			if got := status.Convert(err).Message(); got != text {
				t.Errorf("got  %s\nwant %s", got, text)
			}
			pause(t.Context(), want.Retry)
			if err := do(t, g, c.domain, codes.OK); err != nil {
				t.Errorf("who came back when told: %v", err)
			}
			if g.Breakers() != 0 {
				t.Errorf("state %d after a success", g.Breakers())
			}
		})
	}
}

func TestImpatientCallersOpenNoBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaking("")
		slow := func(ctx context.Context, c *Call) Result {
			ctx, cancel := c.Context(ctx)
			defer cancel()
			if pause(ctx, time.Second) {
				return Result{}
			}
			return Result{Err: status.FromContextError(ctx.Err()).Err()}
		}
		for range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
			if err := g.Do(ctx, &Call{}, slow); status.Code(err) != codes.DeadlineExceeded {
				t.Fatalf("got %v", err)
			}
			cancel()
		}
		if err := g.Do(t.Context(), &Call{}, slow); err != nil {
			t.Errorf("a patient caller: %v", err)
		}
	})
}

func TestExpiriesAtTheOperatorsDeadlineOpenTheBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{
			Limits:   Limits{Timeout: time.Second},
			Breakers: []Breaker{{Failures: 3, Within: time.Minute, OpenFor: time.Minute}},
		}, nil)
		for range 3 {
			_ = g.Do(t.Context(), &Call{}, func(ctx context.Context, c *Call) Result {
				ctx, cancel := c.Context(ctx)
				defer cancel()
				<-ctx.Done()
				return Result{Err: ctx.Err()}
			})
		}
		if err := try(t, g, ""); !isOpen(t, err) {
			t.Errorf("got %v", err)
		}
	})
}

func TestABreakerKeepsNothingOfValuesThatDoNotFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaking("x")
		table := g.chain.Load().steps[0].policy.(*breaker).keyed //nolint:forcetypeassert // it was just made
		for i := range 10_000 {
			_ = do(t, g, fmt.Sprint("well-", i), codes.OK)
		}
		if got := table.size.Load(); got != 0 {
			t.Errorf("%d states", got)
		}
		for i := range 10_000 {
			trip(t, g, fmt.Sprint("ill-", i))
			if i%100 == 0 {
				pause(t.Context(), 10*time.Second)
			}
		}
		if got := table.size.Load(); got > 5000 {
			t.Errorf("%d states of values that nobody asks for", got)
		}
		if g.Breakers() != 2 {
			t.Errorf("state %d", g.Breakers())
		}
		pause(t.Context(), 10*time.Minute)
		for range 10_000 { // scrapes
			g.Breakers()
		}
		if g.Breakers() != 0 || table.size.Load() != 0 {
			t.Errorf("state %d, %d states left", g.Breakers(), table.size.Load())
		}
	})
}

func TestBeyondTheBoundValuesShareOneBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := breaking("x")
		g.chain.Load().steps[0].policy.(*breaker).keyed.limit = 1 //nolint:forcetypeassert // it was just made
		trip(t, g, "first")
		for i := range 3 {
			_ = do(t, g, fmt.Sprint("more-", i), codes.Internal)
		}
		for _, value := range []string{"more-0", "more-7"} {
			if err := do(t, g, value, codes.OK); !isOpen(t, err) {
				t.Errorf("%s: got %v", value, err)
			}
		}
		pause(t.Context(), 5*time.Second)
		if err := do(t, g, "more-9", codes.OK); err != nil {
			t.Errorf("the probe of the shared one: %v", err)
		}
		if err := do(t, g, "more-0", codes.OK); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}

func TestAnExpiryIsThePluginsFaultOnlyIfItHadMostOfTheTime(t *testing.T) {
	for _, c := range []struct {
		given  string
		queued time.Duration // of the 10 seconds that a call has
		open   bool
	}{
		{"at once", 0, true},
		{"after a while in the queue", 4 * time.Second, true},
		{"after most of the time in the queue", 6 * time.Second, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			g := New(Config{
				Limits:   Limits{Timeout: 10 * time.Second, Concurrency: 1, Queue: 1},
				Breakers: []Breaker{{Failures: 1, Within: time.Minute, OpenFor: time.Minute}},
			}, nil)
			if c.queued > 0 {
				release := hold(t, g, &Call{})
				time.AfterFunc(c.queued, release)
			}
			err := g.Do(t.Context(), &Call{}, func(ctx context.Context, c *Call) Result {
				ctx, cancel := c.Context(ctx)
				defer cancel()
				<-ctx.Done()
				return Result{Err: ctx.Err()}
			})
			if !strings.Contains(fmt.Sprint(err), "(limits.timeout is 10s)") {
				t.Errorf("%s: got %v", c.given, err)
			}
			if got := isOpen(t, try(t, g, "")); got != c.open {
				t.Errorf("%s: open %t, want %t", c.given, got, c.open)
			}
		})
	}
}

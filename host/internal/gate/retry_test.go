package gate

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

var errDown = status.Error(codes.Unavailable, "down")

func yes() bool { return true }

func TestOnlyWhatMayBeRepeatedIsRepeated(t *testing.T) {
	no := func() bool { return false }
	for _, tt := range []struct {
		given      string
		result     Result
		stream     bool
		idempotent func() bool
		want       int // tries
	}{
		{"answered well", Result{}, false, yes, 1},
		{"answered with another error", Result{Err: status.Error(codes.Internal, "x")}, false, yes, 1},
		{"unavailable, idempotent", Result{Err: errDown}, false, yes, 3},
		{"unavailable, not idempotent", Result{Err: errDown}, false, no, 1},
		{"unavailable, not said to be", Result{Err: errDown}, false, nil, 1},
		{"unavailable, stream", Result{Err: errDown}, true, yes, 1},
		{"lost, idempotent", Result{Err: errDown, Reach: Lost}, false, yes, 3},
		{"lost, not idempotent", Result{Err: errDown, Reach: Lost}, false, no, 1},
		{"lost, stream", Result{Err: errDown, Reach: Lost}, true, yes, 1},
		{"never reached, not idempotent", Result{Err: errDown, Reach: Unreached}, false, no, 3},
		{"never reached, stream", Result{Err: errDown, Reach: Unreached}, true, nil, 3},
		{"no instance to be had", Result{Err: errDown, Reach: Unreached, Final: true}, false, yes, 1},
		{"cancelled", Result{Err: status.Error(codes.Canceled, "x"), Reach: Lost}, false, yes, 1},
	} {
		t.Run(tt.given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				observed := &counter{}
				g := New(Config{Retry: Retry{Attempts: 3, Budget: 0.1}}, observed)
				tries := 0
				err := g.Do(t.Context(), &Call{Stream: tt.stream, Idempotent: tt.idempotent}, func(context.Context, *Call) Result {
					tries++
					return tt.result
				})
				if tries != tt.want || observed.retried != tt.want-1 || !errors.Is(err, tt.result.Err) {
					t.Errorf("%d tries, %d counted, error %v; want %d, %d, %v", tries, observed.retried, err, tt.want, tt.want-1, tt.result.Err)
				}
			})
		})
	}
}

// In any number of calls, at most ten and the budget's share of them are
// retried because of an answer; those that were lost need no budget.
func TestTheBudgetIsNeverExceededAndIsUsed(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 3))
			budget := float64(random.IntN(50)) / 100
			observed := &counter{}
			g := New(Config{Retry: Retry{Attempts: 5, Budget: budget}}, observed)
			for calls := 1; calls <= 1000; calls++ {
				down := random.IntN(3) > 0
				_ = g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result {
					if down {
						return Result{Err: errDown}
					}
					return Result{}
				})
				most := budget * float64(calls)
				if budget > 0 {
					most += 10
				}
				if float64(observed.retried) > most+1e-6 {
					t.Fatalf("%d retries in %d calls, limit %.1f", observed.retried, calls, most)
				}
			}
			if float64(observed.retried) < budget*1000*0.95 {
				t.Errorf("%d retries in 1000 calls, budget %v: it is not used", observed.retried, budget)
			}
		})
	}
}

func TestLostCallsNeedNoBudget(t *testing.T) {
	observed := &counter{}
	g := New(Config{Retry: Retry{Attempts: 2}}, observed)
	for range 100 {
		_ = g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result { return Result{Err: errDown, Reach: Lost} })
	}
	if observed.retried != 100 {
		t.Errorf("%d repeated, want 100", observed.retried)
	}
}

func TestARetryWaitsAsLongAsItIsAskedToAndNeverBeyondTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := status.New(codes.Unavailable, "busy").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(300 * time.Millisecond)})
		if err != nil {
			t.Fatal(err)
		}
		for _, tt := range []struct {
			timeout time.Duration
			want    int // tries
			least   time.Duration
		}{
			{10 * time.Second, 3, 600 * time.Millisecond},
			{500 * time.Millisecond, 2, 300 * time.Millisecond},
			{200 * time.Millisecond, 1, 0},
		} {
			g := New(Config{Limits: Limits{Timeout: tt.timeout}, Retry: Retry{Attempts: 3, Budget: 1}}, nil)
			began, tries := time.Now(), 0
			_ = g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result {
				tries++
				return Result{Err: st.Err()}
			})
			if took := time.Since(began); tries != tt.want || took < tt.least || took > tt.timeout {
				t.Errorf("timeout %v: %d tries in %v, want %d in at least %v", tt.timeout, tries, took, tt.want, tt.least)
			}
		}
	})
}

func TestTheDelayGrowsAndIsJittered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Retry: Retry{Attempts: 8, Budget: 1}}, nil)
		different := make(map[time.Duration]bool)
		for range 20 {
			var at []time.Time
			_ = g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result {
				at = append(at, time.Now())
				return Result{Err: errDown}
			})
			for i := 1; i < len(at); i++ {
				if wait, most := at[i].Sub(at[i-1]), min(retryDelay<<(i-1), maxRetryDelay); wait > most {
					t.Errorf("try %d after %v, at most %v", i+1, wait, most)
				}
			}
			if len(at) > 1 {
				different[at[1].Sub(at[0])] = true
			}
		}
		if len(different) < 2 {
			t.Errorf("all first delays are the same: %v", different)
		}
	})
}

func TestARetryOfAnAnsweredCallTakesTokensAndOneOfALostCallDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for reach, want := range map[Reach]int{Answered: 2, Lost: 3} {
			g := New(Config{Retry: Retry{Attempts: 3, Budget: 1}, Rates: []Rate{{Name: "global", Quota: Quota{1, time.Hour, 2}}}}, nil)
			tries := 0
			err := g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result {
				tries++
				return Result{Err: errDown, Reach: reach}
			})
			if tries != want || !errors.Is(err, errDown) {
				t.Errorf("reach %d: %d tries and %v, want %d and what the plugin said", reach, tries, err, want)
			}
		}
	})
}

func TestACallThatIsRepeatedKeepsItsPermit(t *testing.T) {
	g := New(Config{Limits: Limits{Concurrency: 1}, Retry: Retry{Attempts: 3, Budget: 1}}, nil)
	_ = g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result {
		if g.InFlight() != 1 {
			t.Errorf("%d in flight", g.InFlight())
		}
		return Result{Err: errDown, Reach: Lost}
	})
	if g.InFlight() != 0 {
		t.Errorf("%d in flight afterwards", g.InFlight())
	}
}

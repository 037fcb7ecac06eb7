package gate

import (
	"context"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

func yes() bool { return true }

// unavailable is an error that asks callers to stay away for a time.
func unavailable(stayAway time.Duration) error {
	st := status.New(codes.Unavailable, "busy")
	if stayAway > 0 {
		st, _ = st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(stayAway)})
	}
	return st.Err()
}

func TestWhichCallsAreRepeated(t *testing.T) {
	busy := unavailable(0)
	for _, c := range []struct {
		given    string
		attempts int
		result   Result
		once     bool // not idempotent
		stream   bool
		want     int // tries
	}{
		{"success", 3, Result{}, false, false, 1},
		{"not reached", 3, Result{Err: busy, Reach: Unreached}, false, false, 3},
		{"not reached, not idempotent", 3, Result{Err: busy, Reach: Unreached}, true, false, 3},
		{"not reached, a stream", 3, Result{Err: busy, Reach: Unreached}, true, true, 3},
		{"not reached for good", 3, Result{Err: busy, Reach: Unreached, Final: true}, false, false, 1},
		{"not reached, another code", 3, Result{Err: status.Error(codes.Internal, ""), Reach: Unreached}, false, false, 1},
		{"lost", 3, Result{Err: busy, Reach: Lost}, false, false, 3},
		{"lost, another code", 3, Result{Err: status.Error(codes.Canceled, ""), Reach: Lost}, false, false, 1},
		{"lost for good", 3, Result{Err: busy, Reach: Lost, Final: true}, false, false, 1},
		{"lost, not idempotent", 3, Result{Err: busy, Reach: Lost}, true, false, 1},
		{"lost, a stream", 3, Result{Err: busy, Reach: Lost}, false, true, 1},
		{"answered with unavailable", 3, Result{Err: busy}, false, false, 3},
		{"answered, not idempotent", 3, Result{Err: busy}, true, false, 1},
		{"answered, a stream", 3, Result{Err: busy}, false, true, 1},
		{"answered with another code", 3, Result{Err: status.Error(codes.Internal, "")}, false, false, 1},
		{"an upstream that failed", 3, Result{UpstreamFailed: true}, false, false, 1},
		{"one attempt", 1, Result{Err: busy, Reach: Unreached}, false, false, 1},
		{"no setting", 0, Result{Err: busy, Reach: Unreached}, false, false, 1},
	} {
		t.Run(c.given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var seen counter
				g := New(Config{Retry: Retry{Attempts: c.attempts, Budget: 1}}, &seen)
				call := &Call{Stream: c.stream}
				if !c.once {
					call.Idempotent = yes
				}
				tries := 0
				err := g.Do(t.Context(), call, func(context.Context, *Call) Result {
					tries++
					if g.InFlight() != 1 {
						t.Errorf("%d in flight at try %d", g.InFlight(), tries)
					}
					return c.result
				})
				if tries != c.want || seen.retried != c.want-1 {
					t.Errorf("%d tries, %d counted as repeats, want %d tries", tries, seen.retried, c.want)
				}
				if status.Code(err) != status.Code(c.result.Err) {
					t.Errorf("got %v", err)
				}
			})
		})
	}
}

func TestARepeatThatSucceedsIsASuccess(t *testing.T) {
	g := New(Config{
		Retry:    Retry{Attempts: 2},
		Breakers: []Breaker{{Failures: 1, Within: time.Minute, OpenFor: time.Minute}},
	}, nil)
	tries := 0
	err := g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result {
		if tries++; tries == 1 {
			return Result{Err: unavailable(0), Reach: Lost}
		}
		return Result{}
	})
	if err != nil || g.Breakers() != 0 {
		t.Errorf("got %v, breaker %d", err, g.Breakers())
	}
}

func TestADelayIsDrawnAndHonoursWhatThePluginAsks(t *testing.T) {
	for _, c := range []struct {
		given          string
		ask            time.Duration
		attempt        int
		atLeast, below time.Duration
	}{
		{"first", 0, 2, 0, 20 * time.Millisecond},
		{"second", 0, 3, 0, 60 * time.Millisecond},
		{"asked", 2 * time.Second, 2, 2 * time.Second, 2020 * time.Millisecond},
	} {
		synctest.Test(t, func(t *testing.T) {
			different := map[time.Duration]bool{}
			for range 20 {
				g := New(Config{Retry: Retry{Attempts: c.attempt, Budget: 1}}, nil)
				start := time.Now()
				_ = g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result {
					return Result{Err: unavailable(c.ask)}
				})
				took := time.Since(start)
				if took < c.atLeast || took >= c.below {
					t.Errorf("%s: took %v", c.given, took)
				}
				different[took] = true
			}
			if len(different) < 10 {
				t.Errorf("%s: %d different delays of 20", c.given, len(different))
			}
		})
	}
	for attempt := range 100 {
		if d := jitter(1 + attempt); d < 0 || d >= mostDelay {
			t.Errorf("attempt %d: %v", attempt, d)
		}
	}
}

func TestNothingIsRepeatedAfterTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Limits: Limits{Timeout: time.Second}, Retry: Retry{Attempts: 5, Budget: 1}}, nil)
		for _, c := range []struct {
			given  string
			result Result
			takes  time.Duration
			want   int
		}{
			{"the delay does not fit", Result{Err: unavailable(2 * time.Second)}, 0, 1},
			{"the time is up", Result{Err: unavailable(0), Reach: Unreached}, time.Second, 1},
			{"it fits twice", Result{Err: unavailable(0), Reach: Unreached}, 500 * time.Millisecond, 2},
		} {
			tries := 0
			start := time.Now()
			_ = g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result {
				tries++
				pause(t.Context(), c.takes)
				return c.result
			})
			if tries != c.want || time.Since(start) > time.Second {
				t.Errorf("%s: %d tries in %v, want %d", c.given, tries, time.Since(start), c.want)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		tries := 0
		_ = g.Do(ctx, &Call{Idempotent: yes}, func(context.Context, *Call) Result {
			tries++
			cancel()
			return Result{Err: unavailable(0), Reach: Unreached}
		})
		if tries != 1 {
			t.Errorf("cancelled: %d tries", tries)
		}
	})
}

// TestTheBudgetBoundsRepeats is its property: of any N calls in a row, at most
// 10 and the share are repeated; and a share is really given.
func TestTheBudgetBoundsRepeats(t *testing.T) {
	for _, share := range []float64{0, 0.001, 0.1, 0.5, 1} {
		spare := float64(reserve)
		if share == 0 {
			spare = 0
		}
		b := &newRetry(New(Config{}, nil).common, Retry{Attempts: 2, Budget: share}).budget
		random := rand.New(rand.NewPCG(1, 4))
		var repeated []int // by call, how many before it
		total := 0
		for i := range 20_000 {
			repeated = append(repeated, total)
			b.deposit()
			wants := i/1000%2 == 0 || random.IntN(10) == 0 // spells of trouble and of peace
			if wants && b.withdraw() {
				total++
			}
		}
		repeated = append(repeated, total)
		for from := 0; from < len(repeated); from += 97 {
			for to := from; to < len(repeated); to += 89 {
				if n, bound := repeated[to]-repeated[from], spare+share*float64(to-from); float64(n) > bound+1e-6 {
					t.Fatalf("share %v: %d repeats of %d calls, bound %v", share, n, to-from, bound)
				}
			}
		}
		if at := repeated[1000]; float64(at) < min(1000, spare+share*1000)-1 {
			t.Errorf("share %v: %d repeats of the first 1000 calls", share, at)
		}
	}
}

func TestAFullBudgetIsNotWritten(t *testing.T) {
	b := &newRetry(New(Config{}, nil).common, Retry{Attempts: 2, Budget: 0.1}).budget
	for range 100 {
		b.deposit()
	}
	if got := b.credit.Load(); got != reserve*oneRepeat {
		t.Errorf("credit %d", got)
	}
}

func TestARepeatOfAnAnsweredCallTakesTokensAndThatOfALostCallDoesNot(t *testing.T) {
	for reach, want := range map[Reach]int{Answered: 2, Lost: 3, Unreached: 3} {
		synctest.Test(t, func(t *testing.T) {
			g := New(Config{
				Retry: Retry{Attempts: 3, Budget: 1},
				Rates: []Rate{{Name: "global", Quota: Quota{1, time.Hour, 2}}},
			}, nil)
			tries := 0
			err := g.Do(t.Context(), &Call{Idempotent: yes}, func(context.Context, *Call) Result {
				tries++
				return Result{Err: unavailable(0), Reach: reach}
			})
			if tries != want || status.Convert(err).Message() != "busy" {
				t.Errorf("reach %d: %d tries and %v, want %d and what the plugin said", reach, tries, err, want)
			}
		})
	}
}

package gate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func rated(q Quota, wait time.Duration) Config {
	return Config{Rates: []Rate{{Name: "global", Quota: q, Wait: wait}}}
}

// retryAfter is the delay that a rejection asks for; -1 for none.
func retryAfter(err error) time.Duration {
	for _, d := range status.Convert(err).Details() {
		if info, ok := d.(*errdetails.RetryInfo); ok {
			return info.GetRetryDelay().AsDuration()
		}
	}
	return -1
}

// A limit of 9 a second gives 9, not 0 and not 18: a known system divided whole
// numbers, and refilled its bucket twice.
func TestARateGivesExactlyWhatItSays(t *testing.T) {
	for _, q := range []Quota{
		{1, time.Second, 1}, {3, time.Second, 1}, {9, time.Second, 1}, {9, time.Second, 9}, {100, time.Second, 10},
		{1000, time.Second, 100}, {5000, time.Hour, 20}, {7, 100 * time.Millisecond, 1}, {1, 24 * time.Hour, 3},
	} {
		t.Run(q.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(rated(q, 0), nil)
				const tokens = 100
				span := time.Duration(float64(q.Per) * tokens / float64(q.Events))
				admitted := 0
				for end := time.Now().Add(span); time.Now().Before(end); time.Sleep(q.interval() / 50) { //nolint:forbidigo // the bubble's clock does not pass by itself
					if g.Do(t.Context(), &Call{}, answered) == nil {
						admitted++
					}
				}
				if most := tokens + q.Burst; admitted > most || admitted < tokens*95/100 {
					t.Errorf("%d calls in %v, want %d to %d", admitted, span, tokens*95/100, most)
				}
			})
		})
	}
}

// In any window, whatever the rate, the burst, the arrivals and the wait, no
// more calls are admitted than the limit allows; under pressure nearly as many.
func TestInEveryWindowTheLimitHolds(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 2))
				q := Quota{
					Events: 1 + random.Uint64N(200),
					Per:    time.Duration(1+random.IntN(5000)) * time.Millisecond,
					Burst:  1 + random.IntN(20),
				}
				wait := time.Duration(random.IntN(3)) * q.interval() * 5
				pressure := random.IntN(2) == 0
				if pressure && wait == 0 {
					q.Burst++ // with one token, who comes just after it is there leaves it unused until then
				}
				at := arrive(t, random, q, wait, pressure)
				checkWindows(t, at, q)
				if n := len(at); pressure && n > 1 {
					span := at[n-1].Sub(at[0])
					if due := float64(span) / float64(q.Per) * float64(q.Events); float64(n) < 0.95*due {
						t.Errorf("%v, wait %v: %d admitted in %v, want at least 95 %% of %.0f", q, wait, n, span, due)
					}
				}
			})
		})
	}
}

// arrive makes calls and returns when they were admitted, in order.
func arrive(t *testing.T, random *rand.Rand, q Quota, wait time.Duration, pressure bool) []time.Time {
	t.Helper()
	g := New(rated(q, wait), nil)
	pause := max(q.interval()*time.Duration(1+random.IntN(4)), 1)
	if pressure {
		pause = max(q.interval()/4, 1)
	}
	var mu sync.Mutex
	var at []time.Time
	var calls sync.WaitGroup
	for range 300 {
		calls.Go(func() {
			err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
				mu.Lock()
				defer mu.Unlock()
				at = append(at, time.Now())
				return Result{}
			})
			if err != nil && status.Code(err) != codes.ResourceExhausted {
				t.Error(err)
			}
		})
		time.Sleep(time.Duration(random.Int64N(int64(2 * pause)))) //nolint:forbidigo // the bubble's clock does not pass by itself
	}
	calls.Wait()
	slices.SortFunc(at, time.Time.Compare)
	return at
}

func checkWindows(t *testing.T, at []time.Time, q Quota) {
	t.Helper()
	for i := range at {
		for j := i; j < len(at); j++ {
			span := at[j].Sub(at[i])
			if most := float64(span)/float64(q.Per)*float64(q.Events) + float64(q.Burst); float64(j-i+1) > most+1e-9 {
				t.Fatalf("%v: %d calls within %v, limit %.3f", q, j-i+1, span, most)
			}
		}
	}
}

func TestARefusedCallIsToldWhenItMayComeBackAndThenItMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(rated(Quota{9, time.Second, 2}, 0), nil)
		for range 2 {
			if err := g.Do(t.Context(), &Call{}, answered); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			err := g.Do(t.Context(), &Call{}, answered)
			st := status.Convert(err)
			if st.Code() != codes.ResourceExhausted {
				t.Fatalf("got %v", err)
			}
			retry := retryAfter(err)
			time.Sleep(retry - 1) //nolint:forbidigo // the bubble's clock does not pass by itself
			if g.Do(t.Context(), &Call{}, answered) == nil {
				t.Errorf("a call that came back sooner than %v passed", retry)
			}
			time.Sleep(time.Nanosecond) //nolint:forbidigo // the bubble's clock does not pass by itself
			if err := g.Do(t.Context(), &Call{}, answered); err != nil {
				t.Errorf("a call that came back after %v: %v", retry, err)
			}
		}
	})
}

func TestARejectionNamesTheRateItsKeyAndTheRemedy(t *testing.T) {
	g := New(Config{Rates: []Rate{{Name: "each", Key: "domain", Quota: Quota{1, time.Hour, 1}}}}, nil)
	call := func() error { return g.Do(t.Context(), &Call{Keys: domain("a.example.com")}, answered) }
	if err := call(); err != nil {
		t.Fatal(err)
	}
	st := status.Convert(call())
	want := `rate.each: more than 1/h, burst 1 for domain "a.example.com"; retry in 1h0m0s or raise rate["each"].limit`
	if st.Message() != want {
		t.Errorf("got  %s\nwant %s", st.Message(), want)
	}
	info := st.Details()[1].(*errdetails.ErrorInfo)
	if info.GetReason() != "RATE_LIMITED" || info.GetMetadata()["policy"] != "rate.each" || info.GetMetadata()["domain"] != "a.example.com" ||
		info.GetMetadata()[`rate["each"].limit`] != "1/h" {
		t.Errorf("got %v", info)
	}
}

func TestTheRemedyOfAnOverrideIsToRaiseTheOverride(t *testing.T) {
	g := New(Config{Rates: []Rate{{Name: "each", Key: "domain", Quota: Quota{100, time.Second, 1}, Overrides: []Override{{"*.example.com", Quota{1, time.Hour, 1}}}}}}, nil)
	_ = g.Do(t.Context(), &Call{Keys: domain("a.example.com")}, answered)
	err := g.Do(t.Context(), &Call{Keys: domain("a.example.com")}, answered)
	if want := `raise rate["each"].override["*.example.com"].limit`; !strings.HasSuffix(status.Convert(err).Message(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestWaitersAreServedInTheOrderOfTheirArrivalAndPerKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Rates: []Rate{{Name: "each", Key: "domain", Quota: Quota{10, time.Second, 1}, Wait: time.Minute}}}, nil)
		var mu sync.Mutex
		order := make(map[string][]int)
		var calls sync.WaitGroup
		began := time.Now()
		for i := range 30 {
			for _, name := range []string{"a", "b"} {
				calls.Go(func() {
					if err := g.Do(t.Context(), &Call{Keys: domain(name)}, answered); err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					order[name] = append(order[name], i)
				})
				synctest.Wait() // in the queue before the next one comes
			}
		}
		calls.Wait()
		if took := time.Since(began); took != 29*100*time.Millisecond {
			t.Errorf("30 calls for each key took %v, want 2.9s: the keys share nothing", took)
		}
		for name, got := range order {
			if !slices.IsSorted(got) {
				t.Errorf("%s: served in the order %v", name, got)
			}
		}
	})
}

func TestAWaiterWhoseDeadlineCannotBeMetIsRefusedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(rated(Quota{1, time.Second, 1}, 5*time.Second), nil)
		var calls sync.WaitGroup
		for range 4 { // one passes, three wait for 1, 2 and 3 s
			calls.Go(func() {
				if err := g.Do(t.Context(), &Call{}, answered); err != nil {
					t.Error(err)
				}
			})
			synctest.Wait()
		}
		began := time.Now()
		for _, tt := range []struct {
			deadline time.Duration // 0: none
			want     time.Duration // until it is admitted; -1: refused
		}{
			{4 * time.Second, -1},
			{4001 * time.Millisecond, 4 * time.Second},
			{0, 5 * time.Second},
			{0, -1}, // the sixth would wait longer than the rate allows
		} {
			calls.Go(func() {
				ctx := t.Context()
				if tt.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithDeadline(ctx, began.Add(tt.deadline))
					defer cancel()
				}
				err := g.Do(ctx, &Call{}, answered)
				took := time.Since(began)
				switch {
				case tt.want < 0 && (status.Code(err) != codes.ResourceExhausted || took != 0 || retryAfter(err) <= 0):
					t.Errorf("deadline %v: %v after %v, want a refusal at once", tt.deadline, err, took)
				case tt.want >= 0 && (err != nil || took != tt.want):
					t.Errorf("deadline %v: %v after %v, want it admitted after %v", tt.deadline, err, took, tt.want)
				}
			})
			synctest.Wait()
		}
		calls.Wait()
	})
}

func TestAWaiterThatLeavesCostsNobodyAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(rated(Quota{1, time.Second, 1}, time.Minute), nil)
		began := time.Now()
		var calls sync.WaitGroup
		for i := range 12 { // every second one gives up half a second later
			calls.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if i%2 == 1 {
					time.AfterFunc(500*time.Millisecond, cancel)
				}
				err := g.Do(ctx, &Call{}, answered)
				if want := time.Duration(i/2) * time.Second; i%2 == 0 && (err != nil || time.Since(began) != want) {
					t.Errorf("call %d: %v after %v, want it admitted after %v", i, err, time.Since(began), want)
				}
				if i%2 == 1 && status.Code(err) != codes.Canceled {
					t.Errorf("call %d, which was cancelled: %v", i, err)
				}
			})
			synctest.Wait()
		}
		calls.Wait()
	})
}

// A newcomer who saw nobody wait may take the token for which one waits.
func TestNobodyWaitsLongerThanTheRateAllows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(rated(Quota{1, time.Hour, 1}, time.Second), nil)
		if err := g.Do(t.Context(), &Call{}, answered); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour - time.Millisecond) //nolint:forbidigo // the bubble's clock does not pass by itself
		began := time.Now()
		var waiter sync.WaitGroup
		waiter.Go(func() {
			if err := g.Do(t.Context(), &Call{}, answered); retryAfter(err) != time.Hour || time.Since(began) > time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		})
		synctest.Wait()
		if !g.chain.Load().step("rate.global").(*bucket).take(g.clock.now().add(time.Millisecond)) {
			t.Error("the token was not there")
		}
		waiter.Wait()
	})
}

func TestAnOverrideIsTheExactOneOrElseTheLongestSuffix(t *testing.T) {
	r := Rate{
		Name: "each", Key: "domain", Quota: Quota{Events: 1},
		Overrides: []Override{
			{"*.example.com", Quota{Events: 2}}, {"api.example.com", Quota{Events: 3}}, {"*.eu.example.com", Quota{Events: 4}}, {"", Quota{Events: 5}},
		},
	}
	for value, want := range map[string]uint64{
		"other.org": 1, "example.com": 1, "a.example.com": 2, "A.Example.COM": 2, "api.example.com": 3, "x.api.example.com": 2,
		"a.eu.example.com": 4, "eu.example.com": 2, "": 5, "badexample.com": 1, "*.example.com": 2,
	} {
		if got, _ := r.quotaFor(value); got.Events != want {
			t.Errorf("%q: got %d, want %d", value, got.Events, want)
		}
	}
}

func FuzzAnOverrideNeverMatchesWhatItDoesNotEndIn(f *testing.F) {
	f.Add("*.example.com", "a.example.com")
	f.Add("*.", "x.")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, pattern, value string) {
		r := Rate{Overrides: []Override{{pattern, Quota{Events: 2}}}}
		quota, matched := r.quotaFor(value)
		suffix, isSuffix := strings.CutPrefix(pattern, "*")
		value = strings.ToLower(value)
		fits := value == pattern || isSuffix && strings.HasSuffix(value, suffix)
		if (quota.Events == 2) != fits || fits && matched != pattern {
			t.Errorf("quota %v for pattern %q", quota, matched)
		}
	})
}

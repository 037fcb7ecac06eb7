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
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// single is a gate with one rate for all calls.
func single(q Quota, wait time.Duration) *Gate {
	return New(Config{Rates: []Rate{{Name: "global", Quota: q, Wait: wait}}}, nil)
}

// press calls as often as the gate lets it for a time, from a number of
// goroutines, and returns when calls were admitted. Who is refused comes back
// when it was told.
func press(t *testing.T, g *Gate, callers int, period time.Duration) []time.Duration {
	t.Helper()
	start := time.Now()
	var mu sync.Mutex
	var admitted []time.Duration
	forward := func(context.Context, *Call) Result {
		mu.Lock()
		defer mu.Unlock()
		admitted = append(admitted, time.Since(start))
		return Result{}
	}
	ctx, cancel := context.WithTimeout(t.Context(), period)
	defer cancel()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for ctx.Err() == nil {
				err := g.Do(ctx, &Call{}, forward)
				if status.Code(err) == codes.ResourceExhausted {
					retry := time.NewTimer(max(1, detailsOf(t, err).Retry))
					select {
					case <-retry.C:
					case <-ctx.Done():
					}
					retry.Stop()
				}
			}
		})
	}
	wg.Wait()
	slices.Sort(admitted)
	return admitted
}

// checkWindows checks the bound in all windows from one call to another.
func checkWindows(t *testing.T, q Quota, admitted []time.Duration) {
	t.Helper()
	for i := range admitted {
		for j := i; j < len(admitted); j++ {
			n, window := j-i+1, admitted[j]-admitted[i]
			if bound := float64(q.Events)*float64(window)/float64(q.Per) + float64(max(q.Burst, 1)); float64(n) > bound+1e-9 {
				t.Fatalf("%d calls within %v, bound %v", n, window, bound)
			}
		}
	}
}

func TestALimitGivesWhatItSays(t *testing.T) {
	for _, c := range []struct {
		quota  Quota
		period time.Duration
		want   int
	}{
		{Quota{1, time.Second, 1}, 10 * time.Second, 10},
		{Quota{3, time.Second, 1}, 10 * time.Second, 30},
		{Quota{9, time.Second, 1}, time.Second, 9},
		{Quota{9, time.Second, 0}, 10 * time.Second, 90},
		{Quota{9, time.Second, 9}, 10 * time.Second, 98},
		{Quota{100, time.Second, 1}, 10 * time.Second, 1000},
		{Quota{1000, time.Second, 200}, 10 * time.Second, 10199},
		{Quota{5000, time.Hour, 1}, time.Hour, 5000},
		{Quota{1, 24 * time.Hour, 1}, 10 * 24 * time.Hour, 10},
	} {
		for _, wait := range []time.Duration{0, c.quota.Per} {
			t.Run(fmt.Sprintf("%s burst %d wait %v", c.quota.Limit(), c.quota.Burst, wait), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					admitted := press(t, single(c.quota, wait), 3, c.period)
					if got := len(admitted); got != c.want {
						t.Errorf("%d calls in %v, want %d", got, c.period, c.want)
					}
				})
			})
		}
	}
}

func TestNoWindowHasMoreThanTheRateAndItsBurst(t *testing.T) {
	for seed := range uint64(60) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 1))
			q := Quota{1 + random.Uint64N(50), time.Duration(1 + random.Int64N(int64(3*time.Second))), random.IntN(20)}
			wait := []time.Duration{0, time.Duration(random.Int64N(int64(5 * time.Second)))}[random.IntN(2)]
			r := Rate{Name: "global", Quota: q, Wait: wait}
			g := New(Config{Rates: []Rate{r}, Limits: Limits{Concurrency: 3, Queue: random.IntN(4)}}, nil)
			passed := &stamps{}
			ch := g.chain.Load()
			ch.steps = slices.Insert(ch.steps, 1, step{"stamps", passed})
			var wg sync.WaitGroup
			for range 400 {
				pause(t.Context(), time.Duration(random.ExpFloat64()*float64(q.Per)/float64(q.Events)*2*random.Float64()))
				ctx, cancel := context.WithCancel(t.Context())
				if random.IntN(3) == 0 {
					time.AfterFunc(time.Duration(random.Int64N(int64(time.Second))), cancel)
				}
				hold := time.Duration(random.Int64N(int64(q.Per)/10 + 1))
				wg.Go(func() {
					defer cancel()
					_ = g.Do(ctx, &Call{}, func(context.Context, *Call) Result {
						pause(t.Context(), hold)
						return Result{}
					})
				})
			}
			wg.Wait()
			admitted := passed.all
			slices.Sort(admitted)
			checkWindows(t, q, admitted)
			if len(admitted) < 10 {
				t.Errorf("seed %d: %d admitted of 400 at %s", seed, len(admitted), q.Limit())
			}
		})
	}
}

// stamps is a policy that writes down when the one before it let those calls
// pass that were forwarded in the end.
type stamps struct {
	mu  sync.Mutex
	all []time.Duration
}

// Try notes the time.
func (*stamps) Try(c *Call) (Ticket, bool, error) { return Ticket{mark: c.now}, true, nil }

// Await is never needed.
func (*stamps) Await(context.Context, *Call) (Ticket, error) { return Ticket{}, nil }

// Done keeps it.
func (s *stamps) Done(c *Call, t Ticket, _ Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.entered {
		s.all = append(s.all, time.Duration(t.mark))
	}
}

func TestUnderPressureTheLimitIsUsed(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 2))
			q := Quota{1 + random.Uint64N(200), time.Duration(int64(time.Millisecond) + random.Int64N(int64(3*time.Second))), random.IntN(20)}
			wait := []time.Duration{0, time.Duration(random.Int64N(int64(5 * time.Second)))}[random.IntN(2)]
			period := 100 * q.Per / time.Duration(q.Events)
			admitted := press(t, single(q, wait), 1+random.IntN(10), period)
			checkWindows(t, q, admitted)
			if want := 0.95 * (100 + float64(q.Burst-1)); float64(len(admitted)) < want {
				t.Errorf("seed %d: %d admitted at %s, burst %d, want %.0f", seed, len(admitted), q.Limit(), q.Burst, want)
			}
		})
	}
}

func TestACallWhoseTokenComesTooLateIsRefusedAtOnce(t *testing.T) {
	for _, c := range []struct {
		given    string
		wait     time.Duration
		deadline time.Duration // 0: none
		waiting  int
		retry    time.Duration
		text     string
	}{
		{"no wait", 0, 0, 0, time.Second,
			`rate.r: over 1/s with a burst of 1 for domain "x"; the next token is due in 1s; retry then or raise rate["r"].limit`},
		{"a wait that is too short", 2 * time.Second, 0, 2, 3 * time.Second,
			`rate.r: over 1/s with a burst of 1 for domain "x"; the next token is due in 3s, longer than rate["r"].wait, which is 2s; retry then or raise rate["r"].limit`},
		{"a deadline that is too soon", time.Minute, 1500 * time.Millisecond, 1, 2 * time.Second,
			`rate.r: over 1/s with a burst of 1 for domain "x"; the next token is due in 2s, not before the call's deadline in 1.5s; retry then or raise rate["r"].limit`},
		{"a deadline at which it comes", time.Minute, 2 * time.Second, 1, 2 * time.Second,
			`rate.r: over 1/s with a burst of 1 for domain "x"; the next token is due in 2s, not before the call's deadline in 2s; retry then or raise rate["r"].limit`},
	} {
		t.Run(c.given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := New(Config{Rates: []Rate{{Name: "r", Key: "domain", Quota: Quota{1, time.Second, 1}, Wait: c.wait}}}, nil)
				if err := try(t, g, "x"); err != nil {
					t.Fatal(err)
				}
				for range c.waiting {
					go func() { _ = try(t, g, "x") }()
					synctest.Wait()
				}
				call := callFor("x")
				before := time.Now()
				if c.deadline > 0 {
					call.Deadline = before.Add(c.deadline)
				}
				err := g.Do(t.Context(), call, ok)
				if took := time.Since(before); took != 0 {
					t.Errorf("refused after %v", took)
				}
				if got := status.Convert(err).Message(); got != c.text {
					t.Errorf("got  %s\nwant %s", got, c.text)
				}
				got := detailsOf(t, err)
				want := told{codes.ResourceExhausted, "RATE_LIMITED", c.retry, map[string]string{
					"policy": "rate.r", "key": "x", `rate["r"].limit`: "1/s", `rate["r"].burst`: "1",
				}}
				delete(got.Metadata, `rate["r"].wait`)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("details (-want +got):\n%s", diff)
				}
				pause(t.Context(), got.Retry)
				synctest.Wait() // those in front have gone
				if err := try(t, g, "x"); err != nil {
					t.Errorf("who came back when told: %v", err)
				}
			})
		})
	}
}

func TestAValueInATextIsQuotedAndBounded(t *testing.T) {
	g := New(Config{Rates: []Rate{{Name: "r", Key: "domain", Quota: Quota{1, time.Hour, 1}}}}, nil)
	value := "evil\n\xff" + strings.Repeat("x", 1000)
	_ = try(t, g, value)
	err := try(t, g, value)
	if text := status.Convert(err).Message(); strings.Contains(text, "\n") || !utf8.ValidString(text) || len(text) > 400 {
		t.Errorf("got %q", text)
	}
	if got := detailsOf(t, err).Metadata["key"]; !strings.HasPrefix(got, `evil\n\xffxxx`) || len(got) > 300 {
		t.Errorf("got %q", got)
	}
}

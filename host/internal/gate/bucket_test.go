package gate

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestWaitersAreServedInTheOrderInWhichTheyCame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Rates: []Rate{{Name: "r", Key: "domain", Quota: Quota{10, time.Second, 1}, Wait: time.Minute}}}, nil)
		type admission struct {
			domain string
			caller int
			after  time.Duration
		}
		start := time.Now()
		done := make(chan admission, 100)
		var want []admission
		for i := range 10 {
			for _, domain := range []string{"a", "b"} {
				go func() {
					if err := try(t, g, domain); err != nil {
						t.Error(err)
					}
					done <- admission{domain, i, time.Since(start)}
				}()
				synctest.Wait() // in the line before the next one comes
				want = append(want, admission{domain, i, time.Duration(i) * 100 * time.Millisecond})
			}
		}
		var got []admission
		for range want {
			got = append(got, <-done)
		}
		slices.SortStableFunc(got, func(a, b admission) int { return strings.Compare(a.domain, b.domain) })
		slices.SortStableFunc(want, func(a, b admission) int { return strings.Compare(a.domain, b.domain) })
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(admission{})); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestANewcomerDoesNotOvertakeThoseWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := single(Quota{1, time.Second, 1}, 10*time.Second)
		if err := try(t, g, ""); err != nil {
			t.Fatal(err)
		}
		order := make(chan string, 2)
		go func() {
			_ = try(t, g, "")
			order <- "waiter"
		}()
		synctest.Wait()
		pause(t.Context(), time.Second-1)
		go func() {
			pause(t.Context(), 1) // the token is there now
			_ = try(t, g, "")
			order <- "newcomer"
		}()
		if first := <-order; first != "waiter" {
			t.Errorf("the %s was first", first)
		}
		<-order
	})
}

func TestAWaiterThatLeavesCostsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := single(Quota{1, time.Second, 1}, time.Minute)
		start := time.Now()
		if err := try(t, g, ""); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 20)
		for range 20 { // in front of the one that stays
			go func() { left <- g.Do(ctx, &Call{}, ok) }()
		}
		synctest.Wait()
		stays := make(chan time.Duration)
		go func() {
			_ = try(t, g, "")
			stays <- time.Since(start)
		}()
		synctest.Wait()
		cancel()
		for range 20 {
			err := <-left
			if status.Code(err) != codes.Canceled || !strings.Contains(err.Error(), "rate.global: cancelled by the caller after 0s, while in the queue") {
				t.Errorf("got %v", err)
			}
		}
		if got := <-stays; got != time.Second {
			t.Errorf("the one that stayed went after %v", got)
		}
	})
}

func TestATokenOfACallThatWasNotForwardedComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{
			Limits: Limits{Concurrency: 1},
			Rates:  []Rate{{Name: "global", Quota: Quota{1, time.Hour, 2}}},
		}, nil)
		entered, leave := make(chan struct{}), make(chan struct{})
		go func() {
			_ = g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
				close(entered)
				<-leave
				return Result{}
			})
		}()
		<-entered
		for range 10 {
			if err := try(t, g, ""); detailsOf(t, err).Reason != "BULKHEAD_FULL" {
				t.Fatalf("got %v", err)
			}
		}
		close(leave)
		synctest.Wait()
		if err := try(t, g, ""); err != nil {
			t.Errorf("the second token is gone: %v", err)
		}
		if err := try(t, g, ""); detailsOf(t, err).Reason != "RATE_LIMITED" {
			t.Errorf("the third call: got %v", err)
		}
	})
}

// TestATimerThatIsLateCostsNoTokens stands for what synctest cannot show: the
// timers of a real clock are up to a millisecond late.
func TestATimerThatIsLateCostsNoTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const late = time.Millisecond
		k := newClock()
		b := &bucket{pace: newPace(Quota{100, time.Second, 1}, "")}
		began := time.Now()
		if b.take(k.now()) != taken {
			t.Fatal("the first token")
		}
		for range 1000 {
			w := newWaiter(&Call{})
			now, due, v := b.join(w, k, time.Hour, never)
			if v != short {
				t.Fatalf("got %d", v)
			}
			pause(t.Context(), time.Duration(due-now)+late)
			if granted, _ := b.look(w, k.now()); !granted {
				t.Fatal("not granted when due")
			}
		}
		if got, want := time.Since(began), 10*time.Second+late; got != want {
			t.Errorf("1000 tokens took %v, want %v", got, want)
		}
	})
}

// Goroutines that have to pause at any place, with a moment that is long past by
// then, are not refused while there are tokens.
func TestNobodyIsRefusedForHavingPaused(t *testing.T) {
	g := single(Quota{muchPerSecond, time.Second, 1000}, 0) // a burst of a microsecond
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			c := &Call{}
			for range 500 {
				start := time.Now()
				for range 32 {
					*c = Call{Start: start}
					if entered, err := g.TryEnter(c); !entered {
						t.Errorf("not entered: %v", err)
						return
					}
					_ = g.Leave(c, Result{})
				}
			}
		})
	}
	wg.Wait()
}

func TestExtremeQuotasStayWithinAnInt64(t *testing.T) {
	for _, q := range []Quota{
		{1, time.Duration(1<<63 - 1), 1 << 62},
		{1 << 63, time.Second, 1 << 62},
		{1<<64 - 1, 1, 0},
		{1, 1, 1 << 62},
	} {
		b := &bucket{pace: newPace(q, "")}
		for range 3 {
			if v := b.take(int64(time.Hour)); v == gone || b.word.Load() < 0 {
				t.Errorf("%v: verdict %d, word %d", q, v, b.word.Load())
			}
		}
	}
}

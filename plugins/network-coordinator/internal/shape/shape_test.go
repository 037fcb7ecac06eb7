package shape

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

const mb = 1000 * 1000

// run has each flow take chunks of want bytes for that long, on the clock of
// synctest, and returns the bytes that each has moved.
func run(t *testing.T, flows []*Flow, want int, lasts time.Duration) []float64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	moved := make([]float64, len(flows))
	var all sync.WaitGroup
	for i, f := range flows {
		all.Go(func() {
			for {
				n, err := f.Down.Take(ctx, want)
				if err != nil {
					return
				}
				moved[i] += float64(n)
			}
		})
	}
	all.Wait()
	return moved
}

func join(s *Shaper, n int, client, host string) []*Flow {
	flows := make([]*Flow, n)
	for i := range flows {
		flows[i] = s.Join(client, host)
	}
	return flows
}

// jain is 1 when all are equal, 1/n when one has all.
func jain(of []float64) float64 {
	var sum, squares float64
	for _, x := range of {
		sum += x
		squares += x * x
	}
	return sum * sum / (float64(len(of)) * squares)
}

func sum(of []float64) float64 {
	var all float64
	for _, x := range of {
		all += x
	}
	return all
}

func within(t *testing.T, what string, got, want, share float64) {
	t.Helper()
	if math.Abs(got-want) > share*want {
		t.Errorf("%s: got %.0f, want %.0f ± %.1f %%", what, got, want, share*100)
	}
}

// N1: a limit of 1 MB/s let 51 MB/s pass when 50 connections sent.
func TestFiftyConnectionsTogetherKeepOneLimit(t *testing.T) {
	for _, rate := range []uint64{100_000, mb, 10 * mb, 1000 * mb} {
		for _, seconds := range []float64{1, 3} {
			synctest.Test(t, func(t *testing.T) {
				s := New()
				s.Set(Rules{Total: Limits{Down: rate}})
				moved := run(t, join(s, 50, "", "h"), 64<<10, time.Duration(seconds*float64(time.Second)))
				within(t, "bytes", sum(moved), seconds*float64(rate), 0.05)
				if j := jain(moved); j < 0.95 && seconds == 3 {
					t.Errorf("%d B/s for %v s: a Jain index of %.3f, want 0.95", rate, seconds, j)
				}
			})
		}
	}
}

func TestTheRateIsKeptWithChunksOfAnySize(t *testing.T) {
	for want := 1; want <= 1<<20; want *= 32 {
		for _, rate := range []uint64{1000, 30_000, mb} {
			if rate/uint64(want) > 40_000 {
				continue // millions of grants
			}
			synctest.Test(t, func(t *testing.T) {
				s := New()
				s.Set(Rules{Total: Limits{Down: rate}, PerClient: Limits{Down: rate}, PerHost: Limits{Down: rate}})
				moved := run(t, join(s, 3, "c", "h"), want, 3*time.Second)
				within(t, "bytes", sum(moved), 3*float64(rate), 0.05)
			})
		}
	}
}

func TestASlowLimitIsSmooth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Set(Rules{Total: Limits{Down: 1000}})
		f := s.Join("", "h")
		for range 100 {
			began := time.Now()
			n, err := f.Down.Take(t.Context(), 1<<20)
			if took := time.Since(began); err != nil || n < 1 || n > 50 || took > 100*time.Millisecond {
				t.Fatalf("got %d bytes after %v, %v", n, took, err)
			}
		}
	})
}

func TestALimitThatNobodyUsedBringsABurstOfThirtyMilliseconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Set(Rules{Total: Limits{Down: 10 * mb}})
		f := s.Join("", "h")
		<-time.After(time.Hour)
		moved := run(t, []*Flow{f}, 64<<10, time.Nanosecond)
		if moved[0] > 0.03*10*mb || moved[0] < 0.02*10*mb {
			t.Errorf("got %.0f bytes at once, want what passes in 20 to 30 ms", moved[0])
		}
	})
}

func TestAGrantIsLargeWhereTheRateIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Set(Rules{Total: Limits{Down: 1000 * mb}})
		for _, f := range join(s, 50, "", "h") {
			if n, err := f.Down.Take(t.Context(), 1<<20); n < 64<<10 || err != nil {
				t.Fatalf("got %d bytes, %v", n, err)
			}
		}
	})
}

func TestFortyConnectionsOfAClientHaveNoMoreThanOneOfAnother(t *testing.T) {
	for name, rules := range map[string]Rules{
		"total": {Total: Limits{Down: 10 * mb}},
		"host":  {PerHost: Limits{Down: 10 * mb}},
		"both":  {Total: Limits{Down: 10 * mb}, PerHost: Limits{Down: 10 * mb}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := New()
			s.Set(rules)
			moved := run(t, append(join(s, 40, "many", "h"), s.Join("one", "h")), 64<<10, 3*time.Second)
			within(t, name+": one", moved[40], 15*mb, 0.05)
			within(t, name+": many", sum(moved[:40]), 15*mb, 0.05)
			if j := jain(moved[:40]); j < 0.95 {
				t.Errorf("%s: among the many, a Jain index of %.3f", name, j)
			}
		})
	}
}

func TestAFlowObeysClientHostAndTotalAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Set(Rules{
			Total: Limits{Down: 10 * mb}, PerClient: Limits{Down: 6 * mb}, PerHost: Limits{Down: 4 * mb},
			Clients: map[string]Limits{"slow": {Down: mb}, "free": {}},
		})
		flows := []*Flow{s.Join("slow", "a"), s.Join("slow", "b"), s.Join("c", "a"), s.Join("c", "b"), s.Join("free", "c")}
		moved := run(t, flows, 64<<10, 4*time.Second)
		for i, want := range []float64{0.5, 0.5, 2.5, 2.5, 4} { // "free" is held by its host, "c" by the total
			within(t, "flow", moved[i], want*4*mb, 0.05)
		}
	})
}

func TestDirectionsDoNotShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Set(Rules{Total: Limits{Down: mb}})
		f := s.Join("", "h")
		for range 1000 {
			if n, err := f.Up.Take(t.Context(), 1<<20); n != 1<<20 || err != nil {
				t.Fatalf("up: got %d, %v", n, err)
			}
		}
		within(t, "down", sum(run(t, []*Flow{f}, 64<<10, time.Second)), mb, 0.05)
	})
}

func TestLimitsChangeWhileBytesMove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		flows := join(s, 10, "c", "h")
		for _, rules := range []Rules{
			{Total: Limits{Down: mb}}, {Total: Limits{Down: 20 * mb}}, {PerHost: Limits{Down: 1000}},
			{PerClient: Limits{Down: 5 * mb}}, {Clients: map[string]Limits{"c": {Down: 3 * mb}}, PerClient: Limits{Down: 1}},
		} {
			s.Set(rules)
			rate := max(rules.Total.Down, rules.PerHost.Down, rules.Clients["c"].Down)
			if rate == 0 {
				rate = rules.PerClient.Down
			}
			within(t, "bytes", sum(run(t, flows, 64<<10, 2*time.Second)), 2*float64(rate), 0.05)
		}
	})
}

func TestWhoWaitsGoesOnWhenTheLimitIsRaisedOrLifted(t *testing.T) {
	for name, after := range map[string]Rules{"raised": {Total: Limits{Down: 10 * mb}}, "lifted": {}, "moved": {PerHost: Limits{Down: 10 * mb}}} {
		synctest.Test(t, func(t *testing.T) {
			s := New()
			s.Set(Rules{Total: Limits{Down: 1}})
			began := time.Now()
			var all sync.WaitGroup
			for _, f := range join(s, 20, "", "h") {
				all.Go(func() {
					for moved := 0; moved < 1000; {
						n, err := f.Down.Take(t.Context(), 1000)
						if err != nil {
							t.Error(err)
						}
						moved += n
					}
				})
			}
			synctest.Wait()
			s.Set(after)
			all.Wait()
			if took := time.Since(began); took > time.Second {
				t.Errorf("%s: took %v", name, took)
			}
		})
	}
}

func TestWhoGivesUpTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Set(Rules{Total: Limits{Down: mb}, PerClient: Limits{Down: mb}, PerHost: Limits{Down: mb}})
		stays := s.Join("c", "h")
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for _, f := range join(s, 50, "c", "h") {
			all.Go(func() {
				defer f.Leave()
				for ctx.Err() == nil {
					short, end := context.WithTimeout(ctx, time.Millisecond)
					n, err := f.Down.Take(short, 1<<20)
					if err != nil && !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
						t.Error(err)
					}
					f.Down.Return(n) // all of it
					<-short.Done()
					end()
				}
			})
		}
		within(t, "bytes", sum(run(t, []*Flow{stays}, 64<<10, time.Second)), mb, 0.05)
		cancel()
		all.Wait()
	})
}

func TestNothingIsLeftOfFlowsThatLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Set(Rules{Total: Limits{Down: mb}, PerClient: Limits{Down: mb}, PerHost: Limits{Down: mb}})
		var flows []*Flow
		for i := range 100 {
			flows = append(flows, s.Join(string(rune(i%7)), string(rune(i))))
		}
		run(t, flows, 1<<20, time.Second)
		for _, f := range flows {
			f.Leave()
			f.Leave()
		}
		for name, d := range map[string]*direction{"up": &s.up, "down": &s.down} {
			if len(d.clients) != 0 || len(d.hosts) != 0 || len(d.total.shares) != 0 || d.total.flows != 0 || len(d.total.queue) != 0 {
				t.Errorf("%s: %d clients, %d hosts, %+v", name, len(d.clients), len(d.hosts), d.total)
			}
		}
	})
}

// N7: setting a limit was a data race with those who asked for bytes.
func TestLimitsAreSetWhileOthersJoinTakeAndLeave(t *testing.T) {
	s := New()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 100 {
				f := s.Join(string(rune('a'+i%3)), string(rune('a'+i%2)))
				for range 10 {
					n, err := f.Up.Take(t.Context(), 1<<16)
					if err != nil {
						t.Error(err)
					}
					f.Up.Return(n / 2)
				}
				f.Leave()
			}
		})
	}
	for i := range 200 {
		s.Set(Rules{Total: Limits{Up: uint64(i%3) * 1000 * mb}, PerHost: Limits{Up: uint64(i%5) * 1000 * mb}, Clients: map[string]Limits{"a": {Up: 500 * mb}}})
	}
	s.Set(Rules{})
	all.Wait()
}

func TestAMeterThatIsNilLimitsNothing(t *testing.T) {
	var m *Meter
	n, err := m.Take(t.Context(), 10)
	m.Return(5)
	if n != 10 || err != nil || m.Limited() {
		t.Errorf("got %d, %v", n, err)
	}
}

// Those who come late have no claim to what others had before, or these would
// wait until each of them has as much.
func TestWhoWasServedAloneDoesNotWaitForThoseWhoComeLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := New()
		s.Set(Rules{Total: Limits{Down: 100 * mb}})
		flows := join(s, 50, "", "h")
		var late sync.WaitGroup
		for i, f := range flows[1:] {
			late.Go(func() {
				<-time.After(time.Duration(100+3*i) * time.Millisecond)
				run(t, []*Flow{f}, 1<<20, 2*time.Second)
			})
		}
		for began := time.Now(); time.Since(began) < 2*time.Second; {
			before := time.Now()
			if _, err := flows[0].Down.Take(t.Context(), 1<<20); err != nil {
				t.Fatal(err)
			}
			// What it was granted last, 10.5 ms of the line, the others may have once each.
			if took := time.Since(before); took > 49*10500*time.Microsecond+cycle {
				t.Errorf("waited %v at %v", took, before.Sub(began))
			}
		}
		late.Wait()
	})
}

package admit

import (
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// In any time t there are at most burst + rate·t new connections, whenever they
// are tried, and whoever tries again after RetryAfter gets in.
func TestNoWindowHasMoreThanTheRateAndABurst(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			r := Rate{Events: 1 + random.Uint64N(200), Per: time.Duration(1 + random.Int64N(int64(10*time.Second)))}
			a := New(Limits{NewConnections: r})
			var at []time.Time
			for range 1000 {
				if _, err := a.Enter("", "h"); err == nil {
					at = append(at, time.Now())
				} else if random.IntN(3) == 0 {
					<-time.After(refusal(t, a, "", "h").RetryAfter)
					enter(t, a, "", "h")
					at = append(at, time.Now())
				}
				if random.IntN(4) > 0 {
					<-time.After(time.Duration(random.Int64N(int64(2 * r.Per / time.Duration(r.Events)))))
				}
			}
			for from := range at {
				for to := from + int(r.burst()); to < min(len(at), from+500); to++ {
					most := float64(r.burst()) + float64(r.Events)*float64(at[to].Sub(at[from]))/float64(r.Per)
					if got := to - from + 1; float64(got) > most+1e-6 {
						t.Fatalf("seed %d: %d in %v, want at most %.3f of %+v", seed, got, at[to].Sub(at[from]), most, r)
					}
				}
			}
		})
	}
}

func TestARateIsUsedUpWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Limits{NewConnections: Rate{Events: 100, Per: time.Second}})
		admitted := 0
		for began := time.Now(); time.Since(began) < 10*time.Second; <-time.After(time.Millisecond) {
			if _, err := a.Enter("", "h"); err == nil {
				admitted++
			}
		}
		if admitted < 1090 || admitted > 1100 { // those of a second at once, and 10 s of 100/s
			t.Errorf("got %d, want 1100", admitted)
		}
	})
}

func TestAsManyAsASecondBringsMayComeAtOnce(t *testing.T) {
	for rate, want := range map[Rate]int64{
		{Events: 50, Per: time.Second}:             50,
		{Events: 1, Per: time.Second}:              1,
		{Events: 7200, Per: time.Hour}:             2,
		{Events: 10, Per: time.Hour}:               1,
		{Events: 10, Per: 100 * time.Millisecond}:  10, // never more than Events
		{Events: math.MaxUint64, Per: time.Second}: 1e9,
	} {
		synctest.Test(t, func(t *testing.T) {
			a := New(Limits{NewConnections: rate})
			if got := rate.burst(); got != want {
				t.Errorf("%+v: got %d, want %d", rate, got, want)
			}
			for range min(want, 50) {
				enter(t, a, "", "h")
			}
			if want < 1e9 {
				wantRefusal(t, a, "", "h", NewConnections)
			}
		})
	}
}

func TestANewRateStillCountsWhatWasAdmitted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := New(Limits{NewConnections: Rate{Events: 1, Per: 6 * time.Second}})
		enter(t, a, "", "h")
		a.Set(Limits{NewConnections: Rate{Events: 1, Per: 3 * time.Second}})
		if r := refusal(t, a, "", "h"); r.RetryAfter > 3*time.Second {
			t.Errorf("waits %v for a rate of one in 3s", r.RetryAfter)
		}
	})
}

func TestNoLimitIsExceededByThoseWhoComeAtOnce(t *testing.T) {
	a := New(Limits{Connections: 50, ConnectionsPerHost: 20, ConnectionsPerClient: 30})
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for range 5000 {
				leave, err := a.Enter(string(rune('a'+i%2)), string(rune('a'+i%4)))
				if err != nil {
					continue
				}
				a.mu.Lock()
				if a.open > 50 || a.hosts["a"] > 20 || a.clients["a"] > 30 {
					t.Errorf("got %d open, %v, %v", a.open, a.hosts, a.clients)
				}
				a.mu.Unlock()
				leave()
			}
		})
	}
	all.Wait()
	if a.open != 0 {
		t.Errorf("%d are open", a.open)
	}
}

func BenchmarkEnter(b *testing.B) {
	hundreds := Rate{Events: 1e8, Per: time.Second}
	for name, limits := range map[string]Limits{
		"counts":    {Connections: 2000, ConnectionsPerHost: 100, ConnectionsPerClient: 500},
		"and rates": {Connections: 2000, ConnectionsPerHost: 100, ConnectionsPerClient: 500, NewConnections: hundreds, Clients: map[string]Client{"c": {NewConnections: hundreds}}},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			a := New(limits)
			for b.Loop() {
				leave, err := a.Enter("c", "host.example")
				if err != nil {
					b.Fatal(err)
				}
				leave()
			}
		})
	}
}

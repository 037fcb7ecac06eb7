package gate

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The permit may come in the moment in which the waiter gives up: it must go
// on to the next, not be lost. leave is called as Await would.
func TestAPermitGrantedToACallThatGaveUpIsNotLost(t *testing.T) {
	p := limited(1, 1).chain.Load().bulkhead.total
	if p.enter() != taken {
		t.Fatal("no permit")
	}
	w := newWaiter(&Call{})
	if p.join(w, 0, never) != short {
		t.Fatal("no place in the queue")
	}
	p.release() // grants it to w
	p.leave(w)
	if inFlight, waiting := p.counts(); inFlight != 0 || waiting != 0 {
		t.Errorf("left %d in flight, %d waiting", inFlight, waiting)
	}
}

// flood is what many callers at once have seen of a gate.
type flood struct {
	inFlight, most            atomic.Int64
	admitted, full, impatient atomic.Int64
}

// work makes calls, a good part of which are cancelled or expire at random
// moments.
func (f *flood) work(t *testing.T, g *Gate, seed uint64, calls int, domain string) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	forward := func(context.Context, *Call) Result {
		now := f.inFlight.Add(1)
		for old := f.most.Load(); now > old && !f.most.CompareAndSwap(old, now); old = f.most.Load() {
		}
		for range random.IntN(20) { // some work
			runtime.Gosched()
		}
		f.inFlight.Add(-1)
		return Result{}
	}
	for range calls {
		ctx, cancel := context.WithCancel(t.Context())
		c := callFor(domain)
		switch random.IntN(4) {
		case 0:
			time.AfterFunc(time.Duration(random.IntN(50))*time.Microsecond, cancel)
		case 1:
			c.Deadline = time.Now().Add(time.Duration(random.IntN(50)) * time.Microsecond)
		}
		do := g.Do
		if random.IntN(2) == 0 {
			do = g.doInSteps
		}
		switch err := do(ctx, c, forward); status.Code(err) {
		case codes.OK:
			f.admitted.Add(1)
		case codes.ResourceExhausted:
			f.full.Add(1)
		case codes.Canceled, codes.DeadlineExceeded:
			f.impatient.Add(1)
		default:
			t.Errorf("got %v", err)
		}
		cancel()
	}
}

// TestTheLimitIsNeverExceeded is the property the bulkhead exists for, in
// total and for each value of a key.
func TestTheLimitIsNeverExceeded(t *testing.T) {
	const limit, depth, workers, calls = 4, 10, 40, 1000
	for _, c := range []struct {
		given  string
		config Config
		values []string
	}{
		{"total", Config{Limits: Limits{Concurrency: limit, Queue: depth}}, []string{""}},
		{"keyed", Config{PerKey: []KeyLimit{{Key: "domain", Concurrency: limit, Queue: depth}}}, []string{"a", "b"}},
	} {
		t.Run(c.given, func(t *testing.T) {
			g := New(c.config, nil)
			var wg sync.WaitGroup
			floods := make([]flood, len(c.values))
			for i := range workers {
				which := i % len(c.values)
				wg.Go(func() { floods[which].work(t, g, uint64(i), calls, c.values[which]) })
			}
			wg.Wait()
			for i := range floods {
				f := &floods[i]
				t.Logf("%d admitted, %d refused, %d gave up, at most %d at once", f.admitted.Load(), f.full.Load(), f.impatient.Load(), f.most.Load())
				if f.most.Load() > limit {
					t.Errorf("%d at once, limit %d", f.most.Load(), limit)
				}
				if f.full.Load() == 0 || f.impatient.Load() == 0 || f.admitted.Load() == 0 {
					t.Error("a way to end was not taken: the test proves nothing about it")
				}
			}
			if g.InFlight() != 0 || g.Queued() != 0 {
				t.Errorf("left %d in flight, %d queued: permits were lost", g.InFlight(), g.Queued())
			}
		})
	}
}

// TestAChangingLimitLosesNoPermit changes the limits while calls come, wait
// and leave. What is in flight may exceed a limit that was lowered, never the
// highest one.
func TestAChangingLimitLosesNoPermit(t *testing.T) {
	const highest, workers, calls = 8, 30, 1000
	config := func(n int) Config {
		return Config{
			Limits: Limits{Concurrency: n, Queue: 10},
			PerKey: []KeyLimit{{Key: "domain", Concurrency: highest + 1 - n, Queue: 10}},
		}
	}
	g := New(config(1), nil)
	done := make(chan struct{})
	var changer, wg sync.WaitGroup
	changer.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-done:
				return
			default:
				g.Update(config(1 + n*5%highest))
				runtime.Gosched()
			}
		}
	})
	var f flood
	for i := range workers {
		wg.Go(func() { f.work(t, g, uint64(i), calls, "x") })
	}
	wg.Wait()
	close(done)
	changer.Wait()
	if f.most.Load() > highest {
		t.Errorf("%d at once, highest limit %d", f.most.Load(), highest)
	}
	if g.InFlight() != 0 || g.Queued() != 0 {
		t.Errorf("left %d in flight, %d queued: permits were lost", g.InFlight(), g.Queued())
	}
	if f.admitted.Load() < workers {
		t.Errorf("%d admitted", f.admitted.Load())
	}
}

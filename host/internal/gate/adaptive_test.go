package gate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// backend is a server that works on a number of calls at once, each for a time,
// and lets the others wait in front of it, first come first served.
type backend struct {
	slots    chan struct{}
	service  atomic.Int64  // mean, in nanoseconds
	constant bool          // each call takes the mean; else exponentially distributed
	stubborn bool          // it goes on with calls that are over
	patience time.Duration // of callers; 0: any
	random   *rand.Rand    // of the goroutine that makes the calls
	answered atomic.Int64  // calls, well
}

func newBackend(workers int, service time.Duration, constant bool) *backend {
	b := &backend{slots: make(chan struct{}, 1000), constant: constant, random: rand.New(rand.NewPCG(1, 4))}
	b.service.Store(int64(service))
	for range workers {
		b.slots <- struct{}{}
	}
	return b
}

// resize takes workers away, or adds some.
func (b *backend) resize(by int) {
	for ; by > 0; by-- {
		b.slots <- struct{}{}
	}
	for ; by < 0; by++ {
		<-b.slots
	}
}

// draw is how long the next call takes.
func (b *backend) draw() time.Duration {
	mean := float64(b.service.Load())
	if b.constant {
		return time.Duration(mean)
	}
	return time.Duration(b.random.ExpFloat64() * mean)
}

func (b *backend) serve(ctx context.Context, c *Call, takes time.Duration) Result {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	if b.stubborn {
		done := make(chan struct{})
		go func() {
			<-b.slots
			time.Sleep(takes) //nolint:forbidigo // this is the work
			b.slots <- struct{}{}
			close(done)
		}()
		select {
		case <-done:
			return Result{}
		case <-ctx.Done():
			return Result{Err: status.FromContextError(ctx.Err()).Err()}
		}
	}
	select {
	case <-b.slots:
		defer func() { b.slots <- struct{}{} }()
	case <-ctx.Done():
		return Result{Err: status.FromContextError(ctx.Err()).Err()}
	}
	select {
	case <-time.After(takes):
		return Result{}
	case <-ctx.Done():
		return Result{Err: status.FromContextError(ctx.Err()).Err()}
	}
}

// load offers calls at a rate for a time, at random moments, and returns how
// many were answered well meanwhile.
func (b *backend) load(t *testing.T, g *Gate, perSecond float64, span time.Duration) (good int) {
	t.Helper()
	before := b.answered.Load()
	for end := time.Now().Add(span); time.Now().Before(end); {
		takes := b.draw()
		go func() {
			ctx, cancel := t.Context(), context.CancelFunc(func() {})
			if b.patience > 0 {
				ctx, cancel = context.WithTimeout(ctx, b.patience)
			}
			defer cancel()
			if g.Do(ctx, &Call{}, func(ctx context.Context, c *Call) Result { return b.serve(ctx, c, takes) }) == nil {
				b.answered.Add(1)
			}
		}()
		time.Sleep(time.Duration(b.random.ExpFloat64() / perSecond * float64(time.Second))) //nolint:forbidigo // the bubble's clock does not pass by itself
	}
	return int(b.answered.Load() - before)
}

// At three times what the backend can do, at least nine tenths of that is done
// well; and again ten seconds after the backend became three times as slow, in
// either way, or as quick as before.
func TestGoodputStaysNearCapacityWhateverBecomesOfTheBackend(t *testing.T) {
	const workers, service = 21, 40 * time.Millisecond
	for _, tt := range []struct {
		given    string
		constant bool
		change   func(b *backend) // after it, the capacity is a third
		restore  func(b *backend)
	}{
		{"constant, two thirds of the workers leave", true, func(b *backend) { b.resize(-workers * 2 / 3) }, func(b *backend) { b.resize(workers * 2 / 3) }},
		{"random, two thirds of the workers leave", false, func(b *backend) { b.resize(-workers * 2 / 3) }, func(b *backend) { b.resize(workers * 2 / 3) }},
		{"constant, the work takes longer", true, func(b *backend) { b.service.Store(int64(3 * service)) }, func(b *backend) { b.service.Store(int64(service)) }},
		{"random, the work takes longer", false, func(b *backend) { b.service.Store(int64(3 * service)) }, func(b *backend) { b.service.Store(int64(service)) }},
	} {
		t.Run(tt.given, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(workers, service, tt.constant)
				g := New(Config{Limits: Limits{Timeout: time.Second, Adaptive: &Adaptive{Min: 1, Max: 1000}, Queue: 50}}, nil)
				capacity := float64(workers) / service.Seconds()
				check := func(when string, share float64, span time.Duration) {
					t.Helper()
					good := float64(b.load(t, g, 3*capacity, span)) / span.Seconds() / (share * capacity)
					limit := g.chain.Load().bulkhead.bounds.Load().limit
					t.Logf("%-30s goodput %3.0f %% of capacity, limit %d", when, 100*good, limit)
					if good < 0.9 || limit < 1 || limit > 1000 {
						t.Errorf("%s: goodput %.0f %% of capacity, limit %d; want at least 90 %%", when, 100*good, limit)
					}
				}
				b.load(t, g, 3*capacity, 5*time.Second)
				check("under three times the load", 1, 20*time.Second)
				tt.change(b)
				b.load(t, g, 3*capacity, 10*time.Second)
				check("ten seconds after the fall", 1.0/3, 10*time.Second)
				tt.restore(b)
				b.load(t, g, 3*capacity, 10*time.Second)
				check("ten seconds after the rise", 1, 10*time.Second)
				time.Sleep(time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
			})
		})
	}
}

func TestTheLimitStaysWithinItsBounds(t *testing.T) {
	for _, bounds := range []Adaptive{{1, 1}, {5, 5}, {3, 12}, {100, 200}} {
		t.Run(fmt.Sprint(bounds), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(10, 10*time.Millisecond, false)
				g := New(Config{Limits: Limits{Adaptive: &bounds, Timeout: time.Second, Queue: 10}}, nil)
				for range 50 {
					b.load(t, g, 2000, 500*time.Millisecond)
					if got := g.chain.Load().bulkhead.bounds.Load().limit; got < bounds.Min || got > bounds.Max {
						t.Fatalf("limit %d, want %d to %d", got, bounds.Min, bounds.Max)
					}
				}
				time.Sleep(2 * time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
			})
		})
	}
}

// A plugin that goes on with what nobody waits for any more has all of its time
// spent on that, unless the limit falls below what it can do.
func TestGoodputComesBackFromCallsThatAllCameTooLate(t *testing.T) {
	for _, ours := range []bool{true, false} {
		t.Run(fmt.Sprintf("ours=%t", ours), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(30, 20*time.Millisecond, true)
				b.stubborn, b.patience = true, 500*time.Millisecond
				limits := Limits{Timeout: time.Minute, Adaptive: &Adaptive{Min: 1, Max: 1000}, Queue: 50}
				if ours {
					limits.Timeout, b.patience = b.patience, time.Minute
				}
				g := New(Config{Limits: limits}, nil)
				b.load(t, g, 4500, 20*time.Second)
				b.resize(-28) // two workers, which do 100 a second
				b.load(t, g, 600, 30*time.Second)
				if good := b.load(t, g, 600, 20*time.Second); good < 20*85 {
					t.Errorf("%d calls in 20 s were answered, want nearly 2000", good)
				}
				b.resize(28)
				time.Sleep(2 * time.Minute) //nolint:forbidigo // the bubble's clock does not pass by itself
			})
		})
	}
}

// From the smallest limit the latency cannot be cut to see what of it is queue.
func TestTheLimitDoesNotStayAtItsMinimum(t *testing.T) {
	for _, least := range []int{1, 8, 50} {
		t.Run(fmt.Sprintf("min=%d", least), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBackend(900, time.Millisecond, true)
				g := New(Config{Limits: Limits{Timeout: time.Second, Adaptive: &Adaptive{Min: least, Max: 1000}, Queue: 50}}, nil)
				b.load(t, g, 200, 5*time.Second)
				b.service.Store(int64(20 * time.Millisecond)) // for good
				b.load(t, g, 6000, 5*time.Second)
				if good := b.load(t, g, 6000, 2*time.Second); good < 2*6000*85/100 {
					t.Errorf("%d of 12000 calls were answered", good)
				}
				time.Sleep(3 * time.Second) //nolint:forbidigo // the bubble's clock does not pass by itself
			})
		})
	}
}

func TestATunerThatWasReplacedChangesNothing(t *testing.T) {
	g := New(Config{Limits: Limits{Adaptive: &Adaptive{Min: 1, Max: 1000}}}, nil)
	b := g.chain.Load().bulkhead
	old := b.tuner.Load()
	g.Update(Config{Limits: Limits{Concurrency: 3, Queue: 7}})
	old.limit = 500
	b.follow(old)
	if got := *b.bounds.Load(); got.limit != 3 || got.depth != 7 {
		t.Errorf("%d and %d are in force, want 3 and 7", got.limit, got.depth)
	}
}

func TestCallsThatAreNotWorkSayNothingOfTheLatency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Limits: Limits{Adaptive: &Adaptive{Min: 1, Max: 100}}}, nil)
		before := g.chain.Load().bulkhead.bounds.Load().limit
		for range 1000 {
			_ = g.Do(t.Context(), &Call{}, answer(status.Error(codes.Canceled, "never mind")))
			_ = g.Do(t.Context(), &Call{}, answer(errBroken))
			time.Sleep(time.Millisecond) //nolint:forbidigo // the bubble's clock does not pass by itself
		}
		if got := g.chain.Load().bulkhead.bounds.Load().limit; got != before {
			t.Errorf("limit %d, want %d as before", got, before)
		}
	})
}

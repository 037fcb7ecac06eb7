package gate

import (
	"context"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"
)

// newCall is a call whose clock begins now.
func newCall() *Call {
	c := &Call{Start: time.Now(), clock: &clock{epoch: time.Now()}}
	c.read()
	return c
}

// until is a call with a deadline.
func until(d time.Duration) *Call {
	c := newCall()
	c.Deadline = c.Start.Add(d)
	c.deadline = c.now.add(d)
	return c
}

// admit asks a policy and forgets the ticket.
func admit(ctx context.Context, p Policy, c *Call) error {
	_, err := p.Admit(ctx, c)
	return err
}

// counts are the numbers of calls in flight and waiting.
func counts(b *bulkhead) [2]int {
	inFlight, waiting := b.counts()
	return [2]int{inFlight, waiting}
}

func TestAQueueThatIsFullRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(2, 1)
		for range 2 {
			if err := admit(t.Context(), b, newCall()); err != nil {
				t.Fatal(err)
			}
		}
		waited := make(chan error)
		go func() { waited <- admit(t.Context(), b, newCall()) }()
		synctest.Wait()

		before := time.Now()
		err := admit(t.Context(), b, until(time.Hour))
		if since := time.Since(before); since != 0 {
			t.Errorf("refused after %v", since)
		}
		st := status.Convert(err)
		want := "bulkhead: 2 calls in flight and 1 queued, limits 2 and 1; retry later or raise limits.concurrency"
		if st.Code() != codes.ResourceExhausted || st.Message() != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
		if diff := cmp.Diff([]any{
			&errdetails.RetryInfo{RetryDelay: durationpb.New(bulkheadRetry)},
			&errdetails.ErrorInfo{Reason: "BULKHEAD_FULL", Domain: "gaia", Metadata: map[string]string{
				"policy": "bulkhead", "limits.concurrency": "2", "limits.queue": "1",
			}},
		}, st.Details(), protocmp.Transform()); diff != "" {
			t.Errorf("details (-want +got):\n%s", diff)
		}
		b.Done(newCall(), Ticket{}, Success)
		if err := <-waited; err != nil {
			t.Errorf("the call in the queue: %v", err)
		}
	})
}

func TestWithoutAQueueCallsBeyondTheLimitAreRefused(t *testing.T) {
	b := newBulkhead(1, 0)
	if err := admit(t.Context(), b, newCall()); err != nil {
		t.Fatal(err)
	}
	if err := admit(t.Context(), b, newCall()); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
	b.Done(newCall(), Ticket{}, Success)
	if err := admit(t.Context(), b, newCall()); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}

func TestTheLongestWaitingCallGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(1, 10)
		if err := admit(t.Context(), b, newCall()); err != nil {
			t.Fatal(err)
		}
		order := make(chan int, 10)
		for i := range 5 {
			go func() {
				if err := admit(t.Context(), b, newCall()); err != nil {
					t.Error(err)
				}
				order <- i
			}()
			synctest.Wait() // in the queue before the next one comes
		}
		for want := range 5 {
			b.Done(newCall(), Ticket{}, Success)
			if got := <-order; got != want {
				t.Errorf("call %d went, want %d", got, want)
			}
		}
		b.Done(newCall(), Ticket{}, Success)
		if got := counts(b); got != [2]int{} {
			t.Errorf("left %v", got)
		}
	})
}

func TestACallExpiresInTheQueueAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Limits: Limits{Timeout: 3 * time.Second, Concurrency: 1, Queue: 1}}, nil)
		entered, leave := make(chan struct{}), make(chan struct{})
		go func() {
			_ = g.Do(t.Context(), &Call{Stream: true}, func(context.Context, *Call) Result {
				close(entered)
				<-leave
				return Result{}
			})
		}()
		<-entered
		start := time.Now()
		err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
			t.Error("forwarded")
			return Result{}
		})
		if got := time.Since(start); got != 3*time.Second {
			t.Errorf("after %v, want 3s", got)
		}
		want := "bulkhead: deadline exceeded after 3s, while in the queue: 1 calls were in flight, the limit; retry later or raise limits.concurrency"
		if st := status.Convert(err); st.Code() != codes.DeadlineExceeded || st.Message() != want {
			t.Errorf("got %v", err)
		}
		if g.Queued() != 0 || g.InFlight() != 1 {
			t.Errorf("%d queued, %d in flight", g.Queued(), g.InFlight())
		}
		close(leave)
	})
}

func TestACancelledCallLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(1, 1)
		if err := admit(t.Context(), b, newCall()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- admit(ctx, b, newCall()) }()
		synctest.Wait()
		if got := counts(b); got != [2]int{1, 1} {
			t.Errorf("counts %v", got)
		}
		cancel()
		if err := <-result; status.Code(err) != codes.Canceled || !strings.Contains(err.Error(), "in the queue") {
			t.Errorf("got %v", err)
		}
		if got := counts(b); got != [2]int{1, 0} {
			t.Errorf("counts %v", got)
		}
		b.Done(newCall(), Ticket{}, Success)
		if !b.enter() {
			t.Error("the permit is lost")
		}
	})
}

// The permit may come in the moment in which the waiter gives up: it must go
// on to the next, not be lost. leave is called as Admit would.
func TestAPermitGrantedToACallThatGaveUpIsNotLost(t *testing.T) {
	b := newBulkhead(1, 1)
	if !b.enter() {
		t.Fatal("no permit")
	}
	w, err := b.join()
	if err != nil {
		t.Fatal(err)
	}
	b.release() // grants it to w
	b.leave(w)
	if got := counts(b); got != [2]int{} {
		t.Errorf("left %v", got)
	}
}

// TestTheLimitIsNeverExceeded is the property the bulkhead exists for: 10^5
// calls from many goroutines, a good part of which are cancelled or expire at
// random moments. In the second run the limit changes all the time; then the
// bound is the highest, and no permit may get lost.
func TestTheLimitIsNeverExceeded(t *testing.T) {
	const limit, depth, workers, calls = 4, 20, 40, 2500
	for _, moving := range []bool{false, true} {
		b := newBulkhead(limit, depth)
		stop := make(chan struct{})
		var mover sync.WaitGroup
		if moving {
			mover.Go(func() {
				for i := 0; ; i++ {
					select {
					case <-stop:
						return
					default:
						b.set(1+i%limit, depth)
						runtime.Gosched()
					}
				}
			})
		}
		var r rush
		var wg sync.WaitGroup
		for i := range workers {
			wg.Go(func() { r.work(t, b, uint64(i), calls) })
		}
		wg.Wait()
		close(stop)
		mover.Wait()
		t.Logf("moving %t: %d admitted, %d refused, %d gave up, at most %d at once", moving, r.admitted.Load(), r.full.Load(), r.gaveUp.Load(), r.most.Load())
		if r.most.Load() > limit {
			t.Errorf("%d at once, limit %d", r.most.Load(), limit)
		}
		if got := counts(b); got != [2]int{} || b.queue.Len() != 0 {
			t.Errorf("left %v and %d in the queue: permits were lost", got, b.queue.Len())
		}
		if total := r.admitted.Load() + r.full.Load() + r.gaveUp.Load(); total != workers*calls {
			t.Errorf("%d calls ended, want %d", total, workers*calls)
		}
		if r.full.Load() == 0 || r.gaveUp.Load() == 0 || r.admitted.Load() == 0 {
			t.Error("a way to end was not taken: the test proves nothing about it")
		}
	}
}

// rush is what came of many calls.
type rush struct{ inFlight, most, admitted, full, gaveUp atomic.Int64 }

func (r *rush) work(t *testing.T, p Policy, seed uint64, calls int) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 1))
	for range calls {
		ctx, cancel := context.WithCancel(t.Context())
		c := newCall()
		switch random.IntN(4) {
		case 0:
			time.AfterFunc(time.Duration(random.IntN(50))*time.Microsecond, cancel)
		case 1:
			c = until(time.Duration(1+random.IntN(50)) * time.Microsecond)
		}
		ticket, err := p.Admit(ctx, c)
		switch status.Code(err) {
		case codes.OK:
			now := r.inFlight.Add(1)
			for old := r.most.Load(); now > old && !r.most.CompareAndSwap(old, now); old = r.most.Load() {
			}
			for range random.IntN(20) { // some work
				runtime.Gosched()
			}
			r.admitted.Add(1)
			r.inFlight.Add(-1)
			p.Done(c, ticket, Success)
		case codes.ResourceExhausted:
			r.full.Add(1)
		case codes.Canceled, codes.DeadlineExceeded:
			r.gaveUp.Add(1)
		default:
			t.Errorf("got %v", err)
		}
		cancel()
	}
}

func TestAHigherLimitLetsWaitersInAndALowerOneLetsNobodyIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(1, 10)
		var admitted atomic.Int64
		for range 6 {
			go func() {
				if err := admit(t.Context(), b, newCall()); err != nil {
					t.Error(err)
				}
				admitted.Add(1)
			}()
		}
		check := func(after string, want int64, inFlight, waiting int) {
			t.Helper()
			synctest.Wait()
			if got := counts(b); admitted.Load() != want || got != [2]int{inFlight, waiting} {
				t.Errorf("%s: %d admitted and counts %v, want %d and %v", after, admitted.Load(), got, want, [2]int{inFlight, waiting})
			}
		}
		check("at first", 1, 1, 5)
		b.set(4, 10)
		check("limit 4", 4, 4, 2)
		b.set(2, 10)
		b.release()
		check("limit 2, one ended", 4, 3, 2)
		b.release()
		check("two ended", 4, 2, 2)
		b.release()
		check("three ended", 5, 2, 1)
		b.release()
		b.release()
		b.release()
		check("all ended", 6, 0, 0)
	})
}

func TestEachValueOfAKeyHasABulkheadOfItsOwn(t *testing.T) {
	g := New(Config{PerKey: []KeyLimit{{Key: "domain", Concurrency: 1}}}, nil)
	block, entered := make(chan struct{}), make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- g.Do(t.Context(), &Call{Keys: domain("a")}, func(context.Context, *Call) Result {
			close(entered)
			<-block
			return Result{}
		})
	}()
	<-entered
	err := g.Do(t.Context(), &Call{Keys: domain("a")}, answered)
	want := `bulkhead.domain: 1 calls in flight and 0 queued for domain "a", limits 1 and 0; retry later or raise limits.per_key["domain"].concurrency`
	if st := status.Convert(err); st.Code() != codes.ResourceExhausted || st.Message() != want {
		t.Errorf("a second call to a: %v", err)
	}
	for _, k := range []Keys{domain("b"), domain(""), nil} {
		if err := g.Do(t.Context(), &Call{Keys: k}, answered); err != nil {
			t.Errorf("a call to %v: %v", k, err)
		}
	}
	close(block)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := g.Do(t.Context(), &Call{Keys: domain("a")}, answered); err != nil {
		t.Errorf("when the first has ended: %v", err)
	}
}

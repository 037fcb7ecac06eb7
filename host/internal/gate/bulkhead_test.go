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

// counts are the numbers of calls in flight and waiting.
func counts(b *bulkhead) [2]int {
	inFlight, waiting := b.counts()
	return [2]int{inFlight, waiting}
}

func TestAQueueThatIsFullRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(2, 1)
		for range 2 {
			if err := b.Admit(t.Context(), &Call{}); err != nil {
				t.Fatal(err)
			}
		}
		waited := make(chan error)
		go func() { waited <- b.Admit(t.Context(), &Call{}) }()
		synctest.Wait()

		before := time.Now()
		err := b.Admit(t.Context(), &Call{Deadline: before.Add(time.Hour)})
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
		b.Done(nil, codes.OK)
		if err := <-waited; err != nil {
			t.Errorf("the call in the queue: %v", err)
		}
	})
}

func TestWithoutAQueueCallsBeyondTheLimitAreRefused(t *testing.T) {
	b := newBulkhead(1, 0)
	if err := b.Admit(t.Context(), &Call{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Admit(t.Context(), &Call{}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("got %v", err)
	}
	b.Done(nil, codes.OK)
	if err := b.Admit(t.Context(), &Call{}); err != nil {
		t.Errorf("after one ended: %v", err)
	}
}

func TestTheLongestWaitingCallGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBulkhead(1, 10)
		if err := b.Admit(t.Context(), &Call{}); err != nil {
			t.Fatal(err)
		}
		order := make(chan int, 10)
		for i := range 5 {
			go func() {
				if err := b.Admit(t.Context(), &Call{}); err != nil {
					t.Error(err)
				}
				order <- i
			}()
			synctest.Wait() // in the queue before the next one comes
		}
		for want := range 5 {
			b.Done(nil, codes.OK)
			if got := <-order; got != want {
				t.Errorf("call %d went, want %d", got, want)
			}
		}
		b.Done(nil, codes.OK)
		if got := counts(b); got != [2]int{} {
			t.Errorf("left %v", got)
		}
	})
}

func TestACallExpiresInTheQueueAndSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Limits{Timeout: 3 * time.Second, Concurrency: 1, Queue: 1}, nil)
		entered, leave := make(chan struct{}), make(chan struct{})
		go func() {
			_ = g.Do(t.Context(), &Call{Stream: true}, func(context.Context, *Call) error {
				close(entered)
				<-leave
				return nil
			})
		}()
		<-entered
		start := time.Now()
		err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) error {
			t.Error("forwarded")
			return nil
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
		if err := b.Admit(t.Context(), &Call{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		result := make(chan error)
		go func() { result <- b.Admit(ctx, &Call{Start: time.Now()}) }()
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
		b.Done(nil, codes.OK)
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
	w, ok := b.join()
	if !ok {
		t.Fatal("no place in the queue")
	}
	b.release() // grants it to w
	b.leave(w)
	if got := counts(b); got != [2]int{} {
		t.Errorf("left %v", got)
	}
}

// TestTheLimitIsNeverExceeded is the property the bulkhead exists for: 10^5
// calls from many goroutines, a good part of which are cancelled or expire at
// random moments.
func TestTheLimitIsNeverExceeded(t *testing.T) {
	const limit, depth, workers, calls = 4, 20, 40, 2500
	b := newBulkhead(limit, depth)
	var inFlight, most, admitted, full, gaveUp atomic.Int64
	work := func(seed uint64) {
		random := rand.New(rand.NewPCG(seed, 1))
		for range calls {
			ctx, cancel := context.WithCancel(t.Context())
			c := &Call{Start: time.Now()}
			switch random.IntN(4) {
			case 0:
				time.AfterFunc(time.Duration(random.IntN(50))*time.Microsecond, cancel)
			case 1:
				c.Deadline = time.Now().Add(time.Duration(random.IntN(50)) * time.Microsecond)
			}
			switch err := b.Admit(ctx, c); status.Code(err) {
			case codes.OK:
				now := inFlight.Add(1)
				for old := most.Load(); now > old && !most.CompareAndSwap(old, now); old = most.Load() {
				}
				for range random.IntN(20) { // some work
					runtime.Gosched()
				}
				admitted.Add(1)
				inFlight.Add(-1)
				b.Done(c, codes.OK)
			case codes.ResourceExhausted:
				full.Add(1)
			case codes.Canceled, codes.DeadlineExceeded:
				gaveUp.Add(1)
			default:
				t.Errorf("got %v", err)
			}
			cancel()
		}
	}
	var wg sync.WaitGroup
	for i := range workers {
		wg.Go(func() { work(uint64(i)) })
	}
	wg.Wait()
	t.Logf("%d admitted, %d refused, %d gave up, at most %d at once", admitted.Load(), full.Load(), gaveUp.Load(), most.Load())
	if most.Load() > limit {
		t.Errorf("%d at once, limit %d", most.Load(), limit)
	}
	if got := counts(b); got != [2]int{} || b.queue.Len() != 0 {
		t.Errorf("left %v and %d in the queue: permits were lost", got, b.queue.Len())
	}
	if total := admitted.Load() + full.Load() + gaveUp.Load(); total != workers*calls {
		t.Errorf("%d calls ended, want %d", total, workers*calls)
	}
	if full.Load() == 0 || gaveUp.Load() == 0 || admitted.Load() == 0 {
		t.Error("a way to end was not taken: the test proves nothing about it")
	}
}

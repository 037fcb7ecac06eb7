package link_test

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
)

func TestALaterCallOvertakesAnEarlierOne(t *testing.T) {
	overEach(t, func(t arena) {
		inside, release := make(chan struct{}), make(chan struct{})
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			if string(req) == "slow" {
				close(inside)
				<-release
			}
			return req, nil
		})
		slow := make(chan string, 1)
		go func() {
			got, err := call(patiently(t), conn, []byte("slow"))
			slow <- string(got)
			if err != nil {
				t.Error(err)
			}
		}()
		await(t, inside, "the slow call")
		for range 10 {
			if got, err := call(patiently(t), conn, []byte("fast")); err != nil || string(got) != "fast" {
				t.Errorf("got %q, %v", got, err)
			}
		}
		close(release)
		if got := await(t, slow, "the slow call's answer"); got != "slow" {
			t.Errorf("got %q, want slow", got)
		}
	})
}

// inside makes n calls with requests of their own and returns when all of them
// are in the handler; finished waits for their ends, of which each is told to
// end once.
func callsInside(t arena, n int, end func(err error)) (conn client, release func(), finished func()) {
	t.Helper()
	var entered atomic.Int64
	all, released := make(chan struct{}), make(chan struct{})
	conn = t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
		if entered.Add(1) == int64(n) {
			close(all)
		}
		select {
		case <-released:
			return req, nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
	ctx := patiently(t)
	var faults tally
	var callers sync.WaitGroup
	for i := range n {
		callers.Go(func() {
			want := strconv.Itoa(i)
			got, err := call(ctx, conn, []byte(want), grpc.OnFinish(end))
			if err == nil && string(got) != want {
				faults.add("the answer of another call")
			}
		})
	}
	t.Cleanup(func() {
		callers.Wait()
		faults.report(t)
	})
	await(t, all, "all calls in the handler at once")
	return conn, func() { close(released) }, callers.Wait
}

func TestTenThousandCallsAreInTheHandlerAtOnce(t *testing.T) {
	overEach(t, func(t arena) {
		const calls = 10_000
		var faults tally
		var answered atomic.Int64
		_, release, finished := callsInside(t, calls, func(err error) {
			if err != nil {
				faults.add("got %v", err)
			}
			answered.Add(1)
		})
		release()
		finished()
		faults.report(t)
		if n := answered.Load(); n != calls {
			t.Errorf("got %d answers, want %d", n, calls)
		}
	})
}

func TestAHandlerThatBlocksDelaysNobody(t *testing.T) {
	overEach(t, func(t arena) {
		const blocked, others = 64, 1000
		var inside sync.WaitGroup
		inside.Add(blocked)
		release := make(chan struct{})
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			if string(req) == "block" {
				inside.Done()
				<-release
			}
			return req, nil
		})
		var callers sync.WaitGroup
		for range blocked {
			callers.Go(func() {
				if _, err := call(patiently(t), conn, []byte("block")); err != nil {
					t.Error(err)
				}
			})
		}
		inside.Wait()
		var faults tally
		var free sync.WaitGroup
		for i := range others {
			free.Go(func() {
				want := strconv.Itoa(i)
				if got, err := call(patiently(t), conn, []byte(want)); err != nil || string(got) != want {
					faults.add("got %q, %v; want the request", got, err)
				}
			})
		}
		free.Wait()
		faults.report(t)
		close(release)
		callers.Wait()
	})
}

func TestBigAnswersAndSmallOnesGetToTheirCallers(t *testing.T) {
	overEach(t, func(t arena) {
		const size = 3 << 20
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			if err := grpc.SetTrailer(ctx, metadata.Pairs("x-req", string(req))); err != nil {
				return nil, err
			}
			if n, _ := strconv.Atoi(string(req)); n%10 == 0 {
				return noise(size + n), nil
			}
			return req, nil
		})
		var callers sync.WaitGroup
		for worker := range 8 {
			callers.Go(func() {
				for i := range 20 {
					n := worker*20 + i
					want := []byte(strconv.Itoa(n))
					var trailer metadata.MD
					got, err := call(patiently(t), conn, want, anySize(), grpc.Trailer(&trailer))
					if n%10 == 0 {
						want = noise(size + n)
					}
					if err != nil || string(got) != string(want) {
						t.Errorf("call %d: got %d bytes, %v; want %d bytes", n, len(got), err, len(want))
					}
					wantMetadata(t, "trailer", trailer, pairs{"x-req": {strconv.Itoa(n)}})
				}
			})
		}
		callers.Wait()
	})
}

func TestAFloodOfAnswersArrives(t *testing.T) {
	overEach(t, func(t arena) {
		const calls, size = 2000, 60_000
		var entered atomic.Int64
		all := make(chan struct{})
		conn := t.serve(func(context.Context, []byte) ([]byte, error) {
			if entered.Add(1) == calls {
				close(all)
			}
			<-all
			return make([]byte, size), nil
		})
		ctx := patiently(t)
		var faults tally
		var callers sync.WaitGroup
		for range calls {
			callers.Go(func() {
				if got, err := call(ctx, conn, nil); err != nil || len(got) != size {
					faults.add("got %d bytes, %v; want %d", len(got), err, size)
				}
			})
		}
		callers.Wait()
		faults.report(t)
	})
}

func TestBlockedCallsWithLargeRequestsDelayNobody(t *testing.T) {
	overEach(t, func(t arena) {
		const blocked, size = 400, 60_000
		inside, release := make(chan struct{}, blocked), make(chan struct{})
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			if len(req) == size {
				inside <- struct{}{}
				<-release
			}
			return nil, nil
		})
		ctx := patiently(t)
		var faults tally
		var callers sync.WaitGroup
		defer func() {
			close(release)
			callers.Wait()
			faults.report(t)
		}()
		for range blocked {
			callers.Go(func() {
				if _, err := call(ctx, conn, make([]byte, size)); err != nil {
					faults.add("a blocked call: got %v", err)
				}
			})
		}
		// All of them get to their handlers.
		if !proctest.Soon(func() bool { return len(inside) == blocked }) {
			t.Errorf("got %d calls in the handler, want %d", len(inside), blocked)
		}
		other, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		if _, err := call(other, conn, make([]byte, size/2)); err != nil {
			t.Errorf("another call: %v", err)
		}
	})
}

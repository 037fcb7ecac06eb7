package link_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestTheCallersDeadlineIsTheHandlers(t *testing.T) {
	overEach(t, func(t arena) {
		var got time.Time
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			var ok bool
			if got, ok = ctx.Deadline(); !ok {
				t.Error("the handler has no deadline")
			}
			return nil, nil
		})
		for _, c := range []struct{ timeout, tolerance time.Duration }{
			{20 * time.Second, 250 * time.Millisecond},
			{time.Hour, 250 * time.Millisecond},
			{100 * 24 * time.Hour, 2 * time.Second}, // gRPC counts in seconds by now
			{100 * 365 * 24 * time.Hour, 2 * time.Minute},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), c.timeout)
			if _, err := call(ctx, conn, nil); err != nil {
				t.Errorf("%v: %v", c.timeout, err)
			}
			cancel()
			want, _ := ctx.Deadline()
			if off := got.Sub(want); off.Abs() > c.tolerance {
				t.Errorf("%v: the handler's deadline is %v off, want it within %v", c.timeout, off, c.tolerance)
			}
		}
	})
}

func TestWithoutADeadlineTheHandlerHasNone(t *testing.T) {
	overEach(t, func(t arena) {
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			if deadline, ok := ctx.Deadline(); ok || !deadline.IsZero() {
				t.Errorf("got the deadline %v, want none", deadline)
			}
			return nil, nil
		})
		if _, err := call(t.Context(), conn, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestADeadlineThatPassesEndsTheCallAtBothEnds(t *testing.T) {
	overEach(t, func(t arena) {
		release := make(chan struct{})
		ended := make(chan error, 1)
		var handling sync.WaitGroup
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			handling.Go(func() {
				<-ctx.Done()
				ended <- ctx.Err()
			})
			<-release // whatever the context says
			return nil, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		_, err := call(ctx, conn, nil)
		wantCode(t, err, codes.DeadlineExceeded)
		// The caller's word that it has left may come before the handler's clock.
		if err := await(t, ended, "the handler's context"); err != context.DeadlineExceeded && err != context.Canceled { //nolint:errorlint // Err returns one of the two
			t.Errorf("the handler's context: got %v", err)
		}
		close(release)
		handling.Wait()
		if _, err := call(patiently(t), conn, nil); err != nil {
			t.Errorf("the next call: %v", err)
		}
	})
}

func TestAHandlersOwnDeadlineEndsEarlier(t *testing.T) {
	overEach(t, func(t arena) {
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			<-ctx.Done()
			return nil, ctx.Err()
		})
		_, err := call(patiently(t), conn, nil)
		wantStatus(t, err, codes.DeadlineExceeded, "context deadline exceeded")
	})
}

func TestACallWhoseTimeIsUpIsNotMade(t *testing.T) {
	overEach(t, func(t arena) {
		var handled atomic.Int32
		conn := t.serve(func(context.Context, []byte) ([]byte, error) {
			handled.Add(1)
			return nil, nil
		})
		past, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
		defer cancel()
		_, err := call(past, conn, nil)
		wantStatus(t, err, codes.DeadlineExceeded, "context deadline exceeded")
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = call(cancelled, conn, nil)
		wantStatus(t, err, codes.Canceled, "context canceled")
		if _, err := call(patiently(t), conn, nil); err != nil {
			t.Error(err)
		}
		if n := handled.Load(); n != 1 {
			t.Errorf("got %d calls in the handler, want 1", n)
		}
	})
}

func TestAShortDeadlineIsAnAnswerOrDeadlineExceeded(t *testing.T) {
	overEach(t, func(t arena) {
		conn := t.serve(echo)
		var answered, late atomic.Int32
		var callers sync.WaitGroup
		for worker := range 8 {
			callers.Go(func() {
				random := rand.New(rand.NewPCG(uint64(worker), 1))
				for range 100 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(random.Int64N(int64(time.Millisecond))))
					switch _, err := call(ctx, conn, nil); status.Code(err) {
					case codes.OK:
						answered.Add(1)
					case codes.DeadlineExceeded:
						late.Add(1)
					default:
						t.Errorf("got %v, want an answer or DeadlineExceeded", err)
					}
					cancel()
				}
			})
		}
		callers.Wait()
		t.Logf("%d answered, %d late", answered.Load(), late.Load())
	})
}

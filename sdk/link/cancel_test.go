package link_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

var errReason = errors.New("a reason that stays with the caller")

func TestACallerThatLeavesCancelsTheHandler(t *testing.T) {
	overEach(t, func(t arena) {
		inside, ended := make(chan struct{}), make(chan struct{})
		conn := t.serve(func(ctx context.Context, _ []byte) ([]byte, error) {
			child, cancel := context.WithCancel(context.WithValue(ctx, noteKey{}, "note"))
			defer cancel()
			timed, cancelTimed := context.WithTimeout(child, time.Hour)
			defer cancelTimed()
			ran := make(chan struct{})
			context.AfterFunc(ctx, func() { close(ran) })
			close(inside)
			for _, each := range []context.Context{ctx, child, timed} {
				await(t, each.Done(), "the contexts")
				if each.Err() != context.Canceled || context.Cause(each) != context.Canceled { //nolint:errorlint // Err returns the very value
					t.Errorf("got %v and the cause %v, want context.Canceled", each.Err(), context.Cause(each))
				}
			}
			await(t, ran, "context.AfterFunc")
			if err := context.WithoutCancel(ctx).Err(); err != nil {
				t.Errorf("WithoutCancel: got %v", err)
			}
			close(ended)
			return nil, ctx.Err()
		})
		ctx, cancel := context.WithCancelCause(patiently(t))
		defer cancel(nil)
		left := make(chan error, 1)
		go func() {
			_, err := call(ctx, conn, nil)
			left <- err
		}()
		await(t, inside, "the handler")
		begun := time.Now()
		cancel(errReason)
		wantStatus(t, await(t, left, "the caller"), codes.Canceled, "context canceled")
		await(t, ended, "the handler's end")
		t.Logf("the handler ended after %v", time.Since(begun))
	})
}

func TestACallerLeavesThoughTheHandlerIgnoresIt(t *testing.T) {
	overEach(t, func(t arena) {
		inside, release := make(chan struct{}), make(chan struct{})
		defer close(release)
		conn := t.serve(func(_ context.Context, req []byte) ([]byte, error) {
			if len(req) == 0 {
				close(inside)
				<-release
			}
			return req, nil
		})
		ctx, cancel := context.WithCancel(patiently(t))
		defer cancel()
		left := make(chan error, 1)
		go func() {
			_, err := call(ctx, conn, nil)
			left <- err
		}()
		await(t, inside, "the handler")
		cancel()
		wantCode(t, await(t, left, "the caller"), codes.Canceled)
		if got, err := call(patiently(t), conn, []byte("next")); err != nil || string(got) != "next" {
			t.Errorf("the next call: got %q, %v", got, err)
		}
	})
}

func TestACallThatIsOverCannotBeCancelled(t *testing.T) {
	overEach(t, func(t arena) {
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			return req, ctx.Err()
		})
		for range 200 { // ids may be in use again when the cancellation comes
			ctx, cancel := context.WithCancel(patiently(t))
			if _, err := call(ctx, conn, nil); err != nil {
				t.Fatal(err)
			}
			cancel()
		}
	})
}

func TestTheHandlersContextEndsWithIt(t *testing.T) {
	overEach(t, func(t arena) {
		kept := make(chan context.Context, 2)
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			kept <- ctx
			child, cancel := context.WithTimeout(ctx, time.Hour)
			context.AfterFunc(child, cancel) // and not before
			kept <- child
			if string(req) == "fail" {
				return nil, errors.New("no")
			}
			return nil, nil
		})
		for _, req := range []string{"answer", "fail"} {
			for name, ctx := range map[string]context.Context{"without a deadline": t.Context(), "with one": patiently(t)} {
				_, _ = call(ctx, conn, []byte(req))
				for range 2 {
					ctx := <-kept
					await(t, ctx.Done(), "the end of a context "+name)
					if ctx.Err() != context.Canceled {
						t.Errorf("%s: got %v, want context.Canceled", name, ctx.Err())
					}
					child, cancel := context.WithCancel(ctx)
					if child.Err() == nil {
						t.Errorf("%s: a child that was made later has not ended", name)
					}
					cancel()
				}
			}
		}
	})
}

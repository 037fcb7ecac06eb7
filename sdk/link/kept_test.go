package link_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
)

// A keepsake is what a handler should not keep, but may: its context and what
// it saw while its call ran.
type keepsake struct {
	ctx      context.Context //nolint:containedctx // that it is kept is the case
	id       string
	deadline time.Time
	timed    bool
}

func keep(ctx context.Context) keepsake {
	k := keepsake{ctx: ctx, id: idOf(ctx)}
	k.deadline, k.timed = ctx.Deadline()
	return k
}

func idOf(ctx context.Context) string {
	return fmt.Sprint(metadata.ValueFromIncomingContext(ctx, "x-id"))
}

// check says what of another call shows, or has gone.
func (k keepsake) check() error {
	deadline, timed := k.ctx.Deadline()
	_, hasPeer := peer.FromContext(k.ctx)
	method, _ := grpc.Method(k.ctx)
	switch {
	case idOf(k.ctx) != k.id:
		return fmt.Errorf("call %s shows the metadata of %s", k.id, idOf(k.ctx))
	case timed != k.timed || !deadline.Equal(k.deadline):
		return fmt.Errorf("call %s had the deadline %v and has %v", k.id, k.deadline, deadline)
	case k.ctx.Err() != context.Canceled:
		return fmt.Errorf("call %s is over, and its context says %w", k.id, k.ctx.Err())
	case !hasPeer || method != methodEcho:
		return fmt.Errorf("call %s has lost its peer or method (%q)", k.id, method)
	case grpc.SetHeader(k.ctx, metadata.Pairs("x-late", "1")) == nil:
		return fmt.Errorf("call %s is over, and SetHeader works", k.id)
	case grpc.SetTrailer(k.ctx, metadata.Pairs("x-late", "1")) == nil:
		return fmt.Errorf("call %s is over, and SetTrailer works", k.id)
	case grpc.SendHeader(k.ctx, metadata.Pairs("x-late", "1")) == nil:
		return fmt.Errorf("call %s is over, and SendHeader works", k.id)
	}
	return nil
}

func TestAKeptContextNeverShowsAnotherCall(t *testing.T) {
	const callers, each = 32, 60
	overEach(t, func(t arena) {
		var mu sync.Mutex
		var kept []keepsake
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			kept = append(kept, keep(ctx))
			return req, nil
		})
		storm := func(round string) {
			var running sync.WaitGroup
			for caller := range callers {
				running.Go(func() {
					for i := range each {
						ctx := metadata.AppendToOutgoingContext(t.Context(), "x-id", fmt.Sprint(round, caller, i))
						if i%2 == 0 {
							var cancel context.CancelFunc
							ctx, cancel = context.WithTimeout(ctx, time.Hour+time.Duration(caller*each+i)*time.Second)
							defer cancel()
						}
						var header, trailer metadata.MD
						if _, err := call(ctx, conn, nil, grpc.Header(&header), grpc.Trailer(&trailer)); err != nil {
							t.Error(err)
						}
						if header["x-late"] != nil || trailer["x-late"] != nil {
							t.Error("a call got what the handler of an earlier one has set")
						}
					}
				})
			}
			running.Wait()
		}
		storm("first")
		mu.Lock()
		first := kept
		kept = nil
		mu.Unlock()
		if len(first) != callers*each {
			t.Fatalf("got %d calls, want %d", len(first), callers*each)
		}
		for _, k := range first {
			await(t, k.ctx.Done(), "the end of a call's context")
		}
		stop := make(chan struct{})
		var watcher sync.WaitGroup
		watcher.Go(func() { // while others run and after them
			for {
				for _, k := range first {
					if err := k.check(); err != nil {
						t.Error(err)
						return
					}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
		storm("second")
		close(stop)
		watcher.Wait()
	})
}

func TestAKeptRequestStaysAsItWas(t *testing.T) {
	overEach(t, func(t arena) {
		var mu sync.Mutex
		kept := make(map[string][]byte)
		conn := t.serve(func(ctx context.Context, req []byte) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			kept[idOf(ctx)] = req
			return req, nil
		})
		answers := make(map[string][]byte)
		for i := range 500 {
			id := fmt.Sprint(i)
			got, err := call(metadata.AppendToOutgoingContext(patiently(t), "x-id", id), conn, []byte("request "+id))
			if err != nil {
				t.Fatal(err)
			}
			answers[id] = got
		}
		for i := range 500 {
			want := fmt.Sprint("request ", i)
			id := fmt.Sprint(i)
			if got := kept["["+id+"]"]; string(got) != want {
				t.Errorf("the handler's: got %q, want %q", got, want)
			}
			if got := answers[id]; string(got) != want {
				t.Errorf("the caller's: got %q, want %q", got, want)
			}
		}
	})
}

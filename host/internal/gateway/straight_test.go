package gateway

import (
	"bytes"
	"context"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"

	"google.golang.org/protobuf/types/known/wrapperspb"
)

// A call by the link is with its instance and has no goroutine in the host;
// else all tests over the link might be tests of the detour.
func TestOnlyACallThatHasToWaitTakesAGoroutine(t *testing.T) {
	for _, c := range []struct {
		given  string
		ways   ways
		waits  bool
		detour bool
	}{
		{"link all the way", ways{byLink, byLink}, false, false},
		{"link all the way, but no instance is ready at once", ways{byLink, byLink}, true, true},
		{"an instance without a link", ways{byLink, byGRPC}, false, true},
	} {
		t.Run(c.given, func(t *testing.T) {
			entered, leave := make(chan struct{}), make(chan struct{})
			i := serveEcho(trial{t, c.ways}, echo{unary: func(_ context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
				close(entered)
				<-leave
				return r, nil
			}})
			sub := &Subsystem{Name: "echo", Instances: always(i)}
			if c.waits {
				sub.Instances = acquire(func(context.Context) (Instance, error) { return i.lend(), nil })
			}
			h := startHost(trial{t, c.ways}, Options{}, sub)
			var calling sync.WaitGroup
			calling.Go(func() {
				if got, err := h.call(t.Context(), []byte("x")); err != nil || string(got) != "x" {
					t.Errorf("got %q, %v", got, err)
				}
			})
			<-entered
			if got := detours(t); got > 0 != c.detour {
				t.Errorf("%d calls make a detour", got)
			}
			close(leave)
			calling.Wait()
		})
	}
}

// detours is how many calls make one at this moment.
func detours(t *testing.T) int {
	t.Helper()
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		t.Fatal(err)
	}
	return strings.Count(all.String(), "gateway.(*linkCall).finish(")
}

package gateway

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/sdk/link"
)

func TestCallsThatWaitForAPermitComeInTheirOrder(t *testing.T) {
	overEach(t, callsThatWaitForAPermitComeInTheirOrder)
}

func callsThatWaitForAPermitComeInTheirOrder(t trial) {
	const waiting = 50
	var atOnce, most atomic.Int64
	order, leave := make(chan byte, waiting+1), make(chan struct{})
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{unary: func(_ context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		most.Store(max(most.Load(), atOnce.Add(1)))
		defer atOnce.Add(-1)
		order <- r.GetValue()[0]
		<-leave
		return r, nil
	}}))}
	sub.Gate = gate.New(gate.Config{Limits: gate.Limits{Concurrency: 1, Queue: waiting}}, observer{sub})
	h := startHost(t, Options{}, sub)
	var calling sync.WaitGroup
	call := func(i int) {
		calling.Go(func() {
			if got, err := h.call(t.Context(), []byte{byte(i)}); err != nil || got[0] != byte(i) {
				t.Errorf("call %d: got %v, %v", i, got, err)
			}
		})
	}
	call(0)
	if got := <-order; got != 0 {
		t.Errorf("call %d came first", got)
	}
	for i := range waiting {
		call(i + 1)
		eventually(t, "it waits", func() bool { return sub.Gate.Queued() == i+1 })
	}
	if _, err := h.call(t.Context(), []byte{99}); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("one too many: got %v", err)
	}
	close(leave)
	for i := range waiting {
		if got := <-order; got != byte(i+1) {
			t.Errorf("call %d came in the place of %d", got, i+1)
		}
	}
	calling.Wait()
	if most.Load() != 1 {
		t.Errorf("%d calls at once, limit 1", most.Load())
	}
}

func TestCallsThatWaitForTokensGetAsManyAsThereAre(t *testing.T) {
	overEach(t, callsThatWaitForTokensGetAsManyAsThereAre)
}

func callsThatWaitForTokensGetAsManyAsThereAre(t trial) {
	const burst, calls, apart = 5, 20, 10 * time.Millisecond
	var mu sync.Mutex
	var starts []time.Time
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{unary: func(_ context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		mu.Lock()
		defer mu.Unlock()
		starts = append(starts, time.Now())
		return r, nil
	}}))}
	sub.Gate = gate.New(gate.Config{Rates: []gate.Rate{{
		Name: "r", Quota: gate.Quota{Events: 100, Per: time.Second, Burst: burst}, Wait: 10 * time.Second,
	}}}, observer{sub})
	h := startHost(t, Options{}, sub)
	began := time.Now()
	var calling sync.WaitGroup
	for range calls {
		calling.Go(func() {
			if _, err := h.call(t.Context(), []byte("x")); err != nil {
				t.Error(err)
			}
		})
	}
	calling.Wait()
	if len(starts) != calls {
		t.Errorf("%d calls came of %d", len(starts), calls)
	}
	if least := (calls - burst) * apart; starts[len(starts)-1].Sub(began) < least { // a token cannot be had early
		t.Errorf("all came within %v, allowed is %v", starts[len(starts)-1].Sub(began), least)
	}
}

func TestACallWaitsForAnInstanceAndItsCallerMayGiveUp(t *testing.T) {
	overEach(t, aCallWaitsForAnInstanceAndItsCallerMayGiveUp)
}

func aCallWaitsForAnInstanceAndItsCallerMayGiveUp(t trial) {
	i := serveEcho(t, echo{})
	ready := make(chan struct{})
	sub := &Subsystem{Name: "echo", Instances: acquire(func(ctx context.Context) (Instance, error) {
		select {
		case <-ready:
			return i.lend(), nil
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	})}
	sub.Gate = gate.New(gate.Config{Limits: gate.Limits{Concurrency: 10}}, observer{sub})
	h := startHost(t, Options{}, sub)
	ctx, cancel := context.WithCancel(t.Context())
	var given, waiting sync.WaitGroup
	for range 5 {
		given.Go(func() {
			if _, err := h.call(ctx, nil); status.Code(err) != codes.Canceled {
				t.Errorf("got %v", err)
			}
		})
		waiting.Go(func() {
			if got, err := h.call(t.Context(), []byte("x")); err != nil || string(got) != "x" {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	eventually(t, "all wait", func() bool { return sub.Gate.InFlight() == 10 })
	cancel()
	given.Wait()
	eventually(t, "their permits are free", func() bool { return sub.Gate.InFlight() == 5 })
	close(ready)
	waiting.Wait()
}

func TestAStreamsMethodIsUnimplementedByTheLink(t *testing.T) {
	h := echoHost(overLink(t), echo{})
	err := openLink(t, h.address).Invoke(t.Context(), bothMethod, wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
	if st := status.Convert(err); st.Code() != codes.Unimplemented || !strings.Contains(st.Message(), "is a stream; it needs gRPC") {
		t.Errorf("got %v", err)
	}
}

func TestALinkThatTheHostClosedIsALostConnection(t *testing.T) {
	alive := &instance{exited: make(chan struct{}), generation: 7, link: serveBounce(t)}
	dead := &instance{exited: make(chan struct{}), exit: "exit code 1", generation: 7, link: serveBounce(t)}
	close(dead.exited)
	closed, refused := status.Error(codes.Canceled, "closing"), status.Error(codes.Unavailable, "draining")
	if err := dead.link.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		given    string
		instance *instance
		reach    link.Reach
		err      error
		want     gate.Reach
		message  string
	}{
		{"lost", alive, link.Lost, closed, gate.Lost, "the connection to instance 7 was closed"},
		{"lost, and the process has ended", dead, link.Lost, closed, gate.Lost, "instance 7 exited during the call: exit code 1"},
		{"not begun, and the process has ended", dead, link.Unreached, closed, gate.Unreached, "instance 7 exited during the call: exit code 1"},
		{"refused", alive, link.Unreached, refused, gate.Unreached, "draining"},
		{"the plugin's own word", alive, link.Answered, refused, gate.Answered, "draining"},
		{"given up", alive, link.GivenUp, closed, gate.Answered, "closing"},
	} {
		reach, err := linkReach(t.Context(), c.instance, c.reach, c.err)
		if st := status.Convert(err); reach != c.want || st.Message() != c.message || c.want != gate.Answered && st.Code() != codes.Unavailable {
			t.Errorf("%s: got reach %d and %v, want %d and %q", c.given, reach, err, c.want, c.message)
		}
	}
}

func TestMoreMetadataThanALinkTakesGoesOverGRPC(t *testing.T) {
	overEach(t, moreMetadataThanALinkTakesGoesOverGRPC)
}

func moreMetadataThanALinkTakesGoesOverGRPC(t trial) {
	got := make(chan int, 1)
	h := echoHost(t, echo{unary: func(ctx context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		md, _ := metadata.FromIncomingContext(ctx)
		got <- len(strings.Join(md.Get("k"), ""))
		return r, nil
	}})
	const size = 20 << 10
	ctx := metadata.AppendToOutgoingContext(t.Context(), "k", strings.Repeat("x", size))
	if _, err := h.call(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != size {
		t.Errorf("%d bytes of %d arrived", n, size)
	}
}

package gateway

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/sdk/link"
)

// next is Instances of a first instance, and of a second one for calls that
// were lost on the first.
type next struct{ first, second *instance }

func (n next) Acquire(_ context.Context, lost uint64) (Instance, error) {
	if lost == n.first.generation {
		return n.second.lend(), nil
	}
	return n.first.lend(), nil
}

func (n next) TryAcquire() Instance { return n.first.lend() }

// hang is a handler that says when it was entered and when it was left.
type hang struct {
	entered, left chan struct{}
	stay          chan struct{} // nil: it leaves when it is cancelled
}

func newHang() hang {
	return hang{entered: make(chan struct{}, 1<<15), left: make(chan struct{}, 1<<15)}
}

func (h hang) unary(ctx context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	if string(r.GetValue()) == "quick" {
		return r, nil
	}
	h.entered <- struct{}{}
	defer func() { h.left <- struct{}{} }()
	if h.stay != nil {
		<-h.stay
		return r, nil
	}
	<-ctx.Done()
	return nil, ctx.Err()
}

func receiveN(n int, ch <-chan struct{}) {
	for range n {
		<-ch
	}
}

const many = 1000 // calls in flight

// startMany makes many calls, of which every other one is idempotent, and
// returns how they end.
func startMany(t testing.TB, l *link.Conn) <-chan ending {
	t.Helper()
	ends := make(chan ending, 2*many)
	for i := range many {
		payload := "" // idempotent: see retriedEcho
		if i%2 == 1 {
			payload = "x"
		}
		r := &once{idempotent: payload == "", ends: ends}
		if err := l.Start(echoRequest(t, payload), r, nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	return ends
}

type ending struct {
	idempotent bool
	err        error
	again      bool // it was told twice
}

type once struct {
	idempotent bool
	told       atomic.Bool
	ends       chan ending
}

func (o *once) Receive(a *link.Answer) {
	o.ends <- ending{o.idempotent, a.Err(), o.told.Swap(true)}
}

func TestWhenAnInstancesLinkBreaksIdempotentCallsAreRepeated(t *testing.T) {
	for _, exits := range []bool{true, false} {
		t.Run(fmt.Sprintf("exits=%t", exits), func(t *testing.T) {
			h := newHang()
			first := serveEcho(overLink(t), echo{unary: h.unary})
			second := serveEcho(overLink(t), echo{})
			second.generation, first.exit = 2, "exit code 3"
			sub := &Subsystem{Name: "echo", Instances: next{first, second}}
			sub.Gate = gate.New(gate.Config{Limits: gate.Limits{Concurrency: many}, Retry: gate.Retry{Attempts: 2}}, observer{sub})
			host := startHost(t, Options{}, sub)
			host.registry.Set("echo", describeUnary(t, idempotentIf("")), sub)
			ends := startMany(t, openLink(t, host.address))
			receiveN(many, h.entered)
			want := "echo: link: the connection has ended"
			if exits {
				close(first.exited)
				want = "echo: instance 1 exited during the call: exit code 3"
			}
			_ = first.socket.Close()
			for range many {
				e := <-ends
				switch st := status.Convert(e.err); {
				case e.again:
					t.Fatal("a call ended twice")
				case e.idempotent && e.err != nil:
					t.Fatalf("an idempotent call: %v", e.err)
				case !e.idempotent && (st.Code() != codes.Unavailable || !strings.HasPrefix(st.Message(), want)):
					t.Fatalf("a call: %v, want %s", e.err, want)
				}
			}
			receiveN(many, h.left) // nobody waits for them
			if got := host.metric("gaia_retries_total", "subsystem", "echo"); got != many/2 {
				t.Errorf("%v calls were repeated, want %d", got, many/2)
			}
			eventually(t, "the instances are given back", func() bool { return first.lent.Load() == 0 && second.lent.Load() == 0 })
			if exits {
				return
			}
			// The process lives: it takes calls by gRPC from now on.
			if got, err := host.call(t.Context(), []byte("quick")); err != nil || string(got) != "quick" {
				t.Errorf("after the link broke: got %q, %v", got, err)
			}
		})
	}
}

func TestACallersConnectionThatEndsTakesItsCallsAlong(t *testing.T) {
	for _, way := range []transport{byLink, byGRPC} {
		t.Run(string(way), func(t *testing.T) {
			h := newHang()
			i := serveEcho(trial{t, ways{byLink, way}}, echo{unary: h.unary})
			sub := &Subsystem{Name: "echo", Instances: always(i), Gate: gate.New(gate.Config{Limits: gate.Limits{Concurrency: many}}, nil)}
			host := startHost(t, Options{}, sub)
			caller := openLink(t, host.address)
			ends := startMany(t, caller)
			if way == byLink {
				receiveN(many, h.entered)
			} else {
				receiveN(100, h.entered) // gRPC has a bound of streams
			}
			_ = caller.Close()
			for range many {
				if e := <-ends; status.Code(e.err) != codes.Canceled || e.again {
					t.Fatalf("got %v, a second time: %t", e.err, e.again)
				}
			}
			eventually(t, "the permits are free", func() bool { return sub.Gate.InFlight() == 0 && i.lent.Load() == 0 })
			eventually(t, "the handlers have returned", func() bool { return len(h.entered) == 0 || len(h.left) >= len(h.entered) })
			eventually(t, "all are counted", func() bool { return host.metric("gaia_calls_total", "code", "Canceled") == many })
		})
	}
}

func TestAPermitIsFreeWhenItsCallerHasGivenUp(t *testing.T) {
	overEach(t, aPermitIsFreeWhenItsCallerHasGivenUp)
}

func aPermitIsFreeWhenItsCallerHasGivenUp(t trial) {
	h := newHang()
	h.stay = make(chan struct{})
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{unary: h.unary})), Gate: gate.New(gate.Config{Limits: gate.Limits{Concurrency: 1}}, nil)}
	host := startHost(t, Options{}, sub)
	for range 20 { // though all of the handlers go on
		ctx, cancel := context.WithCancel(t.Context())
		var calling sync.WaitGroup
		calling.Go(func() {
			if _, err := host.call(ctx, nil); status.Code(err) != codes.Canceled {
				t.Errorf("got %v", err)
			}
		})
		<-h.entered
		cancel()
		calling.Wait()
		eventually(t, "the permit is free", func() bool { return sub.Gate.InFlight() == 0 })
	}
	close(h.stay)
	receiveN(20, h.left)
}

func TestACallThatADrainingInstanceRefusesIsRepeatedElsewhere(t *testing.T) {
	overEach(t, aCallThatADrainingInstanceRefusesIsRepeatedElsewhere)
}

func aCallThatADrainingInstanceRefusesIsRepeatedElsewhere(t trial) {
	draining, err := status.New(codes.Unavailable, "draining").WithDetails(&errdetails.ErrorInfo{Domain: "gaia", Reason: "DRAINING"})
	if err != nil {
		t.Fatal(err)
	}
	first := serveEcho(t, echo{unary: func(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		return nil, draining.Err()
	}})
	second := serveEcho(t, echo{})
	second.generation = 2
	sub := &Subsystem{Name: "echo", Instances: next{first, second}, Gate: gate.New(gate.Config{Retry: gate.Retry{Attempts: 2}}, nil)}
	h := startHost(t, Options{}, sub)
	for range 100 {
		if got, err := h.call(t.Context(), []byte("x")); err != nil || string(got) != "x" { // though it is not idempotent
			t.Fatalf("got %q, %v", got, err)
		}
	}
	eventually(t, "the instances are given back", func() bool { return first.lent.Load() == 0 && second.lent.Load() == 0 })
}

func TestALargeAnswerWhoseInstanceDiesIsAnsweredByTheNext(t *testing.T) {
	e, large := largeEcho()
	for _, idempotent := range []bool{true, false} {
		t.Run(fmt.Sprintf("idempotent=%t", idempotent), func(t *testing.T) {
			first, second := serveEcho(overLink(t), e), serveEcho(overLink(t), e)
			second.generation, first.exit = 2, "exit code 3"
			close(first.exited)

			sub := &Subsystem{Name: "echo", Instances: next{first, second}, Gate: gate.New(gate.Config{Retry: gate.Retry{Attempts: 2}}, nil)}
			h := startHost(t, Options{}, sub)
			if idempotent {
				h.registry.Set("echo", describeUnary(t, idempotentIf("large")), sub)
			}
			r := newSlowReader(t, openLink(t, h.address), "large")
			got := r.unpaid()      // it is in the middle of it
			_ = first.link.Close() // as the supervisor does
			got, code := r.rest(got)
			if want := map[bool]codes.Code{true: codes.OK, false: codes.Unavailable}[idempotent]; code != want {
				t.Errorf("ended with %v, want %v", code, want)
			}
			if idempotent && !bytes.HasSuffix(got, large) {
				t.Errorf("%d bytes of %d came", len(got), len(large))
			}
		})
	}
}

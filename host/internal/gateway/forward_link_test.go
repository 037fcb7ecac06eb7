package gateway

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"

	optionsv1 "github.com/gaia-go/gaia/proto/gaia/options/v1"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/sdk/link"
)

// wholeGate has a policy of each kind, none of which turns a call away.
func wholeGate() gate.Config {
	much := gate.Quota{Events: 1_000_000_000, Per: time.Second, Burst: 1_000_000}
	return gate.Config{
		Limits:   gate.Limits{Timeout: time.Minute, Concurrency: 1000, Queue: 10},
		Rates:    []gate.Rate{{Name: "global", Quota: much}, {Name: "a", Key: "a", Quota: much}},
		Breakers: []gate.Breaker{{Failures: 10, Within: 10 * time.Second, OpenFor: 5 * time.Second}},
		Retry:    gate.Retry{Attempts: 3, Budget: 0.1},
	}
}

// bounce is an instance that answers on its reader, without decoding.
type bounce struct{}

func (bounce) Serve(c *link.Call, b *link.Batch) {
	c.Answer(&link.Answer{Payload: c.Payload(), Batch: b})
}

// serveBounce serves one connection of the link in this process.
func serveBounce(tb testing.TB) *link.Conn {
	tb.Helper()
	lis, address := listen(tb)
	ctx, stop := context.WithCancel(context.WithoutCancel(tb.Context()))
	served := make(chan error, 1)
	s := link.NewServer(link.ServerOptions{Logger: hclog.NewNullLogger(), Handler: bounce{}})
	go func() { served <- s.Serve(ctx, lis) }()
	l := openLink(tb, address)
	tb.Cleanup(func() {
		stop()
		if err := <-served; err != nil {
			tb.Error(err)
		}
	})
	return l
}

// bounceHost is a host with a whole gate before such an instance, and a caller's
// connection to it.
func bounceHost(tb testing.TB) *link.Conn {
	tb.Helper()
	i := serveEcho(tb, echo{})
	i.link = serveBounce(tb)
	sub := &Subsystem{Name: "echo", Instances: always(i)}
	sub.Gate = gate.New(wholeGate(), observer{sub})
	h := startHost(tb, Options{}, sub)
	h.registry.Set("echo", describeUnary(tb, &optionsv1.Call{Key: []*optionsv1.Key{{Name: "a", Field: "value"}}}), sub)
	return openLink(tb, h.address)
}

// relay is a caller that makes the next call when one is answered.
type relay struct {
	conn    *link.Conn
	request link.Request
	left    atomic.Int64 // calls to begin
	flying  atomic.Int64
	failed  atomic.Int64
	done    chan struct{}
}

// Receive implements link.Receiver.
func (r *relay) Receive(a *link.Answer) {
	if a.Code != codes.OK {
		r.failed.Add(1)
	}
	if r.left.Add(-1) >= 0 && r.conn.Start(&r.request, r, nil, a.Batch) == nil {
		return
	}
	if r.flying.Add(-1) == 0 {
		close(r.done)
	}
}

// run makes calls, so many of them at the same time.
func (r *relay) run(tb testing.TB, calls, atOnce int) {
	tb.Helper()
	r.done = make(chan struct{})
	r.left.Store(int64(calls - atOnce))
	r.flying.Store(int64(atOnce))
	for range atOnce {
		if err := r.conn.Start(&r.request, r, nil, nil); err != nil {
			tb.Fatal(err)
		}
	}
	<-r.done
	if n := r.failed.Load(); n > 0 {
		tb.Fatalf("%d calls failed", n)
	}
}

const relayed = 64 // calls at once

// requests are what a caller may send beside a message.
func requests(tb testing.TB) map[string]link.Request {
	tb.Helper()
	message, err := proto.Marshal(wrapperspb.Bytes(make([]byte, 64)))
	if err != nil {
		tb.Fatal(err)
	}
	bare := link.Request{Method: unaryMethod, Payload: message}
	dressed := bare
	dressed.Timeout = time.Minute
	dressed.Metadata = link.AppendPair(nil, "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	dressed.Metadata = link.AppendPair(dressed.Metadata, "gaia-subsystem", "echo")
	return map[string]link.Request{"bare": bare, "metadata": dressed}
}

// BenchmarkLinkForward is a call from a caller through the whole gate to an
// instance and back, all in this process.
func BenchmarkLinkForward(b *testing.B) {
	for name, request := range requests(b) {
		b.Run(name, func(b *testing.B) {
			r := &relay{conn: bounceHost(b), request: request}
			r.run(b, 10*relayed, relayed)
			b.ReportAllocs()
			b.ResetTimer()
			r.run(b, max(b.N, relayed), relayed)
		})
	}
}

func TestACallThatIsForwardedAllocatesNothing(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const calls = 200_000
	for name, request := range requests(t) {
		t.Run(name, func(t *testing.T) {
			r := &relay{conn: bounceHost(t), request: request}
			r.run(t, calls/10, relayed)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r.run(t, calls, relayed)
			runtime.ReadMemStats(&after)
			if n := float64(after.Mallocs-before.Mallocs) / calls; n > 0.01 {
				t.Errorf("%.3f allocations per call, want at most 0.01", n)
			}
		})
	}
}

package gateway

import (
	"context"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/sdk/link"
)

func TestNothingIsLostInAStorm(t *testing.T) { storm(t, 10_000) }

func TestSlowNothingIsLostInAStorm(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("a million calls; GAIA_SLOW=1 makes them")
	}
	storm(t, 1_000_000)
}

// storm makes calls that are cancelled, run out of time, fail and are large, of
// callers some of whom vanish, to instances whose links break. Each call ends
// once for its caller and is counted once, and nothing is left.
func storm(t *testing.T, calls int) {
	t.Helper()
	before := descriptors()
	t.Run("calls", func(t *testing.T) {
		f := newFleet(t)
		sub := func(name string) *Subsystem {
			s := &Subsystem{Name: name, Instances: f}
			config := wholeGate()
			config.Limits.Timeout = 500 * time.Millisecond
			config.Limits.Queue = 1000
			config.Breakers = nil // there are failures enough for any
			s.Gate = gate.New(config, observer{s})
			return s
		}
		steady, fickle := sub("steady"), sub("fickle")
		h := startHost(t, Options{}, steady, fickle)
		for _, s := range []*Subsystem{steady, fickle} {
			h.registry.Set(s.Name, describeUnary(t, idempotentIf("", "x")), s)
		}
		ctx, stop := context.WithCancel(t.Context())
		var weather, callers sync.WaitGroup
		weather.Go(func() { f.breakLinks(ctx) })
		var begun atomic.Int64
		for seed := range uint64(4) {
			weather.Go(func() { vanish(ctx, t, h, seed, &begun) })
			callers.Go(func() {
				s := newSender(t, openLink(t, h.address), "steady", seed, calls/4)
				s.run(20)
			})
		}
		callers.Wait()
		stop()
		weather.Wait()
		checkNothingIsHeld(t, []*Subsystem{steady, fickle})
		eventually(t, "all instances are given back", func() bool { return f.lent.Load() == 0 })
		if got := h.metric("gaia_calls_total", "subsystem", "steady"); got != float64(calls/4*4) {
			t.Errorf("%v calls were counted, %d were made", got, calls)
		}
		if got := h.metric("gaia_calls_total", "subsystem", "fickle"); got > float64(begun.Load()) {
			t.Errorf("%v calls were counted, at most %d were made", got, begun.Load())
		}
		if ok := h.metric("gaia_calls_total", "code", "OK"); ok < float64(calls)/10 {
			t.Errorf("only %v calls of %d came to something", ok, calls)
		}
	})
	eventually(t, "all descriptors are closed", func() bool { return descriptors() <= before })
}

// descriptors is how many this process has, 0 where that cannot be told.
func descriptors() int {
	all, _ := os.ReadDir("/proc/self/fd")
	return len(all)
}

// fleet is Instances whose links break.
type fleet struct {
	tb      testing.TB
	address string // of the link
	current atomic.Pointer[instance]
	lent    *atomic.Int64 // of all generations
}

// fleetInstance is lent by a fleet.
type fleetInstance struct {
	*instance

	lent *atomic.Int64
}

func (i fleetInstance) Release() { i.lent.Add(-1) }

func newFleet(t *testing.T) *fleet {
	t.Helper()
	first := serveEcho(overLink(t), echo{unary: stormy})
	f := &fleet{tb: t, address: "unix:" + first.socket.RemoteAddr().String(), lent: new(atomic.Int64)}
	f.current.Store(first)
	return f
}

// stormy does what it is asked to.
func stormy(ctx context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
	switch string(r.GetValue()) {
	case "wait":
		timer := time.NewTimer(5 * time.Millisecond)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	case "hang":
		<-ctx.Done()
		return nil, ctx.Err()
	case "fail":
		return nil, status.Error(codes.FailedPrecondition, "no")
	case "large":
		return wrapperspb.Bytes(make([]byte, 150<<10)), nil
	}
	return r, nil
}

func (f *fleet) lend() Instance {
	f.lent.Add(1)
	return fleetInstance{f.current.Load(), f.lent}
}

func (f *fleet) Acquire(context.Context, uint64) (Instance, error) { return f.lend(), nil }
func (f *fleet) TryAcquire() Instance                              { return f.lend() }

// breakLinks breaks the link of one instance after the other.
func (f *fleet) breakLinks(ctx context.Context) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for generation := uint64(2); ; generation++ {
		select {
		case <-ctx.Done():
			_ = f.current.Load().link.Close()
			return
		case <-tick.C:
		}
		old := f.current.Load()
		l, socket := briefLink(f.tb, f.address)
		f.current.Store(&instance{ClientConn: old.ClientConn, link: l, socket: socket, exited: old.exited, generation: generation})
		if generation%2 == 0 {
			_ = old.socket.Close()
		} else {
			_ = old.link.Close()
		}
	}
}

// briefLink is a link that its opener closes: the test does not keep thousands of
// them to its end.
func briefLink(tb testing.TB, address string) (*link.Conn, net.Conn) {
	tb.Helper()
	socket, err := new(net.Dialer).DialContext(tb.Context(), "unix", strings.TrimPrefix(address, "unix:"))
	if err != nil {
		tb.Fatal(err)
	}
	l, err := link.Open(tb.Context(), socket)
	if err != nil {
		tb.Fatal(err)
	}
	return l, socket
}

// vanish is callers who come, call, and are gone.
func vanish(ctx context.Context, t *testing.T, h *host, seed uint64, begun *atomic.Int64) {
	t.Helper()
	random := rand.New(rand.NewPCG(seed, 2))
	for ctx.Err() == nil {
		const each = 200
		l, _ := briefLink(t, h.address)
		s := newSender(t, l, "fickle", seed, each)
		timer := time.AfterFunc(time.Duration(random.IntN(10_000))*time.Microsecond, func() { _ = l.Close() })
		s.run(20)
		timer.Stop()
		_ = l.Close()
		begun.Add(each)
	}
}

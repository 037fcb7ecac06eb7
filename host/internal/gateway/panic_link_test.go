package gateway

import (
	"context"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/gate"
)

// slippery is an instance that panics when it is given back for the first time,
// which on the straight way is on the reader of its link.
type slippery struct {
	*instance

	slipped atomic.Bool
}

func (s *slippery) Release() {
	if !s.slipped.Swap(true) {
		panic("boom")
	}
}

func (s *slippery) Acquire(context.Context, uint64) (Instance, error) { return s, nil }
func (s *slippery) TryAcquire() Instance                              { return s }

func TestAPanicOnTheWayBackIsOneCallsErrorOnly(t *testing.T) {
	s := &slippery{instance: serveEcho(overLink(t), echo{})}
	sub := &Subsystem{Name: "echo", Instances: s, Gate: gate.New(gate.Config{Limits: gate.Limits{Concurrency: 1}}, nil)}
	h := startHost(overLink(t), Options{}, sub)
	if _, err := h.call(t.Context(), []byte("x")); status.Code(err) != codes.Internal || strings.Contains(err.Error(), "boom") {
		t.Errorf("got %v", err)
	}
	for range 10 {
		if got, err := h.call(t.Context(), []byte("x")); err != nil || string(got) != "x" {
			t.Errorf("after the panic: got %q, %v", got, err)
		}
	}
	if !s.link.Usable() || strings.Count(h.log.String(), "panic in a call") != 1 {
		t.Errorf("the link is usable: %t; the log: %s", s.link.Usable(), h.log)
	}
}

func TestSlowAPeerThatDoesNotGreetIsSentAway(t *testing.T) {
	if os.Getenv("GAIA_SLOW") == "" {
		t.Skip("takes ten seconds; GAIA_SLOW=1 waits for them")
	}
	h := echoHost(overLink(t), echo{})
	stop := wellBehaved(t, h)
	defer stop()
	began := time.Now()
	half, nothing := dialSocket(t, h.address), dialSocket(t, h.address)
	if _, err := half.Write(hello()[:10]); err != nil {
		t.Fatal(err)
	}
	for _, peer := range []io.Reader{half, nothing} {
		if _, err := io.Copy(io.Discard, peer); err != nil {
			t.Error(err)
		}
	}
	if !strings.Contains(h.log.String(), "peer cut off") || !strings.Contains(h.log.String(), "i/o timeout") {
		t.Errorf("the log says %s", h.log)
	}
	t.Logf("both are gone after %v", time.Since(began))
}

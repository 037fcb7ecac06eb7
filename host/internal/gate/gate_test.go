package gate

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// recorder is a policy that writes down what it is asked and told.
type recorder struct {
	name  string
	log   *[]string
	admit error
}

func (r recorder) Admit(context.Context, *Call) error {
	*r.log = append(*r.log, "admit "+r.name)
	return r.admit
}

func (r recorder) Done(_ *Call, code codes.Code) {
	*r.log = append(*r.log, "done "+r.name+" "+code.String())
}

// recorded is a gate of recorders, one a name; the policy named fails rejects.
func recorded(fails string, reason error, names ...string) (g *Gate, log *[]string) {
	log = new([]string)
	g = &Gate{rejected: func(policy string) { *log = append(*log, "rejected "+policy) }}
	for _, name := range names {
		r := recorder{name: name, log: log}
		if name == fails {
			r.admit = reason
		}
		g.steps = append(g.steps, step{name, r})
	}
	return g, log
}

func TestPoliciesAreAskedInOrderAndToldInReverse(t *testing.T) {
	for _, c := range []struct {
		given   string
		forward error
		code    string
	}{
		{"success", nil, "OK"},
		{"an error", status.Error(codes.NotFound, "gone"), "NotFound"},
		{"an error without a code", errors.New("?"), "Unknown"},
	} {
		t.Run(c.given, func(t *testing.T) {
			g, log := recorded("", nil, "a", "b")
			err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) error {
				*log = append(*log, "forward")
				return c.forward
			})
			if !errors.Is(err, c.forward) {
				t.Errorf("got %v, want %v", err, c.forward)
			}
			want := []string{"admit a", "admit b", "forward", "done b " + c.code, "done a " + c.code}
			if diff := cmp.Diff(want, *log); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestARejectedCallIsNotForwardedAndOnlyThePoliciesBeforeAreTold(t *testing.T) {
	full := status.Error(codes.ResourceExhausted, "full")
	g, log := recorded("b", full, "a", "b", "c")
	err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) error {
		t.Error("forwarded")
		return nil
	})
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"admit a", "admit b", "rejected b", "done a ResourceExhausted"}, *log); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestACallerWhoGivesUpIsNotCountedAsRejected(t *testing.T) {
	g, log := recorded("a", status.Error(codes.Canceled, "gave up"), "a")
	if err := g.Do(t.Context(), &Call{}, nil); status.Code(err) != codes.Canceled {
		t.Errorf("got %v", err)
	}
	if slices.Contains(*log, "rejected a") {
		t.Errorf("log %q", *log)
	}
}

func TestAPanicInForwardReleasesWhatWasTaken(t *testing.T) {
	g := New(Limits{Concurrency: 1}, nil)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = g.Do(t.Context(), &Call{}, func(context.Context, *Call) error { panic("boom") })
	}()
	if g.InFlight() != 0 {
		t.Errorf("%d in flight", g.InFlight())
	}
}

func TestTheDeadlineIsTheEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		for _, c := range []struct {
			given           string
			timeout, caller time.Duration // 0: none
			stream          bool
			want            time.Duration // 0: none
		}{
			{"nothing set", 0, 0, false, 0},
			{"default", 30 * time.Second, 0, false, 30 * time.Second},
			{"caller is sooner", 30 * time.Second, time.Second, false, time.Second},
			{"ceiling is sooner", 30 * time.Second, time.Minute, false, 30 * time.Second},
			{"no ceiling", 0, time.Minute, false, time.Minute},
			{"stream without a deadline", 30 * time.Second, 0, true, 0},
			{"stream with a deadline", 30 * time.Second, time.Minute, true, time.Minute},
		} {
			g := New(Limits{Timeout: c.timeout}, nil)
			ctx := t.Context()
			if c.caller > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.caller)
				defer cancel()
			}
			err := g.Do(ctx, &Call{Stream: c.stream}, func(ctx context.Context, call *Call) error {
				var got time.Duration
				if !call.Deadline.IsZero() {
					got = call.Deadline.Sub(start)
				}
				if got != c.want {
					t.Errorf("%s: deadline after %v, want %v", c.given, got, c.want)
				}
				bounded, cancel := call.Context(ctx)
				defer cancel()
				if at, ok := bounded.Deadline(); ok != (c.want > 0) || ok && at.Sub(start) != c.want {
					t.Errorf("%s: context ends at %v, %t", c.given, at, ok)
				}
				return nil
			})
			if err != nil {
				t.Errorf("%s: %v", c.given, err)
			}
		}
	})
}

func TestAnExpiryAtTheCeilingNamesTheSetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Limits{Timeout: 2 * time.Second}, nil)
		wait := func(ctx context.Context, c *Call) error {
			ctx, cancel := c.Context(ctx)
			defer cancel()
			<-ctx.Done()
			return status.FromContextError(ctx.Err()).Err()
		}
		err := g.Do(t.Context(), &Call{}, wait)
		if status.Code(err) != codes.DeadlineExceeded || !strings.Contains(err.Error(), "(limits.timeout is 2s)") {
			t.Errorf("got %v", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err = g.Do(ctx, &Call{}, wait)
		if status.Code(err) != codes.DeadlineExceeded || strings.Contains(err.Error(), "limits.timeout") {
			t.Errorf("the caller's own deadline: got %v", err)
		}
	})
}

func TestACallThatIsAlreadyOverIsNotForwarded(t *testing.T) {
	forward := func(context.Context, *Call) error {
		t.Error("forwarded")
		return nil
	}
	var rejected []string
	g := New(Limits{Timeout: time.Second, Concurrency: 1}, func(p string) { rejected = append(rejected, p) })
	err := g.Do(t.Context(), &Call{Start: time.Now().Add(-2 * time.Second)}, forward)
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("expired: got %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Do(cancelled, &Call{}, forward); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: got %v", err)
	}
	if diff := cmp.Diff([]string{PolicyDeadline}, rejected); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
}

func TestAGateWithoutLimitsLetsEverythingPass(t *testing.T) {
	g := New(Limits{}, nil)
	if err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) error {
		if g.InFlight() != 1 {
			t.Errorf("%d in flight during the call", g.InFlight())
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	if g.InFlight() != 0 || g.Queued() != 0 {
		t.Errorf("%d in flight, %d queued", g.InFlight(), g.Queued())
	}
}

func TestAnUncontendedCallAllocatesNothing(t *testing.T) {
	g := New(Limits{Timeout: time.Minute, Concurrency: 10, Queue: 10}, nil)
	ctx, c := t.Context(), &Call{}
	forward := func(context.Context, *Call) error { return nil }
	if n := testing.AllocsPerRun(1000, func() {
		*c = Call{}
		if err := g.Do(ctx, c, forward); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkGate(b *testing.B) {
	g := New(Limits{Timeout: time.Minute, Concurrency: 1000, Queue: 10}, nil)
	forward := func(context.Context, *Call) error { return nil }
	b.Run("one", func(b *testing.B) {
		ctx, c := b.Context(), &Call{}
		b.ReportAllocs()
		for b.Loop() {
			*c = Call{}
			if err := g.Do(ctx, c, forward); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			ctx, c := b.Context(), &Call{}
			for pb.Next() {
				*c = Call{}
				if err := g.Do(ctx, c, forward); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

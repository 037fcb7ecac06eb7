package gate

import (
	"context"
	"errors"
	"fmt"
	"math"
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

func (r recorder) Admit(context.Context, *Call) (Ticket, error) {
	*r.log = append(*r.log, "admit "+r.name)
	return Ticket{number: uint64(len(r.name))}, r.admit
}

func (r recorder) Done(_ *Call, t Ticket, o Outcome) {
	if t.number != uint64(len(r.name)) {
		o = -1 // it is another policy's ticket
	}
	*r.log = append(*r.log, fmt.Sprintf("done %s %d", r.name, o))
}

// counter is an Observer.
type counter struct {
	rejected []string
	retried  int
}

func (c *counter) Rejected(policy string) { c.rejected = append(c.rejected, policy) }
func (c *counter) Retried()               { c.retried++ }

// answer is a forward that returns an error of the plugin.
func answer(err error) Forward {
	return func(context.Context, *Call) Result { return Result{Err: err} }
}

// recorded is a gate of recorders, one a name; the policy named fails rejects.
func recorded(fails string, reason error, names ...string) (g *Gate, log *[]string) {
	log = new([]string)
	g = New(Config{}, logger{log})
	chain := *g.chain.Load()
	chain.steps = nil
	for _, name := range names {
		r := recorder{name: name, log: log}
		if name == fails {
			r.admit = reason
		}
		chain.steps = append(chain.steps, step{name, r})
	}
	g.chain.Store(&chain)
	return g, log
}

// logger is an Observer that writes down rejections.
type logger struct{ log *[]string }

func (l logger) Rejected(policy string) { *l.log = append(*l.log, "rejected "+policy) }
func (logger) Retried()                 {}

func TestPoliciesAreAskedInOrderAndToldInReverse(t *testing.T) {
	for _, c := range []struct {
		given   string
		forward error
		outcome Outcome
	}{
		{"success", nil, Success},
		{"an error of the caller's", status.Error(codes.NotFound, "gone"), Success},
		{"an error of the plugin's", status.Error(codes.Internal, "broken"), Failure},
		{"an error without a code", errors.New("?"), Failure},
	} {
		t.Run(c.given, func(t *testing.T) {
			g, log := recorded("", nil, "a", "bb")
			err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
				*log = append(*log, "forward")
				return Result{Err: c.forward}
			})
			if !errors.Is(err, c.forward) {
				t.Errorf("got %v, want %v", err, c.forward)
			}
			want := []string{"admit a", "admit bb", "forward", fmt.Sprintf("done bb %d", c.outcome), fmt.Sprintf("done a %d", c.outcome)}
			if diff := cmp.Diff(want, *log); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestARejectedCallIsNotForwardedAndOnlyThePoliciesBeforeAreTold(t *testing.T) {
	full := status.Error(codes.ResourceExhausted, "full")
	g, log := recorded("b", full, "a", "b", "c")
	err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
		t.Error("forwarded")
		return Result{}
	})
	if !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if diff := cmp.Diff([]string{"admit a", "admit b", "rejected b", fmt.Sprintf("done a %d", Neutral)}, *log); diff != "" {
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
	g := New(Config{Limits: Limits{Concurrency: 1}}, nil)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result { panic("boom") })
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
			g := New(Config{Limits: Limits{Timeout: c.timeout}}, nil)
			ctx := t.Context()
			if c.caller > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.caller)
				defer cancel()
			}
			err := g.Do(ctx, &Call{Stream: c.stream}, func(ctx context.Context, call *Call) Result {
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
				return Result{}
			})
			if err != nil {
				t.Errorf("%s: %v", c.given, err)
			}
		}
	})
}

func TestADeadlineMayBeAsFarAsItLikes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{}, nil)
		for range 2 {
			for _, far := range []time.Duration{math.MaxInt64, 2562047 * time.Hour, 100 * 365 * 24 * time.Hour} {
				ctx, cancel := context.WithTimeout(t.Context(), far)
				if err := g.Do(ctx, &Call{}, answered); err != nil {
					t.Errorf("%v: %v", far, err)
				}
				cancel()
			}
			time.Sleep(1000 * time.Hour) //nolint:forbidigo // the bubble's clock does not pass by itself
		}
	})
}

func TestAnExpiryAtTheCeilingNamesTheSetting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := New(Config{Limits: Limits{Timeout: 2 * time.Second}}, nil)
		wait := func(ctx context.Context, c *Call) Result {
			ctx, cancel := c.Context(ctx)
			defer cancel()
			<-ctx.Done()
			return Result{Err: status.FromContextError(ctx.Err()).Err()}
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
	forward := func(context.Context, *Call) Result {
		t.Error("forwarded")
		return Result{}
	}
	observed := &counter{}
	g := New(Config{Limits: Limits{Timeout: time.Second, Concurrency: 1}}, observed)
	err := g.Do(t.Context(), &Call{Start: time.Now().Add(-2 * time.Second)}, forward)
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("expired: got %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Do(cancelled, &Call{}, forward); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: got %v", err)
	}
	if diff := cmp.Diff([]string{PolicyDeadline}, observed.rejected); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
}

func TestAGateWithoutLimitsLetsEverythingPass(t *testing.T) {
	g := New(Config{Limits: Limits{}}, nil)
	if err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
		if g.InFlight() != 1 {
			t.Errorf("%d in flight during the call", g.InFlight())
		}
		return Result{}
	}); err != nil {
		t.Error(err)
	}
	if g.InFlight() != 0 || g.Queued() != 0 {
		t.Errorf("%d in flight, %d queued", g.InFlight(), g.Queued())
	}
}

func TestAnAdmittedCallAllocatesNothing(t *testing.T) {
	c := shipped()
	c.PerKey = []KeyLimit{{Key: "domain", Concurrency: 10, Queue: 10}}
	c.Breakers = append(c.Breakers, Breaker{Key: "domain", Failures: 3, Within: time.Second, OpenFor: time.Second})
	g := New(c, nil)
	ctx, call, keys := t.Context(), &Call{}, domains(1)[0]
	if n := testing.AllocsPerRun(1000, func() {
		*call = Call{Keys: keys}
		if err := g.Do(ctx, call, answered); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

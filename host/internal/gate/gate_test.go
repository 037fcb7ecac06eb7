package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
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
	mark  int64
	waits bool // every call has to
}

// Try returns what it was told to.
func (r recorder) Try(*Call) (t Ticket, passed bool, err error) {
	*r.log = append(*r.log, "try "+r.name)
	return Ticket{mark: r.mark}, r.admit == nil && !r.waits, r.admit
}

// Await lets every call pass.
func (r recorder) Await(context.Context, *Call) (Ticket, error) {
	*r.log = append(*r.log, "await "+r.name)
	return Ticket{mark: r.mark}, nil
}

// Done writes the outcome down.
func (r recorder) Done(_ *Call, t Ticket, o Outcome) {
	*r.log = append(*r.log, fmt.Sprintf("done %s %d %s", r.name, t.mark, []string{"success", "failure", "neutral"}[o]))
}

// logger writes down what an observer is told.
type logger struct{ log *[]string }

// Rejected writes the policy down.
func (l logger) Rejected(policy string) { *l.log = append(*l.log, "rejected "+policy) }

// Retried writes that down.
func (l logger) Retried() { *l.log = append(*l.log, "retried") }

// recorded is a gate of recorders, one a name, which reject with reason if they
// are named fails.
func recorded(fails string, reason error, names ...string) (g *Gate, log *[]string) {
	log = new([]string)
	g = New(Config{}, logger{log})
	ch := g.chain.Load()
	ch.steps = nil
	for i, name := range names {
		r := recorder{name: name, log: log, mark: int64(i)}
		if name == fails {
			r.admit = reason
		}
		ch.steps = append(ch.steps, step{name, r})
	}
	return g, log
}

func TestPoliciesAreAskedInOrderAndToldInReverse(t *testing.T) {
	for _, c := range []struct {
		given   string
		forward error
		outcome string
	}{
		{"success", nil, "success"},
		{"an answer", status.Error(codes.NotFound, "gone"), "success"},
		{"a fault", status.Error(codes.Internal, "broken"), "failure"},
		{"an error without a code", errors.New("?"), "failure"},
		{"a caller who gave up", context.Canceled, "neutral"},
	} {
		t.Run(c.given, func(t *testing.T) {
			g, log := recorded("", nil, "a", "b")
			err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
				*log = append(*log, "forward")
				return Result{Err: c.forward}
			})
			if !errors.Is(err, c.forward) {
				t.Errorf("got %v, want %v", err, c.forward)
			}
			want := []string{"try a", "try b", "forward", "done b 1 " + c.outcome, "done a 0 " + c.outcome}
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
	if diff := cmp.Diff([]string{"try a", "try b", "rejected b", "done a 0 neutral"}, *log); diff != "" {
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

func TestAPanicInForwardReleasesWhatWasTakenAndIsAFailure(t *testing.T) {
	g := New(Config{
		Limits:   Limits{Concurrency: 1},
		PerKey:   []KeyLimit{{Key: "domain", Concurrency: 1}},
		Breakers: []Breaker{{Failures: 1, Within: time.Minute, OpenFor: time.Minute}},
	}, nil)
	func() {
		defer func() {
			if recover() == nil {
				t.Error("the panic was swallowed")
			}
		}()
		_ = g.Do(t.Context(), callFor("x"), func(context.Context, *Call) Result { panic("boom") })
	}()
	if g.InFlight() != 0 {
		t.Errorf("%d in flight", g.InFlight())
	}
	if got := g.Breakers(); got != 2 {
		t.Errorf("the breaker is %d, want open", got)
	}
}

func TestAGateWithoutSettingsLetsEverythingPass(t *testing.T) {
	g := New(Config{}, nil)
	if err := g.Do(t.Context(), &Call{}, func(context.Context, *Call) Result {
		if g.InFlight() != 1 {
			t.Errorf("%d in flight during the call", g.InFlight())
		}
		return Result{}
	}); err != nil {
		t.Error(err)
	}
	if g.InFlight() != 0 || g.Queued() != 0 || g.Breakers() != -1 {
		t.Errorf("%d in flight, %d queued, breakers %d", g.InFlight(), g.Queued(), g.Breakers())
	}
}

// everything is a config with a policy of each kind, with and without a key.
func everything() Config {
	fast := Quota{Events: 1000, Per: time.Second, Burst: 1000}
	return Config{
		Limits:   Limits{Timeout: time.Minute, Concurrency: 10, Queue: 10},
		PerKey:   []KeyLimit{{Key: "domain", Concurrency: 5, Queue: 5}},
		Rates:    []Rate{{Name: "each", Key: "domain", Quota: fast}, {Name: "global", Quota: fast}},
		Breakers: []Breaker{{Key: "domain", Failures: 3, Within: time.Second, OpenFor: time.Second}, {Failures: 3, Within: time.Second, OpenFor: time.Second}},
		Retry:    Retry{Attempts: 3, Budget: 0.1},
	}
}

func TestThePoliciesStandInTheOrderOfTheirPrice(t *testing.T) {
	want := []string{"deadline", "breaker", "breaker.domain", "rate.global", "rate.each", "bulkhead.domain", "bulkhead"}
	if diff := cmp.Diff(want, New(everything(), nil).Policies()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestACallThatIsLetPassAllocatesNothing(t *testing.T) {
	g := New(everything(), nil)
	ctx, c, keys := t.Context(), &Call{}, &one{[]byte("api.example.com")}
	for i := 0; ; i++ {
		n := testing.AllocsPerRun(100, func() {
			*c = Call{Keys: keys}
			if err := g.Do(ctx, c, ok); err != nil {
				t.Fatal(err)
			}
		})
		if n == 0 {
			return
		}
		if i == 3 { // once may be the race detector's doing
			t.Fatalf("%v allocations, want 0", n)
		}
	}
}

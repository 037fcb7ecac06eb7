package gate

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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
	var seen counter
	g := New(Config{Limits: Limits{Timeout: time.Second, Concurrency: 1}}, &seen)
	err := g.Do(t.Context(), &Call{Deadline: time.Now().Add(-time.Second)}, forward)
	if status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("expired: got %v", err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.Do(cancelled, &Call{}, forward); status.Code(err) != codes.Canceled {
		t.Errorf("cancelled: got %v", err)
	}
	if diff := cmp.Diff([]string{PolicyDeadline}, seen.rejected); diff != "" {
		t.Errorf("rejected (-want +got):\n%s", diff)
	}
}

func TestADeadlineInTheFarFutureHasNotPassed(t *testing.T) {
	g := New(everything(), nil)
	for _, deadline := range []time.Time{time.Unix(1<<40, 0), time.Now().AddDate(400, 0, 0)} {
		for _, stream := range []bool{false, true} {
			if err := g.Do(t.Context(), &Call{Deadline: deadline, Stream: stream}, ok); err != nil {
				t.Errorf("%v: %v", deadline, err)
			}
		}
	}
}

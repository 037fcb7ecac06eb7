package supervisor

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/config"
)

// tally is a Meter that counts held calls.
type tally struct{ held int }

func (*tally) Started(string)          {}
func (*tally) StartTook(time.Duration) {}
func (*tally) Serving(uint64)          {}
func (*tally) Exited(string)           {}
func (m *tally) Held()                 { m.held++ }

// standing is a supervisor whose life stands still in a state.
func standing(s Status) (*Supervisor, *tally) {
	m := &tally{}
	sup := New(Options{
		Plan:  NewPlan(&config.Subsystem{Restart: config.Restart{Hold: 2 * time.Second}}),
		Meter: m,
	})
	sup.current.Store(&snapshot{Status: s, changed: make(chan struct{})})
	return sup, m
}

func TestACallIsHeldNoLongerThanItCanHelp(t *testing.T) {
	now := time.Now()
	for name, tt := range map[string]struct {
		status Status
		wait   time.Duration
		held   int
		retry  time.Duration // -1: none
		text   string
	}{
		"starting":             {Status{State: Starting, Reason: "as it is"}, 2 * time.Second, 1, 2 * time.Second, "starting: held for 2s (restart.hold): as it is; retry in 2s"},
		"the first start":      {Status{State: Starting}, 2 * time.Second, 1, 2 * time.Second, "starting: held for 2s (restart.hold): the first instance is not ready yet; retry in 2s"},
		"the loss is not seen": {Status{State: Ready, Generation: 7}, 2 * time.Second, 1, 2 * time.Second, "ready: held for 2s (restart.hold): generation 7 has lost its connection and has not ended; retry in 2s"},
		"backoff, soon over":   {Status{State: Backoff, Reason: "died", NextStart: now.Add(time.Second)}, 2 * time.Second, 1, 2 * time.Second, "backoff: held for 2s (restart.hold): died; retry in 2s"},
		"backoff, too long":    {Status{State: Backoff, Reason: "died", NextStart: now.Add(time.Minute)}, 0, 0, time.Minute, "backoff: the next start is further away than calls are held, 2s (restart.hold): died; retry in 1m0s"},
		"quarantined":          {Status{State: Quarantined, Reason: "too often", NextStart: now.Add(time.Second)}, 0, 0, time.Second, "quarantined: too often; retry in 1s"},
		"failed":               {Status{State: Failed, Reason: "gone"}, 0, 0, -1, "failed: gone"},
		"draining":             {Status{State: Draining, Reason: "the end"}, 0, 0, -1, "draining: the end"},
		"stopped":              {Status{State: Stopped, Reason: "the end"}, 0, 0, -1, "stopped: the end"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if !tt.status.NextStart.IsZero() { // the bubble's clock is not the world's
					tt.status.NextStart = time.Now().Add(tt.status.NextStart.Sub(now))
				}
				s, meter := standing(tt.status)
				began := time.Now()
				_, err := s.Acquire(t.Context(), 0)
				if got := time.Since(began); got != tt.wait {
					t.Errorf("waited %v, want %v", got, tt.wait)
				}
				st := status.Convert(err)
				if st.Code() != codes.Unavailable || st.Message() != tt.text {
					t.Errorf("got %v, want Unavailable %q", err, tt.text)
				}
				retry := time.Duration(-1)
				for _, d := range st.Details() {
					if info, ok := d.(*errdetails.RetryInfo); ok {
						retry = info.GetRetryDelay().AsDuration()
					}
				}
				if retry != tt.retry || meter.held != tt.held {
					t.Errorf("got retry in %v and %d held, want %v and %d", retry, meter.held, tt.retry, tt.held)
				}
			})
		})
	}
}

func TestAHeldCallEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := standing(Status{State: Starting})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		_, err := s.Acquire(ctx, 0)
		if status.Code(err) != codes.DeadlineExceeded || time.Since(began) != time.Second {
			t.Errorf("got %v after %v, want DeadlineExceeded after 1s", err, time.Since(began))
		}
	})
}

func TestAHeldCallSeesEachChangeOfState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := standing(Status{State: Starting})
		go func() {
			for _, next := range []State{Backoff, Starting, Failed} {
				time.Sleep(100 * time.Millisecond) //nolint:forbidigo // the bubble's clock does not pass by itself
				old := s.current.Swap(&snapshot{Status: Status{State: next, NextStart: time.Now()}, changed: make(chan struct{})})
				close(old.changed)
			}
		}()
		began := time.Now()
		_, err := s.Acquire(t.Context(), 0)
		if !strings.HasPrefix(status.Convert(err).Message(), "failed") || time.Since(began) != 300*time.Millisecond {
			t.Errorf("got %v after %v, want failed after 300ms", err, time.Since(began))
		}
	})
}

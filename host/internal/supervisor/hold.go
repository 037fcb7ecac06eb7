package supervisor

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// Acquire lends the ready instance; the caller releases it. While one is being
// started it holds the caller, up to the subsystem's hold time. Errors are gRPC
// statuses: Unavailable with the state and, where waiting helps, RetryInfo; or
// ctx's.
//
// lost is the generation on which the call was lost before, 0 for none: its
// connection is broken, and it will be replaced, though it may be some
// milliseconds until its end is seen.
func (s *Supervisor) Acquire(ctx context.Context, lost uint64) (*Instance, error) {
	view := s.current.Load()
	if view.lend(lost) {
		return view.instance, nil
	}
	return s.hold(ctx, view, lost)
}

// TryAcquire is Acquire for who must not wait; nil if no instance is ready.
func (s *Supervisor) TryAcquire() *Instance {
	if view := s.current.Load(); view.lend(0) {
		return view.instance
	}
	return nil
}

// lend counts a call in, if there is an instance that can take it.
func (s *snapshot) lend(lost uint64) bool {
	return s.instance != nil && s.instance.generation != lost && s.instance.enter()
}

func (s *Supervisor) hold(ctx context.Context, view *snapshot, lost uint64) (*Instance, error) {
	limit := s.config.Load().Restart.Hold
	timer := time.NewTimer(limit)
	defer timer.Stop()
	began, held := time.Now(), false
	for {
		switch {
		case view.lend(lost):
			return view.instance, nil
		case s.leaving.Load() && view.instance != nil: // which has sent the call away
			return nil, status.Error(codes.Unavailable, "the host is stopping")
		case view.State == Failed, view.State == Draining, view.State == Stopped:
			return nil, status.Errorf(codes.Unavailable, "%s: %s", view.State, view.Reason)
		case view.State == Quarantined:
			return nil, unavailable(view.Status, "", time.Until(view.NextStart))
		case view.State == Backoff && view.NextStart.Sub(began) > limit:
			return nil, unavailable(view.Status, fmt.Sprintf("the next start is further away than calls are held, %v (restart.hold): ", limit), time.Until(view.NextStart))
		}
		if !held {
			held = true
			s.options.Meter.Held()
		}
		select {
		case <-view.changed:
			view = s.current.Load()
		case <-timer.C:
			return nil, unavailable(view.Status, fmt.Sprintf("held for %v (restart.hold): ", limit), limit)
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

// unavailable is the answer to a call that waited, or would wait, in vain. held
// says which of both.
func unavailable(s Status, held string, retryIn time.Duration) error {
	retryIn = max(retryIn, 0) // the time has come, and the instance not yet
	st := status.New(codes.Unavailable, fmt.Sprintf("%s: %s%s; retry in %v", s.State, held, s.cause(), retryIn.Round(time.Millisecond)))
	detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryIn)})
	if err != nil {
		return st.Err() // cannot be: the detail is a known message
	}
	return detailed.Err()
}

// cause says why a call is not answered, in any state.
func (s Status) cause() string {
	switch {
	case s.Reason != "":
		return s.Reason
	case s.State == Ready: // but the call was lost on it before
		return fmt.Sprintf("generation %d has lost its connection and has not ended", s.Generation)
	default:
		return "the first instance is not ready yet"
	}
}

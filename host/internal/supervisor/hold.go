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

// Acquire returns the ready instance. While one is being started it holds the
// caller, up to the subsystem's hold time. Errors are gRPC statuses:
// Unavailable with the state and, where waiting helps, RetryInfo; or ctx's.
func (s *Supervisor) Acquire(ctx context.Context) (*Instance, error) {
	view := s.current.Load()
	if view.instance != nil && !view.instance.hasExited() {
		return view.instance, nil
	}
	return s.hold(ctx, view)
}

func (s *Supervisor) hold(ctx context.Context, view *snapshot) (*Instance, error) {
	limit := s.options.Subsystem.Restart.Hold
	timer := time.NewTimer(limit)
	defer timer.Stop()
	began, held := time.Now(), false
	for {
		switch {
		case view.instance != nil && !view.instance.hasExited():
			return view.instance, nil
		case view.State == Failed, view.State == Draining, view.State == Stopped:
			return nil, status.Errorf(codes.Unavailable, "%s: %s", view.State, view.Reason)
		case view.State == Backoff && view.NextStart.Sub(began) > limit:
			return nil, unavailable(view.Status, time.Until(view.NextStart))
		}
		if !held {
			held = true
			s.options.Meter.Held()
		}
		select {
		case <-view.changed:
			view = s.current.Load()
		case <-timer.C:
			return nil, unavailable(view.Status, limit)
		case <-ctx.Done():
			return nil, status.FromContextError(ctx.Err()).Err()
		}
	}
}

// unavailable is the answer to a call that waited, or would wait, in vain.
func unavailable(s Status, retryIn time.Duration) error {
	st := status.New(codes.Unavailable, fmt.Sprintf("%s: %s; retry in %v", s.State, s.Reason, retryIn.Round(time.Millisecond)))
	detailed, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(retryIn)})
	if err != nil {
		return st.Err() // cannot be: the detail is a known message
	}
	return detailed.Err()
}

package gate

import (
	"context"
	"errors"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Forward hands a call to an instance and says what became of it. It may be
// called more than once for a call: see Retry.
type Forward func(ctx context.Context, c *Call) Result

// Result is what became of a call that was forwarded.
type Result struct {
	Err   error // a gRPC status; nil is OK
	Reach Reach

	// Final says that another try would be in vain: the subsystem is
	// quarantined, say, or the time is up for which calls are held, or nobody
	// waits for the answer.
	Final bool

	// UpstreamFailed says of an answer without an error that it reports the
	// failure of what the plugin called in turn.
	UpstreamFailed bool
}

// Reach is how far a call got.
type Reach uint8

const (
	// Answered is a call that the plugin itself ended.
	Answered Reach = iota
	// Unreached is a call that provably never came to the plugin.
	Unreached
	// Lost is a call that the plugin may have had when its process ended or
	// the connection to it broke.
	Lost
)

// Outcome is what the end of a call says of those who served it.
type Outcome uint8

const (
	// Success says that the plugin answered, if only that the request was
	// wrong.
	Success Outcome = iota
	// Failure says that the plugin or what it called failed.
	Failure
	// Neutral says nothing of them: the call did not get there, or its caller
	// ended it.
	Neutral
)

// expirySlack is how long before its deadline a call may come back as expired:
// an instance reckons with the time that was left, by a timer of its own.
const expirySlack = 10 * time.Millisecond

// outcome is what a result says, given that its call ended with code and
// whether the plugin had used up most of the time that the operator gives it.
func (r Result) outcome(code codes.Code, timedOut bool) Outcome {
	if r.Reach == Unreached {
		return Neutral
	}
	switch code {
	case codes.OK:
		if r.UpstreamFailed {
			return Failure
		}
		return Success
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied, codes.Unauthenticated,
		codes.FailedPrecondition, codes.Aborted, codes.OutOfRange, codes.Unimplemented, codes.ResourceExhausted:
		return Success
	case codes.Canceled:
		return Neutral
	case codes.DeadlineExceeded:
		// Callers choose their deadlines, and queues take their part. A time
		// that is too short is no fault of the plugin, and must not close it to
		// others.
		if timedOut {
			return Failure
		}
		return Neutral
	default: // Unknown, Internal, Unavailable, DataLoss, and what gRPC does not define
		return Failure
	}
}

// codeOf is the code of any error.
func codeOf(err error) codes.Code {
	switch code := status.Code(err); {
	case code != codes.Unknown:
		return code
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	default:
		return code
	}
}

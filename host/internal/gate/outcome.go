package gate

import (
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Reach is how far a call got.
type Reach int

const (
	// Answered calls were ended by the plugin itself, well or not.
	Answered Reach = iota
	// Unreached calls provably never reached the plugin.
	Unreached
	// Lost calls were with an instance when it ended, or when its connection
	// broke: what they did is not known.
	Lost
)

// Result is what came of one try to forward a call.
type Result struct {
	Err   error // nil, or a gRPC status
	Reach Reach
	// Final says that another try would be in vain: no instance is to be had,
	// or nobody waits for the answer.
	Final bool
	// UpstreamFailed says that an answer without an error tells of the failure
	// of somebody else, such as an HTTP status of 503.
	UpstreamFailed bool
}

// Outcome is what a call says about the health of what it was for.
type Outcome int

const (
	// Neutral says nothing: the call was never forwarded, or given up.
	Neutral Outcome = iota
	// Success is any answer of one that works, "no such file" included.
	Success
	// Failure is a fault of the plugin or of what it depends on.
	Failure
)

// outcome judges the last try of a call. late says that the plugin had most of
// the operator's time and did not answer: a caller's own deadline, one within
// the request, or what our queues leave of it may be too short for anybody.
func (r Result) outcome(late bool) Outcome {
	if r.Err == nil {
		if r.UpstreamFailed {
			return Failure
		}
		return Success
	}
	if r.Reach == Unreached {
		return Neutral
	}
	switch status.Code(r.Err) {
	case codes.Unknown, codes.Internal, codes.Unavailable, codes.DataLoss:
		return Failure
	case codes.DeadlineExceeded:
		if late {
			return Failure
		}
		return Neutral
	case codes.Canceled:
		return Neutral
	default:
		return Success
	}
}

package gate

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func TestWhatACodeSaysOfThePlugin(t *testing.T) {
	want := map[codes.Code]Outcome{
		codes.OK:                 Success,
		codes.InvalidArgument:    Success,
		codes.NotFound:           Success,
		codes.AlreadyExists:      Success,
		codes.PermissionDenied:   Success,
		codes.FailedPrecondition: Success,
		codes.Aborted:            Success,
		codes.OutOfRange:         Success,
		codes.Unauthenticated:    Success,
		codes.Unimplemented:      Success,
		codes.ResourceExhausted:  Success,
		codes.Unknown:            Failure,
		codes.Internal:           Failure,
		codes.Unavailable:        Failure,
		codes.DataLoss:           Failure,
		codes.DeadlineExceeded:   Neutral,
		codes.Canceled:           Neutral,
		codes.Code(77):           Failure,
	}
	for code := codes.OK; code <= codes.Unauthenticated; code++ {
		if _, ok := want[code]; !ok {
			t.Errorf("%v is not in the table", code)
		}
	}
	for code, outcome := range want {
		for _, reach := range []Reach{Answered, Lost} {
			if got := (Result{Reach: reach}).outcome(code, false); got != outcome {
				t.Errorf("%v, reach %d: got %d, want %d", code, reach, got, outcome)
			}
		}
		if got := (Result{Reach: Unreached}).outcome(code, true); got != Neutral {
			t.Errorf("%v of a call that was not reached: got %d", code, got)
		}
	}
	if got := (Result{}).outcome(codes.DeadlineExceeded, true); got != Failure {
		t.Errorf("an expiry at the operator's deadline: got %d", got)
	}
	if got := (Result{UpstreamFailed: true}).outcome(codes.OK, false); got != Failure {
		t.Errorf("an answer that reports a failure: got %d", got)
	}
}

func TestTheCodeOfAnyError(t *testing.T) {
	for _, c := range []struct {
		err  error
		want codes.Code
	}{
		{nil, codes.OK},
		{status.Error(codes.NotFound, ""), codes.NotFound},
		{fmt.Errorf("wrapped: %w", status.Error(codes.NotFound, "")), codes.NotFound},
		{fmt.Errorf("wrapped: %w", context.DeadlineExceeded), codes.DeadlineExceeded},
		{context.Canceled, codes.Canceled},
		{fmt.Errorf("other"), codes.Unknown},
	} {
		if got := codeOf(c.err); got != c.want {
			t.Errorf("%v: got %v, want %v", c.err, got, c.want)
		}
	}
}

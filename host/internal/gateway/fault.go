package gateway

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// exitWait is how long a call that lost its connection waits to learn whether
// the process has ended. The connection and the process end together; the news
// of the one arrives up to 3 ms after the other (reference measurements).
const exitWait = 10 * time.Millisecond

// named puts the subsystem's name before an error's text, once, and keeps code
// and details.
func named(subsystem string, err error) error {
	if err == nil {
		return nil
	}
	p := statusOf(err).Proto()
	if prefix := subsystem + ": "; !strings.HasPrefix(p.GetMessage(), prefix) {
		p.Message = prefix + p.GetMessage()
	}
	return status.ErrorProto(p)
}

// statusOf is the status of any error.
func statusOf(err error) *status.Status {
	if st, ok := status.FromError(err); ok {
		return st
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return status.FromContextError(err)
	}
	return status.Convert(err)
}

// answer is what came from an instance beside messages.
type answer struct {
	header, trailer metadata.MD
}

// isComplete reports whether the instance itself ended the call. Only then are
// there trailers: a response of nothing but trailers has the content type in
// them. (Trailers after messages may be empty; then this errs to false.)
func (a answer) isComplete() bool { return len(a.trailer) > 0 }

// lost turns the error of a connection that broke into one that says how the
// instance ended, if it did. Errors that the instance sent are passed on.
func lost(ctx context.Context, instance Instance, a answer, err error) error {
	code := status.Code(err)
	// Nobody cancelled: the supervisor has closed the connection of an instance
	// that it knows to be dead, or the instance says so of itself.
	closed := code == codes.Canceled && ctx.Err() == nil
	if a.isComplete() || code != codes.Unavailable && !closed {
		return err
	}
	timer := time.NewTimer(exitWait)
	defer timer.Stop()
	select {
	case <-instance.Exited():
		return status.Errorf(codes.Unavailable, "instance %d exited during the call: %s", instance.Generation(), instance.Exit())
	case <-ctx.Done():
	case <-timer.C:
	}
	if closed && a.header == nil { // it was not the instance that said so
		return status.Errorf(codes.Unavailable, "the connection to instance %d was closed", instance.Generation())
	}
	return err
}

// oversize makes gRPC's words on a message over the limit say what was too
// large and what to do.
func oversize(err error) error {
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted || !strings.Contains(st.Message(), "larger than max") {
		return err
	}
	p := st.Proto()
	p.Message = fmt.Sprintf("message over the limit of %d bytes: %s; send it in parts, as a stream", MaxMessage, st.Message())
	return status.ErrorProto(p)
}

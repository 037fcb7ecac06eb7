package gateway

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/sdk/link"
	"github.com/gaia-go/gaia/sdk/wire"
)

// exitWait is how long a call that lost its connection waits to learn whether
// the process has ended. The connection and the process end together; the news
// of the one arrives up to 3 ms after the other (reference measurements) where a
// processor is free. Where none is it takes longer, and who waits in vain, with
// a plugin that ends a stream so, can bear it.
const exitWait = 100 * time.Millisecond

// words are what a plugin itself says of a call: they are passed on as they are,
// so that the host is not seen by who has always called the plugin.
type words struct{ error }

// GRPCStatus implements what the status package looks for.
func (w words) GRPCStatus() *status.Status { return status.Convert(w.error) }

// Unwrap lets the error be found.
func (w words) Unwrap() error { return w.error }

// named puts the subsystem's name before the text of an error that is the
// host's own, once, and keeps code and details.
func named(subsystem string, err error) error {
	if err == nil {
		return nil
	}
	// That the time is over the plugin and the host find out at once, and either
	// may be first to say so.
	if own, ok := errors.AsType[words](err); ok && status.Convert(own.error).Message() != context.DeadlineExceeded.Error() {
		return own.error
	}
	p := statusOf(err).Proto()
	p.Details = slices.DeleteFunc(p.GetDetails(), isDrainingDetail)
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
	peer            peer.Peer // without an address if the call was never given to a connection
}

// isComplete reports whether the instance itself ended the call. Only then are
// there trailers: a response of nothing but trailers has the content type in
// them. (Trailers after messages may be empty; then this errs to false.)
func (a answer) isComplete() bool { return len(a.trailer) > 0 }

// lost says how far a call got that ended with an error. It turns the error of
// a connection that broke into one that says how the instance ended, if it
// did. Errors that the instance sent are passed on.
func (a answer) lost(ctx context.Context, instance Instance, err error) (gate.Reach, error) {
	code := status.Code(err)
	// Nobody cancelled: the supervisor has closed the connection of an instance
	// that it knows to be dead, or the instance says so of itself.
	closed := code == codes.Canceled && ctx.Err() == nil
	switch {
	case code == codes.Unavailable && isDraining(err):
		return gate.Unreached, err
	case a.isComplete() || code != codes.Unavailable && !closed && ctx.Err() == nil:
		return gate.Answered, words{err}
	case code != codes.Unavailable && !closed:
		return gate.Answered, err
	}
	reach := gate.Lost
	if a.peer.Addr == nil {
		reach = gate.Unreached
	}
	switch {
	case hasExited(ctx, instance):
		return reach, exited(instance)
	case closed && a.header == nil: // it was not the instance that said so
		return reach, closedConnection(instance)
	case a.header != nil: // it is alive and has begun to answer
		return gate.Answered, words{err}
	}
	return reach, err
}

// hasExited reports whether the process has ended of an instance whose
// connection is lost.
func hasExited(ctx context.Context, instance Instance) bool {
	timer := time.NewTimer(exitWait)
	defer timer.Stop()
	select {
	case <-instance.Exited():
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

// linkReach says how far a call got that ended with an error on the link, and
// turns the error of a connection that broke into one that says how the instance
// ended, if it did.
func linkReach(ctx context.Context, instance Instance, reach link.Reach, err error) (gate.Reach, error) {
	switch {
	case err == nil, reach == link.GivenUp:
		return gate.Answered, err
	case isDraining(err), reach == link.Unreached && instance.Link().Err() == nil: // it lives, and has refused the call
		return gate.Unreached, err
	case reach == link.Answered:
		return gate.Answered, words{err}
	}
	to := gate.Lost
	if reach == link.Unreached {
		to = gate.Unreached
	}
	switch {
	case hasExited(ctx, instance):
		err = exited(instance)
	case status.Code(err) == codes.Canceled: // nobody cancelled: the supervisor has closed the link
		err = closedConnection(instance)
	}
	return to, err
}

// closedConnection is the status of a call whose connection the host has closed.
func closedConnection(instance Instance) error {
	return status.Errorf(codes.Unavailable, "the connection to instance %d was closed", instance.Generation())
}

// exited is the status of a call whose instance ended.
func exited(instance Instance) error {
	return status.Errorf(codes.Unavailable, "instance %d exited during the call: %s", instance.Generation(), instance.Exit())
}

// unsent is the result of a call whose caller could not be sent something,
// which says nothing of the plugin. A caller who is gone has cancelled, however
// that was found out: nothing was unavailable to anybody.
func unsent(err error) gate.Result {
	if status.Code(err) == codes.Unavailable {
		err = status.Error(codes.Canceled, "the caller is gone: "+status.Convert(err).Message())
	}
	return gate.Result{Err: err, Reach: gate.Unreached, Final: true}
}

// isDraining reports whether the instance refused the call because it is about
// to end. The call has not begun there.
func isDraining(err error) bool {
	return slices.ContainsFunc(status.Convert(err).Proto().GetDetails(), isDrainingDetail)
}

// isDrainingDetail reports whether a detail says so. It is for the host alone: a
// plugin that calls others and passes on their errors would speak for itself.
func isDrainingDetail(detail *anypb.Any) bool {
	var info errdetails.ErrorInfo
	return detail.MessageIs(&info) && detail.UnmarshalTo(&info) == nil &&
		info.GetDomain() == wire.ErrorDomain && info.GetReason() == wire.ReasonDraining
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

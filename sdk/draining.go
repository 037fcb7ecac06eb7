package sdk

import (
	"context"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gaia-go/gaia/sdk/wire"
)

// UntilDrain is for calls that last for as long as their caller likes, such as a
// stream of events: until they have ended, the instance cannot be replaced. ctx
// is the call's. What UntilDrain returns ends with it, and before it when the
// instance is about to be replaced or the host to stop. Then context.Cause is the
// status to end the call with: Unavailable, with a RetryInfo by which the caller
// knows to call again.
//
// The host itself gives a unary call that ends so to the next instance. So the
// call must not have done anything yet that is not to be done twice.
//
// The caller of UntilDrain cancels what it returns.
func UntilDrain(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	near, ok := ctx.Value(nearKey{}).(context.Context)
	if !ok { // not a call of a plugin, but of a test, say
		return ctx, func() { cancel(nil) }
	}
	stop := context.AfterFunc(near, func() { cancel(context.Cause(near)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// nearKey is of a context in the contexts of calls, which ends when the drain is
// near.
type nearKey struct{}

// ownStream is a stream of the author's, with a context of ours.
type ownStream struct {
	grpc.ServerStream

	ctx context.Context //nolint:containedctx // a grpc.ServerStream has one
}

// Context is that of the call.
func (s ownStream) Context() context.Context { return s.ctx }

// retryDelay is how long callers are asked to stay away: the next instance has
// taken over, or has to be started first.
const retryDelay = 100 * time.Millisecond

// errEnding ends a call that does not end by itself.
func errEnding() error { return unavailable("the plugin's instance is about to end; call again") }

// errDraining says that a call has not begun.
func errDraining() error { return unavailable("plugin is draining and takes no new calls") }

// unavailable tells the host by a detail that the call may be repeated: the host
// then gives it to the next instance, whatever it is. Other callers it tells when
// to call again.
func unavailable(text string) error {
	st := status.New(codes.Unavailable, text)
	detailed, err := st.WithDetails(
		&errdetails.ErrorInfo{Reason: wire.ReasonDraining, Domain: wire.ErrorDomain},
		&errdetails.RetryInfo{RetryDelay: durationpb.New(retryDelay)},
	)
	if err != nil { // cannot be: the details are known messages
		return st.Err()
	}
	return detailed.Err()
}

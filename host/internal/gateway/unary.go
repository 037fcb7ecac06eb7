package gateway

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/sdk/link"
)

// receiveOne reads the only message of a unary call. The caller frees it. For
// none or several gRPC has the code Unimplemented.
func receiveOne(stream grpc.ServerStream) (*frame, error) {
	request := new(frame)
	err := stream.RecvMsg(request)
	if errors.Is(err, io.EOF) {
		return nil, status.Error(codes.Unimplemented, "a unary method takes one request message, got none")
	}
	if err != nil {
		return nil, err
	}
	more := new(frame)
	err = stream.RecvMsg(more)
	if errors.Is(err, io.EOF) {
		return request, nil
	}
	request.free()
	more.free()
	if err != nil {
		return nil, err
	}
	return nil, status.Error(codes.Unimplemented, "a unary method takes one request message, got more")
}

// unaryCaller is who gets the answer of a unary call.
type unaryCaller interface {
	// send passes on an answer that is a message.
	send(a *answer, response *frame) error
	// refuse passes on the metadata of an answer that is an error.
	refuse(a *answer)
}

// unaryCall is one call on its way to an instance, and to another one if that
// does not answer.
type unaryCall struct {
	server    *Server
	caller    unaryCaller
	method    *registry.Method
	instances Instances
	request   *frame
	lost      uint64 // generation of the instance that the last try was lost on
	answer    answer // of the last try
}

// try makes the call and passes on what comes back; of an error only when no
// further try is made.
func (u *unaryCall) try(ctx context.Context, c *gate.Call) gate.Result {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	instance, err := u.instances.Acquire(ctx, u.lost)
	if err != nil {
		return gate.Result{Err: err, Reach: gate.Unreached, Final: true}
	}
	defer instance.Release()
	u.answer = answer{}
	response := new(frame)
	defer response.free()
	if reach, err := u.invoke(ctx, instance, c.Method, response); err != nil {
		if reach != gate.Answered {
			u.lost = instance.Generation()
		}
		return gate.Result{Err: oversize(err), Reach: reach}
	}
	result := gate.Result{UpstreamFailed: u.method.Failed(response.bytes())}
	if err := u.caller.send(&u.answer, response); err != nil {
		result = unsent(err)
	}
	return result
}

// invoke makes the call by the link, if the instance has one and the call fits,
// or else by gRPC.
func (u *unaryCall) invoke(ctx context.Context, instance Instance, method string, response *frame) (gate.Reach, error) {
	options := u.server.callOptions(grpc.Header(&u.answer.header), grpc.Trailer(&u.answer.trailer), grpc.Peer(&u.answer.peer))
	if l := instance.Link(); l != nil && l.Usable() {
		err := l.Invoke(ctx, method, u.request, response, options...)
		if err == nil || !errors.Is(err, link.ErrUnsuitable) {
			return linkReach(ctx, instance, link.ReachOf(err), err)
		}
	}
	err := instance.Invoke(ctx, method, u.request, response, options...)
	if err == nil {
		return gate.Answered, nil
	}
	return u.answer.lost(ctx, instance, err)
}

// grpcCaller is a caller who came by gRPC.
type grpcCaller struct{ stream grpc.ServerStream }

func (g grpcCaller) send(a *answer, response *frame) error {
	if err := g.stream.SetHeader(crossing(a.header)); err != nil {
		return err
	}
	if err := g.stream.SendMsg(response); err != nil {
		return err
	}
	g.stream.SetTrailer(crossing(a.trailer))
	return nil
}

func (g grpcCaller) refuse(a *answer) {
	_ = g.stream.SetHeader(crossing(a.header)) // an error of it ends the call, which is ending
	g.stream.SetTrailer(crossing(a.trailer))
}

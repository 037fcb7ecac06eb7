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
)

// receiveOne reads the only message of a unary call. The caller frees it.
func receiveOne(stream grpc.ServerStream) (*frame, error) {
	request := new(frame)
	err := stream.RecvMsg(request)
	if errors.Is(err, io.EOF) {
		return nil, status.Error(codes.InvalidArgument, "a unary method takes one request message, got none")
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
	return nil, status.Error(codes.InvalidArgument, "a unary method takes one request message, got more")
}

// unaryCall is one call on its way to an instance, and to another one if that
// does not answer.
type unaryCall struct {
	server    *Server
	caller    grpc.ServerStream
	method    *registry.Method
	instances Instances
	request   *frame
	lost      uint64 // generation of the instance that the last try was lost on
	answer    answer // of the last try
}

// try makes the call and passes on what comes back; of an error only when no
// further try is made, see refuse.
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
	err = instance.Invoke(ctx, c.Method, u.request, response,
		u.server.callOptions(grpc.Header(&u.answer.header), grpc.Trailer(&u.answer.trailer), grpc.Peer(&u.answer.peer))...)
	if err != nil {
		reach, err := u.answer.lost(ctx, instance, err)
		if reach != gate.Answered {
			u.lost = instance.Generation()
		}
		return gate.Result{Err: oversize(err), Reach: reach}
	}
	result := gate.Result{UpstreamFailed: u.method.Failed(response.bytes())}
	if err := u.send(response); err != nil {
		result = unsent(err)
	}
	return result
}

// send passes on an answer that is a message.
func (u *unaryCall) send(response *frame) error {
	if err := u.caller.SetHeader(crossing(u.answer.header)); err != nil {
		return err
	}
	u.caller.SetTrailer(crossing(u.answer.trailer))
	return u.caller.SendMsg(response)
}

// refuse passes on the metadata of an answer that is an error.
func (u *unaryCall) refuse() {
	_ = u.caller.SetHeader(crossing(u.answer.header)) // an error of it ends the call, which is ending
	u.caller.SetTrailer(crossing(u.answer.trailer))
}

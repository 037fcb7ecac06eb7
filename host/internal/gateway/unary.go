package gateway

import (
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/gate"
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

// unary makes the call and passes on what comes back, metadata also when it is
// an error.
func (s *Server) unary(ctx context.Context, c *gate.Call, stream grpc.ServerStream, instances Instances, request *frame) error {
	ctx, cancel := c.Context(ctx)
	defer cancel()
	instance, err := instances.Acquire(ctx)
	if err != nil {
		return err
	}
	var a answer
	response := new(frame)
	err = instance.Invoke(ctx, c.Method, request, response, s.callOptions(grpc.Header(&a.header), grpc.Trailer(&a.trailer))...)
	defer response.free()
	if headerErr := stream.SetHeader(forwarded(a.header)); headerErr != nil {
		return headerErr
	}
	stream.SetTrailer(forwarded(a.trailer))
	if err != nil {
		return oversize(lost(ctx, instance, a, err))
	}
	return stream.SendMsg(response)
}

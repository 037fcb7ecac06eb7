package gateway

import (
	"context"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// forward handles every call that is not to one of the host's own services:
// which subsystem serves it, may it pass, and then the way to an instance.
func (s *Server) forward(_ any, stream grpc.ServerStream) error {
	start := time.Now()
	ctx := stream.Context()
	name, ok := grpc.MethodFromServerStream(stream)
	if !ok {
		return status.Error(codes.Internal, "internal: a call without a method")
	}
	md, _ := metadata.FromIncomingContext(ctx)
	subsystem, err := namedSubsystem(md)
	if err != nil {
		return err
	}
	route, err := s.registry.Route(name, subsystem)
	if err != nil {
		return err
	}
	err = s.pass(metadata.NewOutgoingContext(ctx, forwarded(md)), stream, route, start)
	err = named(route.Subsystem, err)
	route.Value.Metrics.Method(route.Method.Name).Observe(status.Code(err), time.Since(start))
	return err
}

// pass takes a call through the gate to an instance. A panic on the way is
// turned into an error here already, so that it is counted.
func (s *Server) pass(ctx context.Context, stream grpc.ServerStream, route registry.Route[*Subsystem], start time.Time) (err error) {
	defer s.recovered(route.Method.Name, &err)
	call := gate.Call{
		Method: route.Method.Name,
		Stream: !route.Method.IsUnary(),
		Start:  start,
	}
	if call.Stream {
		return route.Value.Gate.Do(ctx, &call, func(ctx context.Context, c *gate.Call) error {
			return s.stream(ctx, c, stream, route.Value.Instances)
		})
	}
	request, err := receiveOne(stream)
	if err != nil {
		return err
	}
	defer request.free()
	return route.Value.Gate.Do(ctx, &call, func(ctx context.Context, c *gate.Call) error {
		return s.unary(ctx, c, stream, route.Value.Instances, request)
	})
}

// callOptions are the same for every call to an instance. Fail-fast is gRPC's
// default: an instance that was ready and cannot be reached is dead.
func (s *Server) callOptions(more ...grpc.CallOption) []grpc.CallOption {
	return append(more,
		grpc.ForceCodecV2(s.codec),
		grpc.MaxCallRecvMsgSize(MaxMessage),
		grpc.MaxCallSendMsgSize(MaxMessage),
	)
}

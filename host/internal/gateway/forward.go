package gateway

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/access"
	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// forward handles every call that is not to one of the host's own services:
// which subsystem serves it, may it pass, and then the way to an instance.
func (s *Server) forward(_ any, stream grpc.ServerStream) error {
	name, ok := grpc.MethodFromServerStream(stream)
	if !ok {
		return status.Error(codes.Internal, "internal: a call without a method")
	}
	md, _ := metadata.FromIncomingContext(stream.Context())
	if err := checkEncoding(md.Get("content-type")); err != nil {
		return err
	}
	return s.call(name, stream)
}

// checkEncoding refuses messages in another encoding than protobuf's: the plugin
// would be told that they are in this one.
func checkEncoding(contentType []string) error {
	for _, given := range contentType {
		kind, _, _ := strings.Cut(given, ";")
		if kind != "application/grpc" && kind != "application/grpc+proto" {
			return status.Errorf(codes.Unimplemented, "content type %q: gRPC is spoken here in protobuf's binary form only; the HTTP port takes JSON, too", given)
		}
	}
	return nil
}

func (s *Server) call(name string, stream grpc.ServerStream) error {
	ctx := stream.Context()
	caller := access.From(ctx)
	md, _ := metadata.FromIncomingContext(ctx)
	route, err := s.route(name, md)
	if err != nil {
		if caller != nil {
			caller.Refused(name, err)
		}
		return err
	}
	md = crossing(md)
	if caller == nil {
		return s.serve(metadata.NewOutgoingContext(ctx, md), stream, passage{route: route})
	}
	md.Set(clientKey, caller.Client.Name)
	call := &access.Call{Subsystem: route.Subsystem, Method: route.Method.Name, Stream: !route.Method.IsUnary()}
	return caller.Do(ctx, call, func(ctx context.Context, deadline time.Time) error {
		return s.serve(metadata.NewOutgoingContext(ctx, md), stream, passage{route, deadline, call})
	})
}

func (s *Server) route(method string, md metadata.MD) (registry.Route[*Subsystem], error) {
	subsystem, err := namedSubsystem(md)
	if err != nil {
		return registry.Route[*Subsystem]{}, err
	}
	return s.registry.Route(method, subsystem)
}

// passage is what is known of a call on its way to an instance.
type passage struct {
	route    registry.Route[*Subsystem]
	deadline time.Time    // that a client's own limits set; zero: none
	call     *access.Call // of a client; nil for the operator's
}

// serve takes a call through the gate to an instance, and counts it.
func (s *Server) serve(ctx context.Context, stream grpc.ServerStream, p passage) error {
	start := time.Now()
	forwarded, err := s.pass(ctx, stream, p)
	err = named(p.route.Subsystem, err)
	metrics, code := p.route.Value.Metrics.Method(p.route.Method.Name), status.Code(err)
	switch {
	case !forwarded:
		metrics.ObserveRejected(code)
	case p.route.Method.IsUnary():
		metrics.Observe(code, time.Since(start))
	default:
		metrics.ObserveStream(code, time.Since(start))
	}
	return err
}

// pass takes a call through the gate to an instance, and reports whether it
// got through the gate. A panic on the way is turned into an error here
// already, so that it is counted.
func (s *Server) pass(ctx context.Context, stream grpc.ServerStream, p passage) (forwarded bool, err error) {
	route := p.route
	defer s.recovered(route.Method.Name, &err)
	call := gate.Call{Method: route.Method.Name, Stream: !route.Method.IsUnary(), Deadline: p.deadline}
	first, err := firstMessage(stream, route.Method)
	if err != nil {
		return false, err
	}
	if first != nil {
		defer first.free()
		r := &request{method: route.Method, message: first.bytes()}
		call.Keys, call.Idempotent = r, r.Idempotent
		if p.call != nil {
			p.call.Key = auditKey(route.Method, r.message)
		}
	}
	instances := route.Value.Instances
	if call.Stream {
		var lost uint64
		err = route.Value.Gate.Do(ctx, &call, func(ctx context.Context, c *gate.Call) gate.Result {
			forwarded = true
			return s.stream(ctx, c, stream, instances, first, &lost)
		})
		return forwarded, err
	}
	u := unaryCall{server: s, caller: grpcCaller{stream}, method: route.Method, instances: instances, request: first}
	err = route.Value.Gate.Do(ctx, &call, func(ctx context.Context, c *gate.Call) gate.Result {
		forwarded = true
		return u.try(ctx, c)
	})
	if err != nil {
		u.caller.refuse(&u.answer)
	}
	return forwarded, err
}

// firstMessage reads what policies have to know before the call may pass: the
// only message of a unary call, and the first one of a stream whose method
// declares keys. Other streams are forwarded before a message has come: their
// callers may wait for the instance to speak first. It may be nil.
func firstMessage(stream grpc.ServerStream, method *registry.Method) (*frame, error) {
	if method.IsUnary() {
		return receiveOne(stream)
	}
	if len(method.Keys()) == 0 {
		return nil, nil
	}
	first := new(frame)
	switch err := stream.RecvMsg(first); {
	case errors.Is(err, io.EOF):
		return nil, nil // and so it will be for who asks again
	case err != nil:
		return nil, err
	}
	return first, nil
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

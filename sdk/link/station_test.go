package link_test

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

const (
	stationName = "gaia.conformance.v1.Station"
	methodEcho  = "/" + stationName + "/Echo"
	methodAny   = "/" + stationName + "/Any"
)

// A handler answers bytes with bytes.
type handler func(ctx context.Context, req []byte) ([]byte, error)

// A station is the service that tests call; what it does is up to the test.
type station struct {
	echo     handler                                // BytesValue to BytesValue
	anything func(ctx context.Context) (any, error) // Empty to whatever it returns, a message or not
}

// echo is the handler of tests that are about the way and not the goal.
func echo(_ context.Context, req []byte) ([]byte, error) { return req, nil }

func (s station) register(at grpc.ServiceRegistrar) {
	at.RegisterService(&grpc.ServiceDesc{
		ServiceName: stationName,
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			{MethodName: "Echo", Handler: handleEcho},
			{MethodName: "Any", Handler: handleAny},
		},
	}, s)
}

// handleEcho is written as protoc-gen-go-grpc writes it.
func handleEcho(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // the order is grpc.MethodHandler's
	in := new(wrapperspb.BytesValue)
	if err := decode(in); err != nil {
		return nil, err
	}
	answer := func(ctx context.Context, req any) (any, error) {
		out, err := srv.(station).echo(ctx, req.(*wrapperspb.BytesValue).GetValue())
		return wrapperspb.Bytes(out), err
	}
	if interceptor == nil {
		return answer(ctx, in)
	}
	return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: methodEcho}, answer)
}

func handleAny(srv any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // the order is grpc.MethodHandler's
	if err := decode(new(emptypb.Empty)); err != nil {
		return nil, err
	}
	return srv.(station).anything(ctx)
}

// call calls echo as a generated client does.
func call(ctx context.Context, conn grpc.ClientConnInterface, req []byte, options ...grpc.CallOption) ([]byte, error) {
	out := new(wrapperspb.BytesValue)
	if err := conn.Invoke(ctx, methodEcho, wrapperspb.Bytes(req), out, options...); err != nil {
		return nil, err
	}
	return out.GetValue(), nil
}

package gateway

import (
	"context"
	"runtime/debug"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// recoverUnary keeps a panic in one of the host's own methods from ending the
// host.
func (s *Server) recoverUnary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
	defer s.recovered(info.FullMethod, &err)
	return handler(ctx, request)
}

// recoverStream does the same for the host's own streams and for all that is
// forwarded: calls of unknown services are streams to gRPC.
func (s *Server) recoverStream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer s.recovered(info.FullMethod, &err)
	return handler(service, stream)
}

// recovered is deferred. The stack is for the log; the caller learns only that
// it was not their fault.
func (s *Server) recovered(method string, err *error) {
	if p := recover(); p != nil {
		*err = s.panicked(method, p)
	}
}

// panicked logs a panic and returns what the caller is told.
func (s *Server) panicked(method string, p any) error {
	s.logger.Error("panic in a call", "method", method, "panic", p, "stack", string(debug.Stack()))
	return status.Error(codes.Internal, "internal: panic in the host; its log has the details")
}

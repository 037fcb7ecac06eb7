package gateway

import (
	"runtime/debug"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

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

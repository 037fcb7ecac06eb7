package sdk

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// calls counts the author's calls in flight and can close the door behind
// them. Safe for concurrent use.
type calls struct {
	inFlight  atomic.Int64
	draining  atomic.Bool
	idle      chan struct{} // closed when draining and nothing is in flight
	closeIdle sync.Once
}

// begin counts a call in, or reports false when no more are taken.
func (c *calls) begin() bool {
	// Counting first makes sure that drain sees every call it does not refuse.
	c.inFlight.Add(1)
	if c.draining.Load() {
		c.end()
		return false
	}
	return true
}

func (c *calls) end() {
	if c.inFlight.Add(-1) == 0 && c.draining.Load() {
		c.closeIdle.Do(func() { close(c.idle) })
	}
}

// drain refuses new calls and returns how many were in flight when it gave up
// waiting for them, which is 0 unless ctx ended first.
func (c *calls) drain(ctx context.Context) int {
	c.draining.Store(true)
	if c.inFlight.Load() == 0 {
		return 0
	}
	select {
	case <-c.idle:
		return 0
	case <-ctx.Done():
		return int(c.inFlight.Load())
	}
}

func (p *plugin) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (response any, err error) {
	defer recovered(info.FullMethod, &err)
	if !p.isOwn(info.FullMethod) {
		return handler(ctx, request)
	}
	if !p.calls.begin() {
		return nil, errDraining()
	}
	defer p.calls.end()
	return handler(ctx, request)
}

func (p *plugin) stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) (err error) {
	defer recovered(info.FullMethod, &err)
	if !p.isOwn(info.FullMethod) {
		return handler(service, stream)
	}
	if !p.calls.begin() {
		return errDraining()
	}
	defer p.calls.end()
	return handler(service, stream)
}

func errDraining() error {
	return status.Error(codes.Unavailable, "plugin is draining and takes no new calls")
}

// recovered turns a panic into an answer: the call is lost, the plugin lives.
// The stack goes to the log and not to the caller.
func recovered(method string, err *error) {
	if v := recover(); v != nil {
		Logger().Error("call panicked", "method", method, "panic", v, "stack", string(debug.Stack()))
		*err = status.Errorf(codes.Internal, "plugin panicked in %s; its log has the stack", method)
	}
}

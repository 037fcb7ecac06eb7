package gateway

import (
	"cmp"
	"context"
	"errors"
	"io"

	"google.golang.org/grpc"

	"github.com/gaia-go/gaia/host/internal/gate"
)

// stream connects the caller's stream with one to an instance until either
// ends. Messages are pumped one at a time in each direction, so a slow reader
// on one side slows the writer on the other. first is a message of the caller
// that was read already, or nil. lost is as in Acquire, and is set.
func (s *Server) stream(ctx context.Context, c *gate.Call, caller grpc.ServerStream, instances Instances, first *frame, lost *uint64) gate.Result {
	ctx, cancel := c.Context(ctx)
	defer cancel() // ends the stream to the instance, whatever happened
	instance, err := instances.Acquire(ctx, *lost)
	if err != nil {
		return gate.Result{Err: err, Reach: gate.Unreached, Final: true}
	}
	defer instance.Release()
	var a answer
	remote, err := instance.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, c.Method, s.callOptions(grpc.Peer(&a.peer))...)
	if err != nil {
		reach, err := a.lost(ctx, instance, err)
		*lost = instance.Generation()
		return gate.Result{Err: err, Reach: reach}
	}
	// The pump of requests may be waiting for the caller when the instance has
	// already ended the call. It then ends when this handler returns, which
	// ends the caller's stream; Serve, or Call, waits for it.
	running := &s.running
	visitor, isGuest := caller.(*guest)
	if isGuest {
		running = &visitor.running
	}
	pumped := make(chan error, 1) // the caller's fault, or nil
	own := first.ref()            // the handler may return, and free it, while it is sent
	running.Go(func() {
		fault := s.pumpRequests(c.Method, caller, remote, own)
		pumped <- fault
		if fault != nil {
			cancel()
		}
	})
	err, gone := pumpResponses(caller, remote, &a)
	select {
	case fault := <-pumped: // perhaps the reason why remote ended
		gone = cmp.Or(fault, gone)
	default:
		if caller.Context().Err() != nil && gone == nil {
			if isGuest {
				visitor.stop()
			}
			gone = <-pumped // at once: gRPC has ended the caller's stream, and says there why
		}
	}
	switch {
	case gone != nil: // and the stream to the plugin may not have ended
		return unsent(gone)
	case err == nil:
		return gate.Result{}
	}
	// The pump may have sent a message: never is the stream started again. What
	// ends because the instance does is no fault of the plugin.
	reach, err := a.lost(ctx, instance, err)
	if reach != gate.Unreached {
		reach = gate.Lost
	}
	return gate.Result{Err: oversize(err), Reach: reach, Final: true}
}

// pumpRequests sends the caller's messages to the instance, and their end. It
// returns an error only when the caller's stream has one.
func (s *Server) pumpRequests(method string, caller grpc.ServerStream, remote grpc.ClientStream, first *frame) (fault error) {
	defer s.recovered(method, &fault)
	if first != nil {
		err := remote.SendMsg(first)
		first.free()
		if err != nil {
			return nil // the other pump learns why
		}
	}
	message := new(frame)
	for {
		switch err := caller.RecvMsg(message); {
		case errors.Is(err, io.EOF):
			_ = remote.CloseSend() // an error of it comes back from RecvMsg
			return nil
		case err != nil:
			return err
		}
		err := remote.SendMsg(message)
		message.free()
		if err != nil {
			return nil // the instance has ended the call; the other pump learns why
		}
	}
}

// pumpResponses sends the instance's header, messages and trailer to the
// caller. err is nil when the instance ended the call with OK; gone is not when
// the caller could not be sent something.
func pumpResponses(caller grpc.ServerStream, remote grpc.ClientStream, a *answer) (err, gone error) {
	// Header waits for it, which may be before the first message; an error
	// comes back from RecvMsg, too.
	if header, err := remote.Header(); err == nil && header != nil {
		a.header = header
		if err := caller.SendHeader(crossing(header)); err != nil {
			return nil, err
		}
	}
	message := new(frame)
	for {
		if err := remote.RecvMsg(message); err != nil {
			a.trailer = remote.Trailer()
			caller.SetTrailer(crossing(a.trailer))
			if errors.Is(err, io.EOF) {
				return nil, nil
			}
			return err, nil
		}
		err := caller.SendMsg(message)
		message.free()
		if err != nil {
			return nil, err
		}
	}
}

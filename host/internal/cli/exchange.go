package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/gaia-go/gaia/host/internal/request"
)

// exchange makes the call and prints what comes back.
func (c *command) exchange(
	ctx context.Context, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, in messages, types request.Resolver,
) error {
	if m.IsStreamingClient() || m.IsStreamingServer() {
		return c.stream(ctx, conn, m, in, types)
	}
	message, err := in.next()
	if err != nil {
		return err
	}
	out := dynamicpb.NewMessage(m.Output())
	if err := conn.Invoke(ctx, methodPath(m), message, out); err != nil {
		return err
	}
	return c.printMessage(out, types)
}

// stream sends and receives at the same time. It returns when the answers have
// ended and both directions are at rest.
func (c *command) stream(
	ctx context.Context, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, in messages, types request.Resolver,
) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s, err := conn.NewStream(ctx, &grpc.StreamDesc{
		StreamName:    string(m.Name()),
		ClientStreams: m.IsStreamingClient(),
		ServerStreams: m.IsStreamingServer(),
	}, methodPath(m))
	if err != nil {
		return err
	}
	var sender errgroup.Group
	sender.Go(func() error {
		err := send(s, in)
		if err != nil {
			cancel() // a request that broke off has no answer to wait for
		}
		return err
	})
	received := c.receive(s, m.Output(), types)
	cancel() // nobody listens to further requests
	in.close()
	sent := sender.Wait()
	if isCancelled(received) && sent != nil && !isCancelled(sent) && !errors.Is(sent, os.ErrClosed) {
		return sent
	}
	return received
}

// send sends all messages. When the far side has ended the call it returns
// nil: the receiver knows why.
func send(s grpc.ClientStream, in messages) error {
	for {
		message, err := in.next()
		if errors.Is(err, io.EOF) {
			return s.CloseSend()
		}
		if err != nil {
			return err
		}
		if err := s.SendMsg(message); err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
	}
}

// receive prints each message as one line.
func (c *command) receive(s grpc.ClientStream, md protoreflect.MessageDescriptor, types request.Resolver) error {
	for {
		message := dynamicpb.NewMessage(md)
		switch err := s.RecvMsg(message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := c.printProtoJSON(message, protojson.MarshalOptions{Resolver: types}, false); err != nil {
			return err
		}
	}
}

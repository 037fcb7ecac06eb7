package cli

import (
	"context"
	"errors"
	"io"
	"os"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

// exchange makes the call and gives take what comes back.
func exchange(
	ctx context.Context, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, in messages, take func(*dynamicpb.Message) error,
) error {
	if m.IsStreamingClient() || m.IsStreamingServer() {
		return stream(ctx, conn, m, in, take)
	}
	message, err := in.next()
	if err != nil {
		return err
	}
	out := dynamicpb.NewMessage(m.Output())
	if err := conn.Invoke(ctx, methodPath(m), message, out); err != nil {
		return err
	}
	return take(out)
}

// stream sends and receives at the same time. It returns when the answers have
// ended and both directions are at rest.
func stream(
	ctx context.Context, conn grpc.ClientConnInterface, m protoreflect.MethodDescriptor, in messages, take func(*dynamicpb.Message) error,
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
	received := receive(s, m.Output(), take)
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

// receive gives take each message.
func receive(s grpc.ClientStream, md protoreflect.MessageDescriptor, take func(*dynamicpb.Message) error) error {
	for {
		message := dynamicpb.NewMessage(md)
		switch err := s.RecvMsg(message); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := take(message); err != nil {
			return err
		}
	}
}

package coordinator

import (
	"context"
	"errors"
	"io"
	"net"
	"sync/atomic"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

const (
	maxContent   = 1 << 20  // of one message
	tunnelBuffer = 30 << 10 // a message of it fits into gRPC's buffers of 32 KiB; the next larger have 1 MiB
)

// tunnelStream is the server's end of a Tunnel.
type tunnelStream = grpc.BidiStreamingServer[networkv1.TunnelRequest, networkv1.TunnelResponse]

// Tunnel carries bytes between the caller and a host.
func (c *Coordinator) Tunnel(stream tunnelStream) error {
	first, err := stream.Recv()
	if errors.Is(err, io.EOF) {
		return status.Error(codes.InvalidArgument, "the first message names host and port")
	}
	if err != nil {
		return err
	}
	if first.GetPort() == 0 || len(first.GetContent()) > 0 {
		return status.Error(codes.InvalidArgument, "the first message has host and port, 1 to 65535, and no content")
	}
	_, target, err := c.begin(first.GetHost(), first.GetPort(), first.GetClient())
	if err != nil {
		return err
	}
	host, err := c.table.Open(stream.Context(), networkv1.Door_TUNNEL, target)
	if err != nil {
		return explain(err)
	}
	t := &tunnel{stream: stream, host: host}
	return t.carry()
}

// tunnel is a Tunnel whose connection is open.
type tunnel struct {
	stream tunnelStream
	host   *conn.Conn
	left   atomic.Int32 // goroutines that use host
}

// carry returns when both directions have ended, one has failed, or the
// connection has ended: a caller that reads nothing does not hold the call.
func (t *tunnel) carry() error {
	defer context.AfterFunc(t.stream.Context(), func() { t.host.End(conn.Reset) })()
	if err := t.stream.Send(&networkv1.TunnelResponse{Opened: t.host.Describe()}); err != nil {
		t.host.Close(conn.Reset)
		return err
	}
	t.left.Store(2)
	sent, received := make(chan error, 1), make(chan error, 1)
	// Only the end of this call ends a Recv, and a Send for which the caller has no
	// room, so the goroutines may end after it.
	go func() {
		err := t.send()
		if err != nil {
			t.host.End(conn.Reset)
		}
		sent <- err
		t.leave()
	}()
	go func() {
		received <- t.receive()
		t.leave()
	}()
	err := t.await(received)
	if err == nil {
		err = t.await(sent)
	}
	if err == nil {
		t.host.End(conn.Done)
		return nil
	}
	t.host.End(conn.Reset)
	return t.explain(err, sent)
}

// leave closes the connection for the last who used it.
func (t *tunnel) leave() {
	if t.left.Add(-1) == 0 {
		t.host.Close(conn.Done)
	}
}

// await returns what became of a direction, or that the connection has ended
// before.
func (t *tunnel) await(direction <-chan error) error {
	select {
	case err := <-direction:
		return err
	case <-t.host.Gone():
	}
	select { // in good order it ends after both directions
	case err := <-direction:
		return err
	default:
		return net.ErrClosed
	}
}

// send carries what the caller sends to the host.
func (t *tunnel) send() error {
	for {
		message, err := t.stream.Recv()
		if errors.Is(err, io.EOF) {
			return t.host.CloseWrite()
		}
		if err != nil {
			return err
		}
		if message.GetHost() != "" || message.GetPort() != 0 || message.GetClient() != "" || len(message.GetContent()) > maxContent {
			return status.Error(codes.InvalidArgument, "messages after the first have content only, at most 1 MiB")
		}
		if _, err := t.host.Write(message.GetContent()); err != nil {
			return err
		}
	}
}

// receive carries what the host sends to the caller, and says when that ends.
func (t *tunnel) receive() error {
	buffer := make([]byte, tunnelBuffer)
	for {
		n, err := t.host.Read(buffer)
		if n > 0 {
			if err := t.stream.Send(&networkv1.TunnelResponse{Content: buffer[:n]}); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return t.stream.Send(&networkv1.TunnelResponse{HalfClosed: true})
		}
		if err != nil {
			return err
		}
	}
}

// explain makes the error of the call: the caller's own fault or end first, else
// why the connection has ended.
func (t *tunnel) explain(err error, sent chan error) error {
	if cause := t.stream.Context().Err(); cause != nil {
		return status.FromContextError(cause).Err()
	}
	// Where the connection was closed under receive, and by nobody else, send did
	// so, and says why.
	if errors.Is(err, net.ErrClosed) && t.host.Ended() == conn.Reset {
		err = <-sent
	}
	if fault, ok := status.FromError(err); ok && err != nil {
		return fault.Err()
	}
	if why := t.host.Ended(); why != conn.Reset {
		return status.Errorf(codes.Aborted, "the connection was ended (%s)", why)
	}
	return status.Errorf(codes.Aborted, "the connection was reset: %v", err)
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"syscall"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
)

// host is a host that runs.
type host struct {
	hostv1.HostClient
	*grpc.ClientConn

	spare chan net.Conn // the first connection, until gRPC takes it
}

// connect returns the host that answers at the socket. The caller closes it.
func (c *command) connect(ctx context.Context) (*host, error) {
	socket, err := c.socketPath()
	if err != nil {
		return nil, err
	}
	// The first connection is made here and not by gRPC, whose errors say
	// less about what is wrong with a socket.
	var dialer net.Dialer
	first, err := dialer.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, c.noHost(socket, err)
	}
	spare := make(chan net.Conn, 1)
	spare <- first
	conn, err := grpc.NewClient("passthrough:///"+socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // the socket's mode guards it
		grpc.WithAuthority("localhost"),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(math.MaxInt32)), // the host's limits hold
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			select {
			case conn := <-spare:
				return conn, nil
			default:
				return dialer.DialContext(ctx, "unix", socket)
			}
		}))
	if err != nil {
		_ = first.Close()
		return nil, fmt.Errorf("internal: client of %s: %w", socket, err)
	}
	return &host{HostClient: hostv1.NewHostClient(conn), ClientConn: conn, spare: spare}, nil
}

// Close ends the connection.
func (h *host) Close() {
	_ = h.ClientConn.Close()
	select {
	case conn := <-h.spare:
		_ = conn.Close()
	default:
	}
}

func (c *command) noHost(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return failed("no host answers at %s", socket).
			hint("start one with: gaia run -config %s", c.configPath)
	case errors.Is(err, fs.ErrPermission):
		return failed("socket %s: permission denied", socket).
			hint("only the user who runs the host may use its socket")
	default:
		return fmt.Errorf("socket %s: %w", socket, err)
	}
}

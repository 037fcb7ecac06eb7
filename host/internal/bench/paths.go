package bench

import (
	"context"
	"errors"
	"os"
	"os/exec"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc"

	"github.com/gaia-go/gaia/sdk/client"
)

// path is one way to the plugin.
type path struct {
	what  string
	conn  grpc.ClientConnInterface
	house *house // on the way; nil for none
	pids  []int  // of all processes, this one included
	close func() error
}

// plainPath is caller → plugin by unary gRPC, both as an ordinary user of
// go-plugin has them.
func plainPath(ctx context.Context, o Options) (*path, error) {
	dir, err := os.MkdirTemp("", "gaia")
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), o.Gaia, "bench", PlainPlugin) //nolint:gosec // G204: this program
	client, conn, err := launchPlain(cmd, plainHandshake(), dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &path{
		what:  "plain go-plugin",
		conn:  conn,
		pids:  []int{os.Getpid(), client.ReattachConfig().Pid},
		close: func() error { client.Kill(); return os.RemoveAll(dir) },
	}, nil
}

// dial connects to a host; hangUp ends the connection.
type dial func(ctx context.Context, h *house) (conn grpc.ClientConnInterface, hangUp func() error, err error)

// housePath is caller → host → plugin, with the config of one subsystem.
func housePath(ctx context.Context, o Options, what, subsystem, config string, connect dial, arguments ...string) (p *path, err error) {
	h, err := open(ctx, o, config, arguments...)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.close())
		}
	}()
	s, err := h.await(ctx, subsystem, func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_READY })
	if err != nil {
		return nil, err
	}
	conn, hangUp, err := connect(ctx, h)
	if err != nil {
		return nil, err
	}
	return &path{
		what:  what,
		conn:  conn,
		house: h,
		pids:  []int{os.Getpid(), h.cmd.Process.Pid, int(s.GetPid())},
		close: func() error { return errors.Join(hangUp(), h.close()) },
	}, nil
}

func byGRPC(_ context.Context, h *house) (grpc.ClientConnInterface, func() error, error) {
	return h.conn, func() error { return nil }, nil
}

func byLink(ctx context.Context, h *house) (grpc.ClientConnInterface, func() error, error) {
	conn, err := client.Dial(ctx, h.socket)
	if err != nil {
		return nil, nil, err
	}
	if conn.Transport() != "link" {
		return nil, nil, errors.Join(errors.New("the host has no link"), conn.Close())
	}
	return conn, conn.Close, nil
}

package wire

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"

	"github.com/gaia-go/gaia/sdk/internal/peercred"
)

// pluginName is the only name in go-plugin's plugin set: what a gaia plugin
// serves is learned from its descriptors, not from names.
const pluginName = "gaia"

// ErrNoHost is returned by Serve when the process was not started by a host.
var ErrNoHost = errors.New("wire: not started by a gaia host")

// ServeConfig is what the plugin's end of the handshake needs.
type ServeConfig struct {
	// Register adds the plugin's services. It is called once, before the
	// handshake. Required.
	Register func(*grpc.Server)
	// Options are added to those of the gRPC server.
	Options []grpc.ServerOption
	// Logger is for go-plugin's own messages. Required.
	Logger hclog.Logger
}

// Serve answers the host's handshake and serves until the gRPC server that was
// given to Register is stopped. From the handshake on, os.Stdout and os.Stderr
// are pipes that lead to the host; when Serve returns, they are what they were.
func Serve(c ServeConfig) error {
	if os.Getenv(cookieKey) != cookieValue {
		return ErrNoHost
	}
	creds, err := hostCredentials()
	if err != nil {
		return err
	}
	options := append([]grpc.ServerOption{
		grpc.Creds(creds),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.StaticStreamWindowSize(StreamWindow),
		grpc.StaticConnWindowSize(ConnWindow),
	}, c.Options...)
	registered := false
	register := func(s *grpc.Server) {
		registered = true
		c.Register(s)
	}
	// go-plugin puts pipes in their place, which nobody reads once its server has
	// stopped, and forgets them: the garbage collector would close both.
	defer func(stdout, stderr *os.File) { os.Stdout, os.Stderr = stdout, stderr }(os.Stdout, os.Stderr)
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: Handshake(),
		Plugins:         plugin.PluginSet{pluginName: end{register: register}},
		Logger:          c.Logger,
		GRPCServer: func(fromHost []grpc.ServerOption) *grpc.Server {
			return grpc.NewServer(append(options, fromHost...)...)
		},
	})
	if !registered {
		return errors.New("wire: no socket to serve on; the line before says why")
	}
	return nil
}

// hostCredentials accept the process that the environment names.
func hostCredentials() (*peerCredentials, error) {
	text := os.Getenv(EnvHostPID)
	if text == "" {
		return &peerCredentials{accept: peercred.Peer.SameUser}, nil
	}
	pid, err := strconv.Atoi(text)
	if err != nil || pid <= 0 {
		return nil, fmt.Errorf("wire: %s is %q, want a process id", EnvHostPID, text)
	}
	return &peerCredentials{accept: func(p peercred.Peer) error {
		if err := p.SameUser(); err != nil {
			return err
		}
		if p.PID != pid {
			return fmt.Errorf("process %d is not the host, which is process %d", p.PID, pid)
		}
		return nil
	}}, nil
}

// end is one end of go-plugin's only plugin.
type end struct {
	plugin.NetRPCUnsupportedPlugin

	register func(*grpc.Server)
}

// GRPCServer is called by go-plugin in the plugin.
func (e end) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	e.register(s)
	return nil
}

// GRPCClient is called by go-plugin in the host.
func (e end) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

package bench

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// PlainPlugin is the argument of `gaia bench` with which it is a plugin itself:
// hello as an ordinary author of go-plugin writes it, without our sdk and what
// that does for speed.
const PlainPlugin = "plain-plugin"

// ServePlain is that plugin. It returns when its host has asked for the end.
func ServePlain() {
	go endWithParent()
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plainHandshake(),
		Plugins:         plugin.PluginSet{PlainPlugin: plainServices{}},
		GRPCServer:      plugin.DefaultGRPCServer,
	})
}

// endWithParent ends this process when the benchmark was killed. go-plugin would
// leave it.
func endWithParent() {
	parent := os.Getppid()
	for range time.Tick(time.Second) {
		if os.Getppid() != parent {
			os.Exit(1)
		}
	}
}

func plainHandshake() plugin.HandshakeConfig {
	return plugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "GAIA_BENCH", MagicCookieValue: PlainPlugin}
}

// launchPlain starts a plugin as an ordinary user of go-plugin does. The caller
// kills it. Its socket is in dir: what is killed leaves it behind.
func launchPlain(cmd *exec.Cmd, handshake plugin.HandshakeConfig, dir string) (*plugin.Client, *grpc.ClientConn, error) {
	cmd.Env = []string{plugin.EnvUnixSocketDir + "=" + dir}
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  handshake,
		Plugins:          plugin.PluginSet{},
		Cmd:              cmd, // go-plugin adds our environment to its own
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Logger:           hclog.NewNullLogger(),
	})
	protocol, err := client.Client()
	if err != nil {
		client.Kill()
		return nil, nil, err
	}
	return client, protocol.(*plugin.GRPCClient).Conn, nil //nolint:forcetypeassert // AllowedProtocols has no other
}

// plainServices answer dispatchMethod and the methods of plainFiles.
type plainServices struct{ plugin.NetRPCUnsupportedPlugin }

// GRPCServer is called by go-plugin in the plugin.
func (g plainServices) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: dispatchService,
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: dispatchName, Handler: hello}},
	}, g)
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: strings.Trim(plainFiles, "/"),
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "ReadFile", Handler: readFile}},
		Streams:     []grpc.StreamDesc{{StreamName: "Read", Handler: read, ServerStreams: true}},
	}, g)
	return nil
}

// GRPCClient is not called: the benchmark uses the connection.
func (plainServices) GRPCClient(context.Context, *plugin.GRPCBroker, *grpc.ClientConn) (any, error) {
	return nil, nil
}

// hello is what is generated for a method, and the method.
func hello(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // gRPC's order
	request := new(wrapperspb.StringValue)
	if err := decode(request); err != nil {
		return nil, err
	}
	return wrapperspb.String("Hello, " + request.GetValue() + "!"), nil
}

// plainFiles is a service that reads files for whoever asks.
const plainFiles = "/gaia.bench.Files/"

func readFile(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) { //nolint:revive // gRPC's order
	request := new(wrapperspb.StringValue)
	if err := decode(request); err != nil {
		return nil, err
	}
	content, err := os.ReadFile(request.GetValue())
	return wrapperspb.Bytes(content), err
}

// read streams a file in pieces of 1 MiB.
func read(_ any, stream grpc.ServerStream) error {
	request := new(wrapperspb.StringValue)
	if err := stream.RecvMsg(request); err != nil {
		return err
	}
	file, err := os.Open(request.GetValue())
	if err != nil {
		return err
	}
	defer file.Close()
	for buffer := make([]byte, 1<<20); ; {
		n, err := file.Read(buffer)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := stream.SendMsg(wrapperspb.Bytes(buffer[:n])); err != nil {
			return err
		}
	}
}

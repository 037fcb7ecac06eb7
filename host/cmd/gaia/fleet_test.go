package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fleet is the test binary as plugins of all manners, by the name that it is
// called by.
func fleet() map[string]func() {
	return map[string]func(){
		"fleet-echo":       func() { serveEcho(func() {}) },
		"fleet-deaf":       func() { signal.Ignore(syscall.SIGTERM); serveEcho(func() {}) },
		"fleet-rubbish":    func() { _, _ = os.Stdout.WriteString("Hello, I am no plugin.\n"); select {} },
		"fleet-silent":     func() { select {} },
		"fleet-exit":       func() { fmt.Fprintln(os.Stderr, "no license found"); os.Exit(3) },
		"fleet-grandchild": func() { serveEcho(leaveGrandchild) },
		"fleet-flood":      func() { serveEcho(func() { go flood() }) },
		"fleet-plain":      servePlain,
	}
}

// install puts members of the fleet into a plugin directory.
func install(t testing.TB, dir string, names ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// serveEcho serves echo; once is called when the plugin is configured.
func serveEcho(once func()) {
	sdk.Serve(func(r grpc.ServiceRegistrar) { apiv1.RegisterAPIClientPoolServer(r, &echo{once: once}) })
}

// echo answers requests with their own body; some URLs have other effects.
type echo struct {
	apiv1.UnimplementedAPIClientPoolServer

	once func()
}

func (e *echo) Configure(_ context.Context, c *apiv1.Config) error {
	if c.GetUserAgent() == "refuse" {
		return sdk.Invalid("user_agent", "Not this one.")
	}
	e.once()
	return nil
}

func (*echo) Do(ctx context.Context, r *apiv1.DoRequest) (*apiv1.DoResponse, error) {
	switch {
	case r.GetUrl() == "test:block":
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case r.GetUrl() == "test:panic":
		panic("as asked")
	case r.GetUrl() == "test:deaf":
		closeSockets()
	case strings.HasPrefix(r.GetUrl(), "test:exit"):
		os.Exit(4)
	case strings.HasPrefix(r.GetUrl(), "test:error"):
		return nil, status.Error(codes.DataLoss, "as asked")
	}
	return &apiv1.DoResponse{Status: 200, Body: r.GetBody(), Url: r.GetUrl()}, nil
}

// closeSockets shuts down every socket of this process, which lives on.
func closeSockets() {
	for fd := range 64 {
		_ = syscall.Shutdown(fd, syscall.SHUT_RDWR) // most are none
	}
}

// leaveGrandchild starts a process in a session of its own, out of reach of
// the group, that holds this one's output for a minute.
func leaveGrandchild() {
	cmd := exec.Command("sleep", "60") //nolint:noctx // outlives its parent on purpose, and ends by itself
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		panic(err)
	}
	fmt.Fprintf(os.Stderr, "grandchild %d\n", cmd.Process.Pid)
}

// flood writes to the raw descriptors without end, as fast as it can: lines,
// and lines that never end.
func flood() {
	line := []byte(strings.Repeat("x", 200) + "\n")
	endless := []byte(strings.Repeat("y", 256<<10))
	for {
		for range 1000 {
			_, _ = syscall.Write(1, line)
		}
		_, _ = syscall.Write(2, endless)
	}
}

// plainHandshake is what an ordinary user of go-plugin would write.
var plainHandshake = plugin.HandshakeConfig{
	ProtocolVersion: 1, MagicCookieKey: "PLAIN_PLUGIN", MagicCookieValue: "plain",
}

// plainPlugin serves the same echo on plain go-plugin.
type plainPlugin struct{ plugin.NetRPCUnsupportedPlugin }

func (plainPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	apiv1.RegisterAPIClientPoolServer(s, &echo{})
	return nil
}

func (plainPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return apiv1.NewAPIClientPoolClient(conn), nil
}

func servePlain() {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plainHandshake,
		Plugins:         plugin.PluginSet{"echo": plainPlugin{}},
		GRPCServer:      plugin.DefaultGRPCServer,
	})
}

// startPlain starts the echo as an ordinary host of go-plugin would.
func startPlain(t testing.TB) apiv1.APIClientPoolClient {
	t.Helper()
	dir := t.TempDir()
	install(t, dir, "fleet-plain")
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plainHandshake,
		Plugins:          plugin.PluginSet{"echo": plainPlugin{}},
		Cmd:              exec.Command(filepath.Join(dir, "fleet-plain")), //nolint:noctx // client.Kill ends it
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     10 * time.Second,
		Logger:           hclog.NewNullLogger(),
	})
	t.Cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := protocol.Dispense("echo")
	if err != nil {
		t.Fatal(err)
	}
	return raw.(apiv1.APIClientPoolClient)
}

package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/wire"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// fleet is the test binary as plugins of all manners, by the name that it is
// called by.
func fleet() map[string]func() {
	members := map[string]func(){
		"fleet-echo":         func() { serveEcho(func() {}) },
		"fleet-deaf":         func() { signal.Ignore(syscall.SIGTERM); serveEcho(func() {}) },
		"fleet-rubbish":      func() { _, _ = os.Stdout.WriteString("Hello, I am no plugin.\n"); select {} },
		"fleet-silent":       func() { select {} },
		"fleet-exit":         func() { fmt.Fprintln(os.Stderr, "no license found"); os.Exit(3) },
		"fleet-grandchild":   func() { serveEcho(leaveGrandchild) },
		"fleet-flood":        func() { serveEcho(func() { go flood() }) },
		"fleet-plain":        func() { servePlain(&apiv1.APIClientPool_ServiceDesc, &echo{}) },
		"fleet-reflected":    serveReflected,
		"fleet-stream":       serveStream,
		"fleet-plain-stream": func() { servePlain(streamService(), &struct{}{}) },
		"fleet-other":        func() { serveEcho(func() {}) }, // the same by another name
		"fleet-hangs":        serveHangs,
		"fleet-live":         serveLive,
		"fleet-exclusive":    serveExclusive,
		"fleet-narrow":       serveNarrow,
	}
	maps.Copy(members, systemFleet())
	return members
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

// echo answers requests with their own body and, as headers, who it is; some
// URLs have other effects.
type echo struct {
	apiv1.UnimplementedAPIClientPoolServer

	once  func()
	agent atomic.Pointer[string] // from the config
}

func (e *echo) Configure(_ context.Context, c *apiv1.Config) error {
	if c.GetUserAgent() == "refuse" {
		return sdk.Invalid("user_agent", "Not this one.")
	}
	e.agent.Store(new(c.GetUserAgent()))
	e.once()
	return nil
}

func (e *echo) Do(ctx context.Context, r *apiv1.DoRequest) (*apiv1.DoResponse, error) {
	switch {
	case r.GetUrl() == "test:block":
		<-ctx.Done()
		return nil, status.FromContextError(ctx.Err()).Err()
	case r.GetUrl() == "test:panic":
		panic("as asked")
	case r.GetUrl() == "test:deaf":
		closeSockets()
	case strings.HasPrefix(r.GetUrl(), "test:note "):
		if err := note(strings.TrimPrefix(r.GetUrl(), "test:note "), r.GetBody()); err != nil {
			return nil, err
		}
	case r.GetUrl() == "test:hog":
		hog()
	case r.GetUrl() == "test:bomb":
		return &apiv1.DoResponse{Status: uint32(bomb())}, nil
	case strings.HasPrefix(r.GetUrl(), "test:slow "):
		if err := awaitFile(ctx, strings.TrimPrefix(r.GetUrl(), "test:slow ")); err != nil {
			return nil, err
		}
	case strings.HasPrefix(r.GetUrl(), "test:exit"):
		os.Exit(4)
	case strings.HasPrefix(r.GetUrl(), "test:error"):
		return nil, status.Error(codes.DataLoss, "as asked")
	}
	headers := []*apiv1.Header{{Name: "Plugin", Value: filepath.Base(os.Args[0])}}
	if agent := e.agent.Load(); agent != nil {
		headers = append(headers, &apiv1.Header{Name: "Agent", Value: *agent})
	}
	return &apiv1.DoResponse{Status: 200, Body: r.GetBody(), Url: r.GetUrl(), Headers: headers}, nil
}

// header of an answer of echo.
func header(r *apiv1.DoResponse, name string) string {
	for _, h := range r.GetHeaders() {
		if h.GetName() == name {
			return h.GetValue()
		}
	}
	return ""
}

// hog takes memory, and uses it, without end.
func hog() {
	var all [][]byte
	for len(all) < 1<<20 {
		block := make([]byte, 1<<20)
		for i := 0; i < len(block); i += 4096 {
			block[i] = 1
		}
		all = append(all, block)
	}
}

// maxBomb keeps a bomb that nothing limits from harming the machine.
const maxBomb = 200

// bomb starts processes until that is refused, and returns how many there are.
func bomb() int {
	for n := range maxBomb {
		cmd := exec.Command("sleep", "60") //nolint:noctx // whoever limits us ends it
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		if cmd.Start() != nil {
			return n
		}
	}
	return maxBomb
}

// note appends a line to a file in one write, which outlives a kill.
func note(path string, line []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.Write(append(line, '\n'))
	return err
}

// awaitFile waits until a file is there.
func awaitFile(ctx context.Context, path string) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(path); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
}

// live is an echo that takes another config while it runs.
type live struct{ echo }

func (l *live) Reconfigure(ctx context.Context, c *apiv1.Config) error { return l.Configure(ctx, c) }

func serveLive() {
	sdk.Serve(func(r grpc.ServiceRegistrar) {
		apiv1.RegisterAPIClientPoolServer(r, &live{echo{once: func() {}}})
	})
}

// exclusive is an echo that needs a lock of which there is one.
type exclusive struct{ echo }

func (*exclusive) Exclusive() bool { return true }

// Configure takes the lock that the user agent names.
func (x *exclusive) Configure(ctx context.Context, c *apiv1.Config) error {
	f, err := os.OpenFile(c.GetUserAgent(), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return sdk.Invalid("user_agent", "%v.", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return sdk.Invalid("user_agent", "Somebody has the lock: %v.", err)
	}
	return x.echo.Configure(ctx, c) // the lock ends with the process
}

func serveExclusive() {
	sdk.Serve(func(r grpc.ServiceRegistrar) {
		apiv1.RegisterAPIClientPoolServer(r, &exclusive{echo{once: func() {}}})
	})
}

// What narrow can do: so many calls at once, each for a time.
const (
	narrowWorkers = 4
	narrowTime    = 20 * time.Millisecond
)

// narrow works on few calls at once and lets all others wait in front of it.
type narrow struct {
	apiv1.UnimplementedAPIClientPoolServer

	workers chan struct{}
}

func serveNarrow() {
	sdk.Serve(func(r grpc.ServiceRegistrar) {
		apiv1.RegisterAPIClientPoolServer(r, &narrow{workers: make(chan struct{}, narrowWorkers)})
	})
}

func (n *narrow) Do(ctx context.Context, _ *apiv1.DoRequest) (*apiv1.DoResponse, error) {
	select {
	case n.workers <- struct{}{}:
		defer func() { <-n.workers }()
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
	work := time.NewTimer(narrowTime)
	defer work.Stop()
	select {
	case <-work.C:
		return &apiv1.DoResponse{Status: 200}, nil
	case <-ctx.Done():
		return nil, status.FromContextError(ctx.Err()).Err()
	}
}

// serveHangs serves an echo whose whole process hangs when it is asked to, as
// one with a deadlock in its runtime does. Goroutines that cannot be preempted
// keep the garbage collector from stopping the world, for ever.
func serveHangs() {
	const env = "GODEBUG=asyncpreemptoff=1"
	if os.Getenv("GODEBUG") == "" {
		self, err := os.Executable()
		if err == nil {
			err = syscall.Exec(self, os.Args, append(os.Environ(), env))
		}
		panic(err)
	}
	sdk.Serve(func(r grpc.ServiceRegistrar) { apiv1.RegisterAPIClientPoolServer(r, &hangs{}) })
}

type hangs struct {
	apiv1.UnimplementedAPIClientPoolServer
}

func (*hangs) Do(context.Context, *apiv1.DoRequest) (*apiv1.DoResponse, error) {
	go func() {
		for {
			_ = 0 // nothing that could be interrupted
		}
	}()
	runtime.GC()
	return &apiv1.DoResponse{}, nil
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

// plainPlugin serves a service on plain go-plugin.
type plainPlugin struct {
	plugin.NetRPCUnsupportedPlugin

	service *grpc.ServiceDesc
	impl    any
}

func (p plainPlugin) GRPCServer(_ *plugin.GRPCBroker, s *grpc.Server) error {
	s.RegisterService(p.service, p.impl)
	return nil
}

func (plainPlugin) GRPCClient(_ context.Context, _ *plugin.GRPCBroker, conn *grpc.ClientConn) (any, error) {
	return conn, nil
}

// serveReflected serves gRPC with reflection and nothing of the contract.
func serveReflected() {
	err := wire.Serve(wire.ServeConfig{
		Register: func(s *grpc.Server) { apiv1.RegisterAPIClientPoolServer(s, apiv1.UnimplementedAPIClientPoolServer{}) },
		Logger:   hclog.NewNullLogger(),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func servePlain(service *grpc.ServiceDesc, impl any) {
	plugin.Serve(&plugin.ServeConfig{
		HandshakeConfig: plainHandshake,
		Plugins:         plugin.PluginSet{"plain": plainPlugin{service: service, impl: impl}},
		GRPCServer:      plugin.DefaultGRPCServer,
	})
}

// startPlain starts a member of the fleet as an ordinary host of go-plugin
// would.
func startPlain(t testing.TB, member string) *grpc.ClientConn {
	t.Helper()
	dir := t.TempDir()
	install(t, dir, member)
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plainHandshake,
		Plugins:          plugin.PluginSet{"plain": plainPlugin{}},
		Cmd:              exec.Command(filepath.Join(dir, member)), //nolint:noctx // client.Kill ends it
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     10 * time.Second,
		Logger:           hclog.NewNullLogger(),
	})
	t.Cleanup(client.Kill)
	protocol, err := client.Client()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := protocol.Dispense("plain")
	if err != nil {
		t.Fatal(err)
	}
	return raw.(*grpc.ClientConn)
}

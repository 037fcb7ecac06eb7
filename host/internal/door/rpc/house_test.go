package rpc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/sync/errgroup"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/door"
	"github.com/gaia-go/gaia/host/internal/door/bodies"
	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/host/internal/gateway"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// token lets in who calls a house.
const token = "s3cret"

// house is what of a host stands between a caller and a plugin: its two doors,
// the gateway and a supervisor, which runs the plugin of testdata/suites.
type house struct {
	http     string // host:port
	socket   string // path
	registry *registry.Registry[*gateway.Subsystem]
	handler  http.Handler // of the HTTP door
	logger   hclog.Logger

	running errgroup.Group
	stop    context.CancelFunc
}

// grace is the one of the host's config.
func grace() time.Duration { return 10 * time.Second }

// pluginDir builds the plugin once for all tests, in a directory of its own. The
// test binary may be told where it is.
var pluginDir = sync.OnceValues(func() (string, error) {
	if dir := os.Getenv("SUITES_PLUGIN_DIR"); dir != "" {
		return dir, nil
	}
	dir, err := os.MkdirTemp("", "gaia-suites")
	if err != nil {
		return "", err
	}
	build := exec.Command("go", "build", "-o", filepath.Join(dir, "suites"), "./testdata/suites")
	if output, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the plugin: %w\n%s", err, output)
	}
	return dir, nil
})

// openHouse starts a house in dir, a short path because of its sockets. Without
// a token everybody may call.
func openHouse(ctx context.Context, dir, token string, log io.Writer) (*house, error) {
	plugins, err := pluginDir()
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
	h := &house{
		socket:   filepath.Join(dir, "gaia.sock"),
		registry: new(registry.Registry[*gateway.Subsystem]),
		logger:   hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn}),
		stop:     stop,
	}
	serving := gateway.New(gateway.Options{Registry: h.registry, Logger: h.logger, Grace: grace})
	ready, err := h.startPlugin(ctx, plugins, serving)
	if err != nil {
		stop()
		return nil, err
	}
	c := door.Config{
		Pages:  http.NotFoundHandler(),
		RPC:    New(Config{Registry: h.registry, Gateway: serving, Bodies: bodies.New(bodies.Size)}),
		Token:  token,
		Grace:  grace,
		Logger: h.logger,
	}
	if token == "" {
		c.Authenticate = func(r *http.Request) (context.Context, error) { return r.Context(), nil }
	}
	server := door.New(c)
	h.handler = server.Handler()
	socket, err := net.Listen("unix", h.socket) //nolint:noctx // does not wait for anything
	if err != nil {
		return nil, errors.Join(err, h.close())
	}
	port, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // does not wait for anything
	if err != nil {
		return nil, errors.Join(err, socket.Close(), h.close())
	}
	h.http = port.Addr().String()
	h.running.Go(func() error { return serving.Serve(ctx, socket) })
	h.running.Go(func() error { return server.Serve(ctx, port) })
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	select {
	case <-ready:
		return h, nil
	case <-late.C:
		return nil, errors.Join(errors.New("the plugin does not get ready"), h.close())
	}
}

// startPlugin runs the supervisor of the plugin. What it returns is closed when
// an instance is ready.
func (h *house) startPlugin(ctx context.Context, plugins string, serving *gateway.Server) (<-chan struct{}, error) {
	path := filepath.Join(filepath.Dir(h.socket), "config.hcl")
	if err := os.WriteFile(path, []byte("subsystem \"suites\" {\n  plugin = \"suites\"\n}\n"), 0o600); err != nil {
		return nil, err
	}
	cfg, report := config.Load(path, nil)
	if report.HasErrors() {
		return nil, report.Err()
	}
	sockets, err := supervisor.SocketDir(h.socket)
	if err != nil {
		return nil, err
	}
	metrics := telemetry.New("test").Subsystem("suites")
	target := &gateway.Subsystem{Name: "suites", Gate: gate.New(gate.Config{}, metrics), Metrics: metrics}
	ready := make(chan struct{})
	var once sync.Once
	s := supervisor.New(supervisor.Options{
		Plan:        supervisor.NewPlan(&cfg.Subsystems[0]),
		PluginDir:   plugins,
		SocketDir:   sockets,
		Env:         supervisor.Environment("warn"),
		Executables: supervisor.NewExecutables(),
		Logger:      h.logger,
		Meter:       metrics,
		Described: func(d *registry.Description, _ string) {
			h.registry.Set("suites", d, target)
		},
		Changed: func(st supervisor.Status) {
			serving.SetReady("suites", st.State == supervisor.Ready)
			if st.State == supervisor.Ready {
				once.Do(func() { close(ready) })
			}
		},
		Event: func(supervisor.Event) {},
	})
	target.Instances = instances{s}
	h.running.Go(func() error {
		err := s.Run(ctx)
		return errors.Join(err, supervisor.RemoveSocketDir(sockets))
	})
	return ready, nil
}

func (h *house) close() error {
	h.stop()
	return h.running.Wait()
}

// instances lends the plugin's instance to the gateway.
type instances struct{ *supervisor.Supervisor }

func (i instances) Acquire(ctx context.Context, lost uint64) (gateway.Instance, error) {
	instance, err := i.Supervisor.Acquire(ctx, lost)
	if err != nil {
		return nil, err
	}
	return instance, nil
}

func (i instances) TryAcquire() gateway.Instance {
	if instance := i.Supervisor.TryAcquire(); instance != nil {
		return instance
	}
	return nil
}

// shortDir is a directory for sockets, which t.TempDir is too long for.
func shortDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "rpc")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// startHouse runs a house until the end of the test.
func startHouse(tb testing.TB) *house {
	tb.Helper()
	h, err := openHouse(tb.Context(), shortDir(tb), token, os.Stderr)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := h.close(); err != nil {
			tb.Error(err)
		}
	})
	return h
}

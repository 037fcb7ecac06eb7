// Package plugintest runs a plugin's real executable over a real handshake in
// the plugin's own tests:
//
//	func TestHello(t *testing.T) {
//		plugin := plugintest.Start(t, plugintest.Config(&hellov1.Config{Greeting: "Hi"}))
//		client := hellov1.NewGreeterClient(plugin.Conn())
//		…
//	}
package plugintest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/gaia-go/gaia/sdk/wire"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"
)

// callTimeout bounds each call that this package makes itself.
const callTimeout = 10 * time.Second

// Option changes what Start does.
type Option func(*options)

type options struct {
	binary string
	config proto.Message
	env    []string

	requests map[string]proto.Message // by the name of their methods
}

// Config is the message that the plugin is configured with. Without it the
// plugin gets an empty config.
func Config(message proto.Message) Option { return func(o *options) { o.config = message } }

// Binary is the path of an executable to run. Without it the main package in
// the test's directory is built.
func Binary(path string) Option { return func(o *options) { o.binary = path } }

// Request is a request of a method, such as "Greet", that Conformance may send a
// thousand times. It lets methods be checked that have side effects.
func Request(method string, message proto.Message) Option {
	return func(o *options) {
		if o.requests == nil {
			o.requests = make(map[string]proto.Message)
		}
		o.requests[method] = message
	}
}

// Env adds "key=value" to the plugin's environment, which otherwise has PATH,
// HOME and TMPDIR only.
func Env(keyValue string) Option { return func(o *options) { o.env = append(o.env, keyValue) } }

// Plugin is a running plugin. It ends with the test.
type Plugin struct {
	process     *wire.Process
	description *pluginv1.DescribeResponse
	contract    pluginv1.PluginClient
}

// Start builds and starts a plugin and configures it. Whatever goes wrong
// fails the test. The plugin's output appears in the test's log.
func Start(tb testing.TB, opts ...Option) *Plugin {
	tb.Helper()
	o := options{env: hostEnvironment()}
	for _, opt := range opts {
		opt(&o)
	}
	if o.binary == "" {
		o.binary = build(tb)
	}
	p := start(tb, o)
	ctx, cancel := context.WithTimeout(tb.Context(), callTimeout)
	defer cancel()
	var err error
	if p.description, err = p.contract.Describe(ctx, &pluginv1.DescribeRequest{}); err != nil {
		tb.Fatalf("plugintest: describe: %v", err)
	}
	for _, d := range p.Configure(tb, o.config) {
		tb.Errorf("plugintest: config: %s: %s: %s", d.GetPath(), d.GetSummary(), d.GetDetail())
	}
	return p
}

func hostEnvironment() []string {
	var env []string
	for _, key := range []string{"PATH", "HOME", "TMPDIR"} {
		if value, ok := os.LookupEnv(key); ok {
			env = append(env, key+"="+value)
		}
	}
	return env
}

// build compiles the main package in the test's directory.
func build(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	binary := filepath.Join(tb.TempDir(), filepath.Base(dir))
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-o", binary, ".") //nolint:gosec // G204: the name comes from the test's own directory
	if output, err := cmd.CombinedOutput(); err != nil {
		tb.Fatalf("plugintest: go build: %v\n%s", err, output)
	}
	return binary
}

func start(tb testing.TB, o options) *Plugin {
	tb.Helper()
	sockets, err := os.MkdirTemp("", "gaia") // the path of a socket has to be short, which TempDir's is not
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := os.RemoveAll(sockets); err != nil {
			tb.Errorf("plugintest: %v", err)
		}
	})
	process, err := wire.Start(tb.Context(), wire.Command{
		Path:      o.binary,
		Env:       o.env,
		SocketDir: sockets,
		Output:    func(_ int, line []byte) { _, _ = fmt.Fprintf(tb.Output(), "plugin: %s\n", line) },
	})
	if err != nil {
		tb.Fatalf("plugintest: start %s: %v", o.binary, err)
	}
	tb.Cleanup(func() {
		if err := process.Close(); err != nil {
			tb.Errorf("plugintest: %v", err)
		}
	})
	return &Plugin{process: process, contract: pluginv1.NewPluginClient(process.Conn())}
}

// Conn is the connection to the plugin, for generated clients.
func (p *Plugin) Conn() grpc.ClientConnInterface { return p.process.Conn() }

// Description is what the plugin says of itself.
func (p *Plugin) Description() *pluginv1.DescribeResponse { return p.description }

// Configure hands over another config and returns the faults that the plugin
// finds in it. A nil message stands for a subsystem without a config{} block.
func (p *Plugin) Configure(tb testing.TB, message proto.Message) []*pluginv1.Diagnostic {
	tb.Helper()
	var config []byte
	if message != nil {
		var err error
		if config, err = proto.Marshal(message); err != nil {
			tb.Fatalf("plugintest: marshal config: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(tb.Context(), callTimeout)
	defer cancel()
	response, err := p.contract.Configure(ctx, &pluginv1.ConfigureRequest{Config: config, Subsystem: "test"})
	if err != nil {
		tb.Fatalf("plugintest: configure: %v", err)
	}
	return response.GetDiagnostics()
}

// Metrics returns the plugin's metrics and their content type.
func (p *Plugin) Metrics(tb testing.TB) (contentType string, body []byte) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), callTimeout)
	defer cancel()
	response, err := p.contract.CollectMetrics(ctx, &pluginv1.CollectMetricsRequest{})
	if err != nil {
		tb.Fatalf("plugintest: collect metrics: %v", err)
	}
	return response.GetContentType(), response.GetBody()
}

// Terminate asks the plugin to end as the host does, and returns how it ended.
func (p *Plugin) Terminate(tb testing.TB) wire.Exit {
	tb.Helper()
	p.process.Terminate()
	timer := time.NewTimer(callTimeout)
	defer timer.Stop()
	select {
	case <-p.process.Exited():
	case <-timer.C:
		tb.Fatalf("plugintest: the plugin still runs %v after SIGTERM", callTimeout)
	}
	return p.process.Exit()
}

package supervisor

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/wire"
	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"

	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/registry"
)

// patience bounds every wait of these tests; none of them measures time.
const patience = 20 * time.Second

// TestMain makes the test binary its own fleet of plugins.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "fleet-echo":
		sdk.Serve(func(r grpc.ServiceRegistrar) { apiv1.RegisterAPIClientPoolServer(r, &echo{}) })
	case "fleet-exclusive":
		sdk.Serve(func(r grpc.ServiceRegistrar) { apiv1.RegisterAPIClientPoolServer(r, &exclusive{}) })
	case "fleet-babble":
		b := &babble{link: linkSocket()}
		sdk.Serve(func(r grpc.ServiceRegistrar) { apiv1.RegisterAPIClientPoolServer(r, b) })
	case "fleet-exit":
		os.Exit(3)
	default:
		os.Exit(m.Run())
	}
}

type echo struct {
	apiv1.UnimplementedAPIClientPoolServer
}

// Configure waits for as long as the file is there that the user agent names.
func (*echo) Configure(ctx context.Context, c *apiv1.Config) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, err := os.Stat(c.GetUserAgent()); err != nil {
			return nil // it is gone, or was never there
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// babble sends the host what is no frame, when it is called.
type babble struct {
	echo

	link int // descriptor
}

func (b *babble) Do(context.Context, *apiv1.DoRequest) (*apiv1.DoResponse, error) {
	_, err := syscall.Write(b.link, []byte("what is the length of this frame, and who would wait for so much?"))
	return &apiv1.DoResponse{}, err
}

// linkSocket is a descriptor of this process's own for its end of the link; -1
// without one.
func linkSocket() int {
	fd, err := strconv.Atoi(os.Getenv(wire.EnvLinkFD))
	if err != nil {
		return -1
	}
	if fd, err = syscall.Dup(fd); err != nil {
		return -1
	}
	return fd
}

type exclusive struct{ echo }

func (*exclusive) Exclusive() bool { return true }

// rig is a supervisor that runs, with plugins that are processes.
type rig struct {
	*Supervisor

	t       *testing.T
	plugins string
	// described is called with each description that is announced.
	described func()
	// log is all that the supervisor logged.
	log syncBuffer
}

// plan is what a config with one subsystem says: its plugin and more lines.
func plan(t *testing.T, plugin, lines string) *Plan {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.hcl")
	text := "subsystem \"s\" {\n  plugin = \"" + plugin + "\"\n" + lines + "}\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	c, report := config.Load(path, nil)
	if report.HasErrors() {
		t.Fatal(report.Err())
	}
	return NewPlan(&c.Subsystems[0])
}

// supervise runs a supervisor until the end of the test, which it must then end
// with.
func supervise(t *testing.T, p *Plan) *rig {
	t.Helper()
	r := &rig{t: t, plugins: t.TempDir(), described: func() {}}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fleet-echo", "fleet-exclusive", "fleet-exit", "fleet-babble"} {
		if err := os.Symlink(self, filepath.Join(r.plugins, name)); err != nil {
			t.Fatal(err)
		}
	}
	sockets, err := os.MkdirTemp("", "gaia") // of a socket's path
	if err != nil {
		t.Fatal(err)
	}
	r.Supervisor = New(Options{
		Plan: p, PluginDir: r.plugins, SocketDir: filepath.Join(sockets, "p"), Env: Environment("error"),
		Executables: NewExecutables(), Logger: hclog.New(&hclog.LoggerOptions{Output: &r.log}), Meter: &tally{},
		Described: func(*registry.Description, string) { r.described() },
		Changed:   func(Status) {},
		Event:     func(Event) {},
	})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Errorf("Run has not ended %v after its context", patience)
		}
		_ = os.RemoveAll(sockets)
	})
	return r
}

// await polls the status until it is as wanted.
func (r *rig) await(want func(Status) bool) Status {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		s := r.Status()
		if want(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.t.Fatalf("the status stayed %+v", s)
		}
	}
}

// logsSoon reports whether a text is in the log, or comes into it.
func (r *rig) logsSoon(text string) bool {
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for range int(patience / (2 * time.Millisecond)) {
		if strings.Contains(r.log.String(), text) {
			return true
		}
		<-tick.C
	}
	return false
}

// copyOf makes another executable of the fleet, with other content.
func (r *rig) copyOf(name, as string) {
	r.t.Helper()
	content, err := os.ReadFile(filepath.Join(r.plugins, name))
	if err != nil {
		r.t.Fatal(err)
	}
	path := filepath.Join(r.plugins, as)
	_ = os.Remove(path) // it may be there
	if err := os.WriteFile(path, append(content, 'x'), 0o700); err != nil {
		r.t.Fatal(err)
	}
}

// syncBuffer may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

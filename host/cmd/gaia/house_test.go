package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
)

// patience bounds every wait of these tests; none of them measures time.
const patience = 30 * time.Second

// headlessShell is where Debian has the browser; tests that need one are skipped
// where it is not.
const headlessShell = "/usr/lib/chromium/chromium-headless-shell"

// house is the real host binary, running.
type house struct {
	dir    string
	cmd    *exec.Cmd
	stderr *buffer
	table  table
	conn   *grpc.ClientConn
	host   hostv1.HostClient
	ended  chan error
}

// table is what `gaia run --json` prints once.
type table struct {
	Socket     string `json:"socket"`
	GRPC       string `json:"grpc"`
	HTTP       string `json:"http"`
	Subsystems []struct {
		Name   string `json:"name"`
		State  string `json:"state"`
		PID    int    `json:"pid"`
		Reason string `json:"reason"`
	} `json:"subsystems"`
}

// programs are what binaries builds, by its place in bin.
func programs() map[string]string {
	return map[string]string{
		"gaia":                             ".",
		"numbers":                          "./testdata/numbers",
		"plugins/gaia-api-client-pool":     "../../../plugins/api-client-pool",
		"plugins/gaia-browser-pool":        "../../../plugins/browser-pool",
		"plugins/gaia-file-manager":        "../../../plugins/file-manager",
		"plugins/gaia-network-coordinator": "../../../plugins/network-coordinator",
		"plugins/gaia-process-manager":     "../../../plugins/process-manager",
		"plugins/hello":                    "../../../examples/hello",
		"plugins/memory-file-manager":      "../../../examples/memory-file-manager",
	}
}

// binaries builds the host, the plugins and what they start once for all tests.
var binaries = sync.OnceValues(func() (string, error) {
	dir := os.Getenv(binEnv)
	for out, pkg := range programs() {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, out), pkg)
		if output, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", pkg, err, output)
		}
	}
	return dir, nil
})

// newHouse makes a short directory (of a socket's path) with the built
// binaries in bin, as `make build` leaves them.
func newHouse(t testing.TB) string {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "gaia")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.CopyFS(filepath.Join(dir, "bin"), os.DirFS(bin)); err != nil {
		t.Fatal(err)
	}
	for path := range programs() {
		if err := os.Chmod(filepath.Join(dir, "bin", path), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shippedConfig is the config.hcl of the repository, on free ports.
func shippedConfig(t testing.TB) string {
	t.Helper()
	content, err := os.ReadFile("../../../config.hcl")
	if err != nil {
		t.Fatal(err)
	}
	shipped := string(content)
	for _, address := range []string{`"127.0.0.1:4242"`, `"127.0.0.1:3128"`} {
		if !strings.Contains(shipped, address) {
			t.Fatalf("config.hcl does not listen on %s", address)
		}
		shipped = strings.Replace(shipped, address, `"127.0.0.1:0"`, 1)
	}
	return shipped
}

// callingLoopback is the shipped config with a rule that lets the client pool
// call the servers of a test.
func callingLoopback(t testing.TB) string {
	t.Helper()
	const known = "connections_per_host = 64\n"
	shipped := shippedConfig(t)
	if !strings.Contains(shipped, known) {
		t.Fatalf("config.hcl has no %q", known)
	}
	return strings.Replace(shipped, known, known+`
    egress {
      rule {
        action    = "allow"
        addresses = ["loopback"]
      }
    }
`, 1)
}

// fleetConfig has one subsystem for each member of the fleet, named without
// the prefix. extra is added to each block.
func fleetConfig(extra string, members ...string) string {
	config := "host { http = \"127.0.0.1:0\" }\n"
	for _, m := range members {
		config += fmt.Sprintf("subsystem %q {\n  plugin = \"fleet-%s\"\n%s\n}\n", m, m, extra)
	}
	return config
}

// open runs the host on a config until the end of the test, and waits for its
// table.
func open(t testing.TB, dir, config string, members ...string) *house {
	t.Helper()
	for _, m := range members {
		install(t, filepath.Join(dir, "bin", "plugins"), "fleet-"+m)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.hcl"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	h := &house{dir: dir, stderr: &buffer{}, ended: make(chan error, 1)}
	h.cmd = exec.Command(filepath.Join(dir, "bin/gaia"), "run", "-config", filepath.Join(dir, "config.hcl"), "--json") //nolint:noctx // close ends it, as a user does
	h.cmd.Dir, h.cmd.Stderr = dir, h.stderr
	stdout, err := h.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := h.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.close(t) })
	if err := json.NewDecoder(stdout).Decode(&h.table); err != nil {
		t.Fatalf("no table from the host: %v\n%s", err, h.stderr)
	}
	go func() {
		_, _ = io.Copy(io.Discard, stdout)
		h.ended <- h.cmd.Wait()
	}()
	h.conn, err = grpc.NewClient("unix:"+h.table.Socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	h.host = hostv1.NewHostClient(h.conn)
	return h
}

// close ends the host as a user does and checks that it ended well.
func (h *house) close(t testing.TB) {
	t.Helper()
	if h.conn != nil {
		_ = h.conn.Close()
	}
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return // a test has ended it
	}
	select {
	case err := <-h.ended:
		if err != nil {
			t.Errorf("the host ended with %v\n%s", err, h.stderr)
		}
	case <-time.After(patience):
		_ = h.cmd.Process.Kill()
		t.Errorf("the host still ran %v after SIGTERM\n%s", patience, h.stderr)
	}
	if left, err := os.ReadDir(filepath.Join(h.dir, "run", "p")); err == nil {
		t.Errorf("the host left its plugins' sockets: %v", left)
	}
}

func (h *house) api() apiv1.APIClientPoolClient { return apiv1.NewAPIClientPoolClient(h.conn) }

// status of one subsystem.
func (h *house) status(t testing.TB, name string) *hostv1.Subsystem {
	t.Helper()
	response, err := h.host.Status(t.Context(), &hostv1.StatusRequest{Subsystem: name})
	if err != nil {
		t.Fatal(err)
	}
	return response.GetSubsystems()[0]
}

// await polls a subsystem's status until it is as wanted.
func (h *house) await(t testing.TB, name string, want func(*hostv1.Subsystem) bool) *hostv1.Subsystem {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		s := h.status(t, name)
		if want(s) {
			return s
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("subsystem %s stayed %v\n%s", name, s, h.stderr)
		}
	}
}

// metric returns the value of one series of /metrics, named with its labels in
// alphabetical order.
func (h *house) metric(t testing.TB, series string) float64 {
	t.Helper()
	body := h.get(t, "/metrics")
	for line := range strings.Lines(body) {
		if rest, ok := strings.CutPrefix(line, series+" "); ok {
			v, err := strconv.ParseFloat(strings.TrimSpace(rest), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	t.Fatalf("no series %s in:\n%s", series, body)
	return 0
}

func (h *house) get(t testing.TB, path string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+h.table.HTTP+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// eventually reports whether something becomes true.
func eventually(t *testing.T, is func() bool) bool {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// withSubsystem chooses among subsystems that serve the same service.
func withSubsystem(ctx context.Context, name string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "gaia-subsystem", name)
}

// buffer is a bytes.Buffer that a process may still write to.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

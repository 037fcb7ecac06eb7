package processes

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/grpc/test/bufconn"
	"google.golang.org/protobuf/types/known/durationpb"
)

// patience bounds what a test waits for; none of them measures time.
const patience = 20 * time.Second

// bench is a manager that is called over gRPC, as by the host. There is no keeper.
type bench struct {
	processv1.ProcessManagerClient

	t       testing.TB
	manager *Manager
	conn    *grpc.ClientConn
	server  *grpc.Server
}

// testConfig lets a shell do anything, and little else.
func testConfig(t testing.TB) *processv1.Config {
	t.Helper()
	return &processv1.Config{
		LogDir: filepath.Join(t.TempDir(), "logs"),
		Command: map[string]*processv1.Command{
			"sh":      {Path: "/bin/sh", Args: []string{`(?s).*`}, CallerEnv: []string{"X_*"}, CallerDirs: []string{"/tmp"}, CallerUsers: []string{"nobody", "no-such-user"}},
			"sleep":   {Path: "/bin/sleep", Args: []string{`[0-9.]+`}},
			"missing": {Path: "/no/such/program"},
			"text":    {Path: "/etc/passwd"},
			"small":   {Path: "/bin/sh", Args: []string{`(?s).*`}, Limits: &processv1.CommandLimits{Memory: 32 << 20, Processes: 20}},
		},
	}
}

// open serves a manager until the end of the test, and checks then that nothing
// is left of it.
func open(t testing.TB, config *processv1.Config) *bench {
	t.Helper()
	leavesNothing(t)
	b := &bench{t: t, manager: New(), server: grpc.NewServer()}
	if err := b.manager.Configure(t.Context(), config); err != nil {
		t.Fatal(err)
	}
	listener := bufconn.Listen(1 << 20)
	processv1.RegisterProcessManagerServer(b.server, b.manager)
	served := make(chan error, 1)
	go func() { served <- b.server.Serve(listener) }()
	var err error
	b.conn, err = grpc.NewClient("passthrough:bench", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) { return listener.DialContext(ctx) }),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(64<<20)))
	if err != nil {
		t.Fatal(err)
	}
	b.ProcessManagerClient = processv1.NewProcessManagerClient(b.conn)
	t.Cleanup(func() {
		_ = b.conn.Close()
		b.server.Stop()
		if err := errors.Join(<-served, b.manager.Shutdown(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return b
}

// leavesNothing makes the test fail at its end if a goroutine or a descriptor is
// left. It comes first.
func leavesNothing(t testing.TB) {
	t.Helper()
	goroutines, files := runtime.NumGoroutine(), openFiles()
	t.Cleanup(func() {
		if !soon(func() bool { return runtime.NumGoroutine() <= goroutines }) {
			var stacks strings.Builder
			_ = pprof.Lookup("goroutine").WriteTo(&stacks, 1)
			t.Errorf("%d goroutines before, %d after:\n%s", goroutines, runtime.NumGoroutine(), &stacks)
		}
		if !soon(func() bool { return openFiles() <= files+1 }) { // one more for the runtime's poller
			t.Errorf("%d open files before, %d after", files, openFiles())
		}
	})
}

func openFiles() int {
	entries, _ := os.ReadDir("/proc/self/fd")
	return len(entries)
}

// soon waits for what nobody announces, and reports whether it happened.
func soon(done func() bool) bool {
	for end := time.Now().Add(patience); !done(); {
		if time.Now().After(end) {
			return false
		}
		<-time.After(time.Millisecond)
	}
	return true
}

// bounds reports whether a control group limits something.
func (b *bench) bounds(controller string) bool {
	groups, _, _ := strings.Cut(b.manager.forest.String(), ";")
	return strings.HasPrefix(groups, "cgroup") && strings.Contains(groups, controller)
}

// shell is a spec that runs a script.
func shell(script string) *processv1.Spec {
	return &processv1.Spec{Command: "sh", Args: []string{"-c", script}}
}

func (b *bench) context() context.Context {
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	b.t.Cleanup(cancel)
	return ctx
}

// start starts a process that has to start.
func (b *bench) start(r *processv1.StartRequest) *processv1.Process {
	b.t.Helper()
	response, err := b.Start(b.context(), r)
	if err != nil {
		b.t.Fatal(err)
	}
	return response.GetProcess()
}

func (b *bench) get(name string) *processv1.Process {
	b.t.Helper()
	response, err := b.Get(b.context(), &processv1.GetRequest{Name: name})
	if err != nil {
		b.t.Fatal(err)
	}
	return response.GetProcess()
}

// wait waits until a process has ended for good, or is in one of the states.
func (b *bench) wait(name string, states ...processv1.State) *processv1.Process {
	b.t.Helper()
	response, err := b.Wait(b.context(), &processv1.WaitRequest{Name: name, States: states})
	if err != nil {
		b.t.Fatal(err)
	}
	return response.GetProcess()
}

func (b *bench) stop(name string, policy *processv1.StopPolicy) *processv1.Process {
	b.t.Helper()
	response, err := b.Stop(b.context(), &processv1.StopRequest{Name: name, Stop: policy, By: "test"})
	if err != nil {
		b.t.Fatal(err)
	}
	return response.GetProcess()
}

func (b *bench) signal(name, signal string) {
	b.t.Helper()
	if _, err := b.Signal(b.context(), &processv1.SignalRequest{Name: name, Signal: signal}); err != nil {
		b.t.Fatal(err)
	}
}

// log is all that a process has written so far.
func (b *bench) log(name string) string {
	b.t.Helper()
	stream, err := b.Logs(b.context(), &processv1.LogsRequest{Name: name})
	if err != nil {
		b.t.Fatal(err)
	}
	var log strings.Builder
	for {
		r, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return log.String()
		}
		if err != nil {
			b.t.Fatal(err)
		}
		log.Write(r.GetContent())
	}
}

// awaitLog waits until a process has written something.
func (b *bench) awaitLog(name, text string) string {
	b.t.Helper()
	var log string
	if !soon(func() bool { log = b.log(name); return strings.Contains(log, text) }) {
		b.t.Fatalf("%s has written %q, want %q", name, log, text)
	}
	return log
}

// refused checks an error's code and that its text has all of the parts.
func refused(t testing.TB, err error, code codes.Code, parts ...string) {
	t.Helper()
	if status.Code(err) != code {
		t.Errorf("got %v, want code %v", err, code)
		return
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("got %v, want %q in it", err, part)
		}
	}
}

func seconds(n float64) *durationpb.Duration {
	return durationpb.New(time.Duration(n * float64(time.Second)))
}

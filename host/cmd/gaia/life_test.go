package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

const (
	// quick lets an instance be killed again and again without backoff.
	quick = "  restart { stable_after = \"0s\" }\n"
	pool  = "api_client_pool"
)

func isReady(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_READY }

func TestTheShippedHouseComesBackFromKill9While64CallersCall(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = fmt.Fprintf(w, "hello from %s", r.URL.Path)
	}))
	defer server.Close()
	h := open(t, newHouse(t), callingLoopback(t))
	before := h.status(t, pool)

	// Callers call until the plugin was seen to come back.
	ctx, stop := context.WithCancel(t.Context())
	var good atomic.Int64
	var callers sync.WaitGroup
	for range 64 {
		callers.Go(func() {
			for ctx.Err() == nil {
				r, err := h.api().Do(t.Context(), &apiv1.DoRequest{Url: server.URL + "/x"})
				switch {
				case err == nil && string(r.GetBody()) == "hello from /x":
					good.Add(1)
				default:
					t.Errorf("got %v and %v, want the answer: the call may be repeated", r, err)
					return
				}
			}
		})
	}
	kill(t, before.GetPid())
	after := h.await(t, pool, func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > before.GetGeneration() })
	stop()
	callers.Wait()

	if after.GetPid() == before.GetPid() || after.GetGeneration() != before.GetGeneration()+1 || after.GetRestarts() != 1 {
		t.Errorf("after the kill: got %v, want the next generation and one restart", after)
	}
	if good.Load() == 0 {
		t.Error("got no good answer, want many")
	}
	r, err := h.api().Do(t.Context(), &apiv1.DoRequest{Url: server.URL + "/later"})
	if err != nil || r.GetStatus() != 200 {
		t.Errorf("a later call: got %v and %v, want 200", r, err)
	}
	for series, want := range map[string]float64{
		`gaia_instance_exits_total{reason="signal",subsystem="api_client_pool"}`:                                 1,
		`gaia_instance_starts_total{reason="first",subsystem="api_client_pool"}`:                                 1,
		`gaia_instance_starts_total{reason="restart",subsystem="api_client_pool"}`:                               1,
		`gaia_instance_up{subsystem="api_client_pool"}`:                                                          1,
		`gaia_instance_generation{subsystem="api_client_pool"}`:                                                  2,
		`gaia_calls_total{code="OK",method="gaia.api.v1.APIClientPool/Do",subsystem="api_client_pool"}`:          float64(good.Load() + 1),
		`gaia_calls_total{code="Unavailable",method="gaia.api.v1.APIClientPool/Do",subsystem="api_client_pool"}`: 0,
		`gaia_call_seconds_count{method="gaia.api.v1.APIClientPool/Do",subsystem="api_client_pool"}`:             float64(good.Load() + 1),
	} {
		if got := h.metric(t, series); got != want {
			t.Errorf("%s: got %v, want %v", series, got, want)
		}
	}
}

func TestAServiceThatTheHostWasNotCompiledWithIsServedByConfigAlone(t *testing.T) {
	dir := newHouse(t)
	h := open(t, dir, `host { http = "127.0.0.1:0" }
subsystem "hello" {
  plugin = "hello"
  config { greeting = "Good morning" }
}`)
	for args, want := range map[string]string{
		"hello.Hello name=Ada":   `{"text":"Good morning, Ada!"}`,
		"hello.Countdown from=2": "{\"left\":2}\n{\"left\":1}\n{}",
	} {
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "bin/gaia"), append([]string{"call"}, strings.Fields(args)...)...)
		cmd.Dir = dir
		got, err := cmd.CombinedOutput()
		if err != nil || strings.TrimSpace(string(got)) != want {
			t.Errorf("gaia call %s: got %s (%v), want %s", args, got, err, want)
		}
	}
	if got := h.metric(t, `gaia_calls_total{code="OK",method="hello.v1.Greeter/Hello",subsystem="hello"}`); got != 1 {
		t.Errorf("calls counted: got %v, want 1", got)
	}
}

func TestPluginsThatCannotStartStopNobodyElseAndSayWhy(t *testing.T) {
	dir := newHouse(t)
	if err := os.WriteFile(filepath.Join(dir, "bin/plugins/fleet-text"), []byte("just text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin/plugins/fleet-noexec"), []byte("no program"), 0o755); err != nil {
		t.Fatal(err)
	}
	const noQuarantine = "restart {\n crash_loop { exits = 0 }\n}\n" // five exits may take a moment only
	config := fleetConfig(noQuarantine, "echo", "missing", "text", "noexec", "rubbish", "exit") +
		"subsystem \"changed\" {\n  plugin = \"fleet-echo\"\n  sha256 = \"" + strings.Repeat("0", 64) + "\"\n}\n"
	h := open(t, dir, config, "echo", "rubbish", "exit")
	if r, err := h.api().Do(withSubsystem(t.Context(), "echo"), &apiv1.DoRequest{Body: []byte("x")}); err != nil || string(r.GetBody()) != "x" {
		t.Errorf("the good plugin: got %v and %v", r, err)
	}
	for name, want := range map[string]struct {
		state  hostv1.State
		reason string
	}{
		"missing": {hostv1.State_BACKOFF, "does not exist"},
		"text":    {hostv1.State_FAILED, "is not executable; try chmod +x"},
		"noexec":  {hostv1.State_FAILED, "exec format error"},
		"changed": {hostv1.State_FAILED, "the config wants " + strings.Repeat("0", 64)},
		"rubbish": {hostv1.State_BACKOFF, `its first line on standard output is "Hello, I am no plugin.", not a handshake`},
		"exit":    {hostv1.State_BACKOFF, `before the handshake; its last line: "no license found"`},
	} {
		s := h.await(t, name, func(s *hostv1.Subsystem) bool { return s.GetState() == want.state })
		if !strings.Contains(s.GetReason(), want.reason) || strings.Contains(s.GetReason(), "\n") {
			t.Errorf("%s: got reason %q, want one line with %q", name, s.GetReason(), want.reason)
		}
	}
	_, err := h.api().Do(withSubsystem(t.Context(), "missing"), &apiv1.DoRequest{})
	if status.Code(err) != codes.Unavailable && status.Code(err) != codes.Unimplemented {
		t.Errorf("a call to a failed subsystem: got %v", err)
	}
}

func TestAPluginThatRefusesItsConfigSaysWhyAndWhere(t *testing.T) {
	dir := newHouse(t)
	h := open(t, dir, fleetConfig("  config { user_agent = \"refuse\" }\n", "echo"), "echo")
	s := h.await(t, "echo", func(s *hostv1.Subsystem) bool { return s.GetState() == hostv1.State_FAILED })
	if want := "config.hcl:4: Config refused by the plugin: Not this one."; !strings.HasSuffix(s.GetReason(), want) {
		t.Errorf("got reason %q, want it to end in %q", s.GetReason(), want)
	}
}

func TestAPluginThatClosesItsConnectionAndLivesOnIsReplaced(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig(quick, "echo"), "echo")
	// The answer is lost with the connection, or not.
	_, _ = h.api().Do(t.Context(), &apiv1.DoRequest{Method: "POST", Url: "test:deaf"})
	h.await(t, "echo", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() == 2 })
	if _, err := h.api().Do(t.Context(), &apiv1.DoRequest{}); err != nil {
		t.Errorf("a later call: %v", err)
	}
}

func TestASilentPluginIsGivenUpAfterItsStartTimeout(t *testing.T) {
	dir := newHouse(t)
	h := open(t, dir, fleetConfig("", "silent", "echo"), "silent", "echo")
	if s := h.status(t, "echo"); !isReady(s) {
		t.Errorf("the good plugin waits for the silent one: %v", s)
	}
	h.await(t, "silent", func(s *hostv1.Subsystem) bool { return strings.Contains(s.GetReason(), "no handshake within 10s") })
}

func TestACrashIsSeenThoughAGrandchildHoldsThePipesAndThatOneIsEnded(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig(quick, "grandchild"), "grandchild")
	for range 3 {
		before := h.status(t, "grandchild")
		grandchild := h.grandchild(t, before.GetGeneration())
		kill(t, before.GetPid())
		h.await(t, "grandchild", func(s *hostv1.Subsystem) bool { return isReady(s) && s.GetGeneration() > before.GetGeneration() })
		if runtime.GOOS != "linux" { // there it outlives the plugin, and ends by itself
			kill(t, int32(grandchild))
		}
		h.await(t, "grandchild", func(*hostv1.Subsystem) bool { return errors.Is(syscall.Kill(grandchild, 0), syscall.ESRCH) })
	}
}

// grandchild reads the pid that a generation of fleet-grandchild logged.
func (h *house) grandchild(t *testing.T, generation uint64) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	stream, err := h.host.Logs(ctx, &hostv1.LogsRequest{Subsystem: "grandchild", Follow: true})
	if err != nil {
		t.Fatal(err)
	}
	for {
		e, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if text, ok := strings.CutPrefix(e.GetMessage(), "grandchild "); ok && e.GetGeneration() == generation {
			pid, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			return pid
		}
	}
}

func TestAFloodOfOutputDelaysNobody(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("", "flood", "echo"), "flood", "echo")
	for _, name := range []string{"flood", "echo"} {
		for i := range 100 {
			r, err := h.api().Do(withSubsystem(t.Context(), name), &apiv1.DoRequest{Body: []byte{byte(i)}})
			if err != nil || r.GetBody()[0] != byte(i) {
				t.Fatalf("call %d to %s: got %v and %v", i, name, r, err)
			}
		}
	}
	if s := h.status(t, "flood"); s.GetGeneration() != 1 {
		t.Errorf("the flooding plugin was restarted: %v", s)
	}
}

func TestAPanicCostsOneCallAndNotThePlugin(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("", "echo"), "echo")
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{Url: "test:panic"})
	if status.Code(err) != codes.Internal || strings.Contains(err.Error(), "goroutine") {
		t.Errorf("got %v, want Internal without a stack", err)
	}
	if r, err := h.api().Do(t.Context(), &apiv1.DoRequest{Body: []byte("x")}); err != nil || string(r.GetBody()) != "x" {
		t.Errorf("the call after the panic: got %v and %v", r, err)
	}
	if s := h.status(t, "echo"); s.GetGeneration() != 1 {
		t.Errorf("the plugin was restarted: %v", s)
	}
}

func TestACallLearnsThatItsInstanceExited(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig(quick, "echo"), "echo")
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{Method: "POST", Url: "test:exit"}) // not to be repeated
	want := "echo: instance 1 exited during the call: exited with code 4 after "
	if status.Code(err) != codes.Unavailable || !strings.HasPrefix(status.Convert(err).Message(), want) {
		t.Errorf("got %v, want Unavailable: %s…", err, want)
	}
	if _, err := h.api().Do(t.Context(), &apiv1.DoRequest{}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestACallBeyondTheQueueIsRefusedAtOnceAndToldWhenToComeBack(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("  limits {\n    concurrency = 1\n    queue = 1\n  }\n", "echo"), "echo")
	ctx, cancel := context.WithCancel(t.Context())
	var waiting sync.WaitGroup
	defer waiting.Wait()
	defer cancel()
	for _, want := range []func(*hostv1.Subsystem) bool{
		func(s *hostv1.Subsystem) bool { return s.GetInFlight() == 1 },
		func(s *hostv1.Subsystem) bool { return s.GetQueued() == 1 },
	} {
		waiting.Go(func() { _, _ = h.api().Do(ctx, &apiv1.DoRequest{Url: "test:block"}) })
		h.await(t, "echo", want)
	}
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{})
	st := status.Convert(err)
	if st.Code() != codes.ResourceExhausted {
		t.Fatalf("got %v, want ResourceExhausted", err)
	}
	told := false
	for _, d := range st.Details() {
		_, ok := d.(*errdetails.RetryInfo)
		told = told || ok
	}
	if !told {
		t.Errorf("got details %v, want RetryInfo", st.Details())
	}
	if got := h.metric(t, `gaia_rejected_total{policy="bulkhead",subsystem="echo"}`); got != 1 {
		t.Errorf("rejections counted: got %v, want 1", got)
	}
}

func TestABodyOverTheLimitIsRefusedByTheNameOfTheLimit(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 2048))
	}))
	defer server.Close()
	config := strings.Replace(callingLoopback(t), `"8MiB"`, `"1KiB"`, 1)
	h := open(t, newHouse(t), config)
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{Url: server.URL, Timeout: durationpb.New(patience)})
	if status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "max_response_body") {
		t.Errorf("got %v, want ResourceExhausted that names max_response_body", err)
	}
}

func TestADenialNamesItsRuleByFileAndLine(t *testing.T) {
	h := open(t, newHouse(t), `host { http = "127.0.0.1:0" }
subsystem "api_client_pool" {
  plugin = "gaia-api-client-pool"
  config {
    egress {
      rule {
        action = "deny"
        hosts  = ["*.evil.test"]
      }
    }
    profile "evil" {
      base_url = "https://www.evil.test/"
      bearer   = "hunter2"
    }
  }
}`)
	_, err := h.api().Do(t.Context(), &apiv1.DoRequest{Profile: "evil", Url: "x"})
	if status.Code(err) != codes.PermissionDenied || !strings.Contains(err.Error(), "is denied by rule[0] (") || !strings.Contains(err.Error(), "config.hcl:6)") {
		t.Errorf("got %v, want PermissionDenied by rule[0] at config.hcl:6", err)
	}
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("the error has the secret: %v", err)
	}
}

func TestASecondHostOnTheSameSocketIsRefused(t *testing.T) {
	dir := newHouse(t)
	h := open(t, dir, fleetConfig("", "echo"), "echo")
	second := exec.CommandContext(t.Context(), filepath.Join(dir, "bin/gaia"), "run")
	second.Dir = dir
	output, err := second.CombinedOutput()
	want := fmt.Sprintf("already runs in %s (pid %d)", filepath.Dir(h.table.Socket), h.cmd.Process.Pid)
	if err == nil || !strings.Contains(string(output), want) {
		t.Errorf("got %v and %s, want an error with %q", err, output, want)
	}
	if _, err := h.api().Do(t.Context(), &apiv1.DoRequest{}); err != nil {
		t.Errorf("the first host: %v", err)
	}
}

func TestTheSocketAndTheTokenAreTheirOwnersOnly(t *testing.T) {
	h := open(t, newHouse(t), fleetConfig("", "echo"), "echo")
	for path, want := range map[string]os.FileMode{"run": 0o700, "run/gaia.sock": 0o600, "run/token": 0o600, "run/p": 0o700} {
		info, err := os.Stat(filepath.Join(h.dir, path))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("mode of %s: got %v, want %v", path, got, want)
		}
	}
}

func kill(t testing.TB, pid int32) {
	t.Helper()
	if pid <= 0 {
		t.Fatalf("no process to kill: pid %d", pid)
	}
	if err := syscall.Kill(int(pid), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

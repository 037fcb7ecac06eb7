package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"github.com/gaia-go/gaia/sdk/plugintest"
	"github.com/gaia-go/gaia/sdk/wire"
	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// start starts a plugin of the fleet as a host does.
func start(t *testing.T, name string, env ...string) (*wire.Process, *proctest.Transcript) {
	t.Helper()
	sockets, path := proctest.LeavesNothing(t), proctest.Link(t, name)
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	said := proctest.NewTranscript()
	p, err := wire.Start(t.Context(), wire.Command{
		Path: path, File: file, SocketDir: sockets, Output: said.Add,
		Env: append(env, "GORACE=atexit_sleep_ms=0"),
	})
	if err != nil {
		t.Fatal(errors.Join(err, file.Close()))
	}
	t.Cleanup(func() {
		defer file.Close()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p, said
}

func ask(ctx context.Context, conn grpc.ClientConnInterface, what string) (string, error) {
	r, err := grpc_testing.NewTestServiceClient(conn).UnaryCall(ctx, &grpc_testing.SimpleRequest{Payload: payload(what)})
	return r.GetUsername(), err
}

func payload(text string) *grpc_testing.Payload { return &grpc_testing.Payload{Body: []byte(text)} }

// talk opens a stream and waits until the plugin has answered on it.
func talk(t *testing.T, conn grpc.ClientConnInterface) grpc.BidiStreamingClient[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse] {
	t.Helper()
	// The test ends the stream; its context must not.
	stream, err := grpc_testing.NewTestServiceClient(conn).FullDuplexCall(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	say(t, stream, "hello")
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	return stream
}

func say(t *testing.T, stream grpc.BidiStreamingClient[grpc_testing.StreamingOutputCallRequest, grpc_testing.StreamingOutputCallResponse], what string) {
	t.Helper()
	if err := stream.Send(&grpc_testing.StreamingOutputCallRequest{Payload: payload(what)}); err != nil {
		t.Error(err)
	}
}

func TestSIGTERMFinishesTheCallsInFlightAndClosesTheServices(t *testing.T) {
	p, said := start(t, "gaia-test-station")
	stream := talk(t, p.Conn())
	answer := make(chan error, 1)
	go func() {
		_, err := ask(context.WithoutCancel(t.Context()), p.Conn(), "wait")
		answer <- err
	}()
	said.Await(t, "waiting")
	p.Terminate()

	refused := proctest.Soon(func() bool {
		_, err := ask(t.Context(), p.Conn(), "greet you")
		return status.Code(err) == codes.Unavailable && status.Convert(err).Message() == "plugin is draining and takes no new calls"
	})
	if !refused {
		t.Error("new calls are taken after SIGTERM")
	}
	late, err := grpc_testing.NewTestServiceClient(p.Conn()).FullDuplexCall(t.Context())
	if err == nil {
		_, err = late.Recv()
	}
	if status.Code(err) != codes.Unavailable {
		t.Errorf("a new stream: got %v, want Unavailable", err)
	}

	say(t, stream, "release")
	if err := <-answer; err != nil {
		t.Errorf("the call in flight: %v", err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the stream in flight: got %v, want its proper end", err)
	}
	<-p.Exited()
	if exit := p.Exit(); exit.Code != 0 || exit.Signal != 0 {
		t.Errorf("got %v, want exit code 0", exit)
	}
	said.Await(t, "station shuts down") // after go-plugin's pipes have ended
}

func TestTheHostsDrainComesBeforeTheEnd(t *testing.T) {
	p, said := start(t, "gaia-test-station")
	response, err := pluginv1.NewPluginClient(p.Conn()).Drain(t.Context(), &pluginv1.DrainRequest{})
	if err != nil || response.GetUnfinished() != 0 {
		t.Errorf("got %v, error %v, want nothing unfinished", response, err)
	}
	said.Await(t, "station drains")
	if _, err := ask(t.Context(), p.Conn(), "greet you"); status.Code(err) != codes.Unavailable {
		t.Errorf("a call after the drain: got %v, want Unavailable", err)
	}
}

func TestAPanicEndsItsCallAndNothingElse(t *testing.T) {
	p, said := start(t, "gaia-test-station")
	_, err := ask(t.Context(), p.Conn(), "panic secret")
	want := "plugin panicked in /grpc.testing.TestService/UnaryCall; its log has the stack"
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != want || len(s.Details()) > 0 {
		t.Errorf("unary: got %v, details %v, want Internal: %s", err, s.Details(), want)
	}
	stream := talk(t, p.Conn())
	say(t, stream, "panic")
	_, err = stream.Recv()
	want = "plugin panicked in /grpc.testing.TestService/FullDuplexCall; its log has the stack"
	if s := status.Convert(err); s.Code() != codes.Internal || s.Message() != want {
		t.Errorf("stream: got %v, want Internal: %s", err, want)
	}
	if logged := said.Await(t, "call panicked"); !strings.Contains(logged, `"panic":"secret"`) || !strings.Contains(logged, "(*station).UnaryCall") {
		t.Errorf("got log %s, want the panic and its stack", logged)
	}
	if _, err := ask(t.Context(), p.Conn(), "greet you"); err != nil {
		t.Errorf("the next call: %v", err)
	}
	// Calls that panicked are not in flight any more.
	if _, err := pluginv1.NewPluginClient(p.Conn()).Drain(t.Context(), &pluginv1.DrainRequest{}); err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestAPluginThatIsRunByHandSaysWhatItIs(t *testing.T) {
	tests := []struct{ name, want string }{
		{"gaia-test-station", "gaia-test-station is a gaia plugin and is started by the host.\n" +
			"Put it into plugin_dir and name it in config.hcl: subsystem \"x\" { plugin = \"gaia-test-station\" }\n"},
		{"gaia-test-serves-nothing", "gaia plugin: sdk.Serve was given no service\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			cmd := exec.CommandContext(t.Context(), proctest.Link(t, test.name))
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			_ = cmd.Run() // the exit code says more
			if code := cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("got exit code %d, want 1", code)
			}
			if stdout.Len() > 0 {
				t.Errorf("got %q on standard output, want nothing", &stdout)
			}
			if diff := cmp.Diff(test.want, stderr.String()); diff != "" {
				t.Errorf("want -, got +:\n%s", diff)
			}
		})
	}
}

func TestACloseThatFailsIsTheLastWord(t *testing.T) {
	p, said := start(t, "gaia-test-leaky")
	p.Terminate()
	said.Await(t, "gaia plugin: water in the hull")
	<-p.Exited()
	if code := p.Exit().Code; code != 1 {
		t.Errorf("got exit code %d, want 1", code)
	}
}

func TestTheLogHasTheHostsLevel(t *testing.T) {
	for level, want := range map[string]bool{"debug": true, "info": false, "": false, "nonsense": false} {
		t.Run(level, func(t *testing.T) {
			p, said := start(t, "gaia-test-station", wire.EnvLogLevel+"="+level)
			if _, err := ask(t.Context(), p.Conn(), "log something"); err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			var got []any
			for _, line := range said.Lines() {
				var entry map[string]any
				if json.Unmarshal([]byte(line), &entry) == nil && entry["@message"] == "logged" {
					got = append(got, entry["what"])
				}
			}
			if len(got) > 0 != want || want && got[0] != "something" {
				t.Errorf("got %q, want a line at debug: %v", got, want)
			}
		})
	}
}

func TestThePluginIsConfigured(t *testing.T) {
	p := plugintest.Start(t, plugintest.Binary(proctest.Link(t, "gaia-test-station")), plugintest.Config(wrapperspb.String("hello,")))
	if got, err := ask(t.Context(), p.Conn(), "greet you"); err != nil || got != "hello, you" {
		t.Errorf("got %q, error %v, want %q", got, err, "hello, you")
	}
	const summary = "Config refused by the plugin"
	want := []*pluginv1.Diagnostic{
		{Path: "value", Summary: summary, Detail: `"wrong" is wrong, write something right.`},
		{Summary: summary, Detail: "Nothing about it is right."},
		{Summary: summary, Detail: "no idea"},
	}
	got := p.Configure(t, wrapperspb.String("wrong"))
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b *pluginv1.Diagnostic) bool { return proto.Equal(a, b) })); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
	if got, want := p.Description().GetName(), "gaia-test-station"; got != want {
		t.Errorf("name: got %q, want %q", got, want)
	}
	if exit := p.Terminate(t); exit.Code != 0 {
		t.Errorf("got %v, want exit code 0", exit)
	}
}

func TestAPluginLearnsWhereItsBlocksAreWritten(t *testing.T) {
	p, _ := start(t, "gaia-test-station")
	places := []*pluginv1.Place{
		{Path: "egress", File: "config.hcl", Line: 40},
		{Path: "egress.rule[2]", File: "config.hcl", Line: 42},
		{Path: `client["ci"]`, File: "other.hcl", Line: 7},
	}
	for path, want := range map[string]string{
		"egress":         "config.hcl:40",
		"egress.rule[2]": "config.hcl:42",
		`client["ci"]`:   "other.hcl:7",
		"egress.rule[3]": "",
		"":               "",
	} {
		config, err := proto.Marshal(wrapperspb.String("the place of " + path))
		if err != nil {
			t.Fatal(err)
		}
		for at, places := range map[string][]*pluginv1.Place{want: places, "": nil} { // not those of the Configure before
			r, err := pluginv1.NewPluginClient(p.Conn()).Configure(t.Context(), &pluginv1.ConfigureRequest{Config: config, Places: places})
			if err != nil || len(r.GetDiagnostics()) > 0 {
				t.Fatalf("%s: %v, %v", path, r, err)
			}
			if got, err := ask(t.Context(), p.Conn(), "greet you"); err != nil || got != strconv.Quote(at)+" you" {
				t.Errorf("%q is at %s, %v; want %q", path, got, err, at)
			}
		}
	}
}

func TestWhatIsNoConfigIsAnError(t *testing.T) {
	tests := []struct {
		name  string
		given []byte
		want  string
	}{
		{"gaia-test-station", []byte("rubbish"), "config is not a google.protobuf.StringValue: proto: cannot parse invalid wire-format data"},
		{"gaia-test-leaky", []byte{10, 1, 'x'}, "gaia-test-leaky takes no config"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, _ := start(t, test.name)
			_, err := pluginv1.NewPluginClient(p.Conn()).Configure(t.Context(), &pluginv1.ConfigureRequest{Config: test.given})
			if s := status.Convert(err); s.Code() != codes.InvalidArgument || plainSpaces(s.Message()) != test.want {
				t.Errorf("got %v, want InvalidArgument: %s", err, test.want)
			}
		})
	}
}

func TestTheMetricsOfAllServicesAreCollected(t *testing.T) {
	p := plugintest.Start(t, plugintest.Binary(proctest.Link(t, "gaia-test-station")))
	contentType, body := p.Metrics(t)
	const want = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
	if !strings.HasPrefix(contentType, want) {
		t.Errorf("got content type %q, want %q", contentType, want)
	}
	decoder := expfmt.NewDecoder(bytes.NewReader(body), expfmt.Format(contentType))
	var got []string
	for {
		var family dto.MetricFamily
		err := decoder.Decode(&family)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, family.GetName())
	}
	if diff := cmp.Diff([]string{"gauge_metric", "station_metric"}, got); diff != "" {
		t.Errorf("want -, got +:\n%s", diff)
	}
}

func TestTheProcessHasThePluginsName(t *testing.T) {
	if _, err := os.Stat("/proc/self/comm"); err != nil {
		t.Skip("this system has no names to set")
	}
	p, _ := start(t, "gaia-test-station")
	got, err := os.ReadFile("/proc/" + strconv.Itoa(p.PID()) + "/comm")
	if want := "gaia-test-stati\n"; err != nil || string(got) != want {
		t.Errorf("got %q, error %v, want %q", got, err, want)
	}
}

package gateway

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/gate"
	"github.com/gaia-go/gaia/sdk/link"
)

// socketEnv makes the test binary a backend process that listens there.
const socketEnv = "GATEWAY_TEST_SOCKET"

// linkSuffix makes of a backend's socket the one of its link.
const linkSuffix = "l"

func TestMain(m *testing.M) {
	if path := os.Getenv(socketEnv); path != "" {
		if err := runBackend(path); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// runBackend serves the test service. A unary call of "hang" and a stream
// after its first message never end; it says so on standard output.
func runBackend(path string) error {
	lis, err := new(net.ListenConfig).Listen(context.Background(), "unix", path)
	if err != nil {
		return err
	}
	s := grpc.NewServer()
	hang := func(ctx context.Context) error {
		_, _ = os.Stdout.WriteString("hanging\n") // the test waits for it
		<-ctx.Done()
		return ctx.Err()
	}
	e := echo{
		unary: func(ctx context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
			if string(r.GetValue()) == "hang" {
				return nil, hang(ctx)
			}
			return r, nil
		},
		stream: func(s grpc.ServerStream) error {
			message := new(wrapperspb.BytesValue)
			if err := s.RecvMsg(message); err != nil {
				return err
			}
			if err := s.SendMsg(message); err != nil {
				return err
			}
			return hang(s.Context())
		},
	}
	e.register(s)
	fast, err := new(net.ListenConfig).Listen(context.Background(), "unix", path+linkSuffix)
	if err != nil {
		return err
	}
	l := link.NewServer(link.ServerOptions{Logger: hclog.NewNullLogger()})
	e.register(l)
	go l.Serve(context.Background(), fast) //nolint:errcheck // it is killed
	if _, err := os.Stdout.WriteString("ready\n"); err != nil {
		return err
	}
	return s.Serve(lis)
}

// backend is an instance that is a process.
type backend struct {
	*instance

	cmd   *exec.Cmd
	lines chan string // what it says
}

// startBackend starts a process. close says whether the connection is closed
// as soon as the process has ended, as a supervisor does.
func startBackend(t testing.TB, generation uint64, closes bool) *backend {
	t.Helper()
	lis, address := listen(t)
	if err := lis.Close(); err != nil { // only its path is wanted
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), socketEnv+"="+strings.TrimPrefix(address, "unix:"))
	lines := make(chan string, 100)
	cmd.Stdout = lineWriter(lines)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := &backend{instance: &instance{ClientConn: dial(t, address), exited: make(chan struct{}), generation: generation}, cmd: cmd, lines: lines}
	ready := make(chan struct{})
	go func() {
		_ = cmd.Wait() // it is killed
		b.exit = "killed by signal 9"
		<-ready
		if closes {
			_ = b.Close()
			if b.link != nil {
				_ = b.link.Close()
			}
		}
		close(b.exited)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // a test may have done so
		<-b.exited
	})
	defer close(ready)
	if line := <-lines; line != "ready" {
		t.Fatalf("the backend said %q", line)
	}
	if waysOf(t).instance == byLink {
		b.link = openLink(t, address+linkSuffix)
	}
	return b
}

type lineWriter chan<- string

func (w lineWriter) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		w <- strings.TrimSpace(line)
	}
	return len(p), nil
}

func (b *backend) kill(t testing.TB) {
	t.Helper()
	if err := b.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

func TestACallThatLosesItsInstanceSaysHowItEnded(t *testing.T) {
	overEach(t, aCallThatLosesItsInstanceSaysHowItEnded)
}

func aCallThatLosesItsInstanceSaysHowItEnded(t trial) {
	for _, closes := range []bool{false, true} {
		t.Run(fmt.Sprintf("closes=%t", closes), func(t trial) {
			b := startBackend(t, 3, closes)
			h := startHost(t, Options{}, &Subsystem{Name: "echo", Instances: always(b.instance)})
			want := "echo: instance 3 exited during the call: killed by signal 9"
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() {
					_, err := h.call(t.Context(), []byte("hang"))
					if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != want {
						t.Errorf("unary: got %v", err)
					}
				})
				s := h.open(t.Context(), bothMethod)
				send(t, s, "x")
				if got, err := receive(s); err != nil || got != "x" {
					t.Errorf("got %q, %v", got, err)
				}
				wg.Go(func() {
					_, err := receive(s)
					if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != want {
						t.Errorf("stream: got %v", err)
					}
				})
			}
			for range 20 {
				<-b.lines
			}
			b.kill(t)
			wg.Wait()
			<-b.exited
			// A call that was given the dead instance is told the same.
			_, err := h.call(t.Context(), []byte("x"))
			if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != want {
				t.Errorf("afterwards: got %v", err)
			}
			if _, err := receive(h.open(t.Context(), bothMethod)); status.Convert(err).Message() != want {
				t.Errorf("a stream afterwards: got %v", err)
			}
		})
	}
}

// An instance that answers Unavailable itself, say because a server it needs
// is down, is alive: nobody waits for its death.
func TestAnInstancesOwnUnavailableIsPassedOnAtOnce(t *testing.T) {
	overEach(t, anInstancesOwnUnavailableIsPassedOnAtOnce)
}

func anInstancesOwnUnavailableIsPassedOnAtOnce(t trial) {
	h := echoHost(t, echo{unary: func(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		return nil, status.Error(codes.Unavailable, "upstream is down")
	}})
	_, err := h.call(t.Context(), nil)
	if st := status.Convert(err); st.Code() != codes.Unavailable || st.Message() != "upstream is down" {
		t.Errorf("got %v", err)
	}
}

func TestOnlyTheEndOfAConnectionIsTakenForADeath(t *testing.T) {
	dead := &instance{exited: make(chan struct{}), exit: "exit code 1", generation: 7}
	close(dead.exited)
	alive := &instance{exited: make(chan struct{}), generation: 7}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	reached := peer.Peer{Addr: &net.UnixAddr{Name: "x", Net: "unix"}}
	complete := answer{trailer: map[string][]string{"content-type": {"application/grpc"}}, peer: reached}
	begun := answer{header: map[string][]string{"content-type": {"application/grpc"}}, peer: reached}
	sent := answer{peer: reached}
	draining, err := status.New(codes.Unavailable, "draining").WithDetails(&errdetails.ErrorInfo{Domain: "gaia", Reason: "DRAINING"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		given     string
		cancelled bool // by the caller
		instance  *instance
		answer    answer
		err       error
		code      codes.Code
		want      string
		reach     gate.Reach
	}{
		{"connection lost", false, dead, sent, status.Error(codes.Unavailable, "EOF"), codes.Unavailable, "instance 7 exited during the call: exit code 1", gate.Lost},
		{"connection lost midway", false, dead, begun, status.Error(codes.Unavailable, "EOF"), codes.Unavailable, "instance 7 exited during the call: exit code 1", gate.Lost},
		{"connection lost, still alive", false, alive, sent, status.Error(codes.Unavailable, "EOF"), codes.Unavailable, "EOF", gate.Lost},
		{"no connection", false, dead, answer{}, status.Error(codes.Unavailable, "refused"), codes.Unavailable, "instance 7 exited during the call: exit code 1", gate.Unreached},
		{"no connection, still alive", false, alive, answer{}, status.Error(codes.Unavailable, "refused"), codes.Unavailable, "refused", gate.Unreached},
		{"answered by itself", false, dead, complete, status.Error(codes.Unavailable, "busy"), codes.Unavailable, "busy", gate.Answered},
		{"refused because it drains", false, alive, complete, draining.Err(), codes.Unavailable, "draining", gate.Unreached},
		{"connection closed", false, dead, sent, status.Error(codes.Canceled, "closing"), codes.Unavailable, "instance 7 exited during the call: exit code 1", gate.Lost},
		{"connection closed, still alive", false, alive, sent, status.Error(codes.Canceled, "closing"), codes.Unavailable, "the connection to instance 7 was closed", gate.Lost},
		{"the caller cancelled", true, dead, answer{}, status.Error(codes.Canceled, "x"), codes.Canceled, "x", gate.Answered},
		{"the plugin says cancelled", false, alive, begun, status.Error(codes.Canceled, "x"), codes.Canceled, "x", gate.Answered},
		{"another error", false, dead, answer{}, status.Error(codes.NotFound, "x"), codes.NotFound, "x", gate.Answered},
	} {
		t.Run(c.given, func(t *testing.T) {
			ctx := t.Context()
			if c.cancelled {
				ctx = cancelled
			}
			reach, err := c.answer.lost(ctx, c.instance, c.err)
			if st := status.Convert(err); st.Code() != c.code || st.Message() != c.want || reach != c.reach {
				t.Errorf("got %v and reach %d, want %v %q and reach %d", err, reach, c.code, c.want, c.reach)
			}
		})
	}
}

func TestAStreamThatADrainingInstanceEndsIsNoFaultOfThePluginAndNotStartedAgain(t *testing.T) {
	draining, err := status.New(codes.Unavailable, "ending").WithDetails(
		&errdetails.ErrorInfo{Domain: "gaia", Reason: "DRAINING"}, &errdetails.RetryInfo{})
	if err != nil {
		t.Fatal(err)
	}
	var begun atomic.Int64
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{stream: func(s grpc.ServerStream) error {
		begun.Add(1)
		if err := s.SendMsg(wrapperspb.Bytes(nil)); err != nil {
			return err
		}
		return draining.Err()
	}})), Gate: gate.New(gate.Config{
		Breakers: []gate.Breaker{{Failures: 1, Within: time.Minute, OpenFor: time.Minute}}, Retry: gate.Retry{Attempts: 5},
	}, nil)}
	h := startHost(t, Options{}, sub)
	for n := range int64(3) {
		s, err := dial(t, h.address).NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, downMethod)
		if err != nil {
			t.Fatal(err)
		}
		send(t, s, "")
		if _, err := receive(s); err != nil {
			t.Fatal(err)
		}
		_, err = receive(s)
		details := status.Convert(err).Details()
		if status.Code(err) != codes.Unavailable || len(details) != 1 || begun.Load() != n+1 {
			t.Errorf("got %v with %v after %d streams, want Unavailable with RetryInfo alone", err, details, begun.Load())
		}
	}
	if got := sub.Gate.Breakers(); got != 0 {
		t.Errorf("got %v breakers open, want none", got)
	}
}

func TestCallersWhoVanishAreNoFaultOfThePlugin(t *testing.T) {
	ended := make(chan struct{}, 100)
	sub := &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{stream: func(s grpc.ServerStream) error {
		defer func() { ended <- struct{}{} }()
		for {
			if err := s.SendMsg(wrapperspb.Bytes(make([]byte, 1000))); err != nil {
				return err
			}
		}
	}})), Gate: gate.New(gate.Config{Breakers: []gate.Breaker{{Failures: 1, Within: time.Minute, OpenFor: time.Minute}}}, nil)}
	h := startHost(t, Options{}, sub)
	for range 20 {
		caller := dial(t, h.address)
		s, err := caller.NewStream(t.Context(), &grpc.StreamDesc{ServerStreams: true}, downMethod)
		if err != nil {
			t.Fatal(err)
		}
		send(t, s, "")
		if _, err := receive(s); err != nil {
			t.Fatalf("after callers that vanished: %v", err)
		}
		_ = caller.Close()
		<-ended
	}
	if got := sub.Gate.Breakers(); got != 0 {
		t.Errorf("breaker in state %d, want closed", got)
	}
	eventually(t, "all are counted as cancelled", func() bool { return h.metric("gaia_calls_total", "code", "Canceled") == 20 })
}

// What an instance says after its header has no trailers that would tell it
// from a connection that broke.
func TestUnavailableAfterAHeaderIsTheInstancesOwnWord(t *testing.T) {
	overEach(t, unavailableAfterAHeaderIsTheInstancesOwnWord)
}

func unavailableAfterAHeaderIsTheInstancesOwnWord(t trial) {
	for _, header := range []bool{false, true} {
		t.Run(fmt.Sprintf("header=%t", header), func(t trial) {
			var tries atomic.Int64
			g := always(serveEcho(t, echo{unary: func(ctx context.Context, _ *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
				tries.Add(1)
				if header {
					if err := grpc.SendHeader(ctx, metadata.Pairs("h", "1")); err != nil {
						t.Error(err)
					}
				}
				return nil, status.Error(codes.Unavailable, "upstream is down")
			}}))
			sub := &Subsystem{Name: "echo", Instances: g, Gate: gate.New(gate.Config{Retry: gate.Retry{Attempts: 3, Budget: 1}}, nil)}
			_, err := startHost(t, Options{}, sub).call(t.Context(), nil)
			if status.Convert(err).Message() != "upstream is down" || tries.Load() != 1 {
				t.Errorf("got %v after %d tries, want the plugin's error after one: the method is not idempotent", err, tries.Load())
			}
		})
	}
}

// A plugin that calls others passes on their errors: it must not speak for
// itself with what the host was told by them.
func TestTheWordThatAnInstanceDrainsStaysWithTheHost(t *testing.T) {
	overEach(t, theWordThatAnInstanceDrainsStaysWithTheHost)
}

func theWordThatAnInstanceDrainsStaysWithTheHost(t trial) {
	draining, err := status.New(codes.Unavailable, "draining").WithDetails(
		&errdetails.ErrorInfo{Domain: "gaia", Reason: "DRAINING"}, &errdetails.ErrorInfo{Domain: "else"})
	if err != nil {
		t.Fatal(err)
	}
	h := echoHost(t, echo{unary: func(context.Context, *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
		return nil, draining.Err()
	}})
	_, err = h.call(t.Context(), nil)
	details := status.Convert(err).Details()
	if len(details) != 1 || details[0].(*errdetails.ErrorInfo).GetDomain() != "else" {
		t.Errorf("got details %v, want the other one alone", details)
	}
}

package coordinator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"time"

	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
)

// dial returns a client of the coordinator over gRPC.
func dial(t *testing.T, c *Coordinator, options ...grpc.ServerOption) networkv1.NetworkCoordinatorClient {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	s := grpc.NewServer(options...)
	networkv1.RegisterNetworkCoordinatorServer(s, c)
	served := make(chan error, 1)
	go func() { served <- s.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		s.Stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return networkv1.NewNetworkCoordinatorClient(conn)
}

// openTunnel opens a Tunnel to an echo server that says bye at the end.
func openTunnel(t *testing.T, client networkv1.NetworkCoordinatorClient) grpc.BidiStreamingClient[networkv1.TunnelRequest, networkv1.TunnelResponse] {
	t.Helper()
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.Copy(conn, conn)
		_, _ = io.WriteString(conn, "bye")
		conn.Close()
	}()
	t.Cleanup(func() { listener.Close(); <-ended })
	stream, err := client.Tunnel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	at := listener.Addr().(*net.TCPAddr)
	if err := stream.Send(&networkv1.TunnelRequest{Host: "127.0.0.1", Port: uint32(at.Port), Client: "agent"}); err != nil {
		t.Fatal(err)
	}
	first, err := stream.Recv()
	if err != nil || first.GetOpened().GetClient() != "agent" || first.GetOpened().GetRule() != "rule[0]" {
		t.Fatalf("got %v, %v, want the connection", first, err)
	}
	return stream
}

func TestATunnelCarriesBothWaysAndTellsOfBothEnds(t *testing.T) {
	c := start(t, &networkv1.Config{Egress: loopback()})
	stream := openTunnel(t, dial(t, c))
	content := strings.Repeat("content", 40000)
	go func() {
		_ = stream.Send(&networkv1.TunnelRequest{Content: []byte(content)})
		_ = stream.CloseSend()
	}()
	var got strings.Builder
	half := false
	for {
		message, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got.Write(message.GetContent())
		half = half || message.GetHalfClosed()
	}
	if got.String() != content+"bye" || !half {
		t.Errorf("got %d bytes, half_closed %v, want %d and true", got.Len(), half, len(content)+3)
	}
}

func TestATunnelThatIsEndedIsAborted(t *testing.T) {
	for name, end := range map[string]func(c *Coordinator, id string){
		"by CloseConnection": func(c *Coordinator, id string) {
			if _, err := c.CloseConnection(t.Context(), &networkv1.CloseConnectionRequest{Id: id}); err != nil {
				t.Error(err)
			}
		},
		"by idle_timeout": func(c *Coordinator, _ string) {
			config := &networkv1.Config{Egress: loopback(), IdleTimeout: durationpb.New(20 * time.Millisecond)}
			if err := c.Reconfigure(t.Context(), config); err != nil {
				t.Error(err)
			}
		},
		"by rules": func(c *Coordinator, _ string) {
			if err := c.Reconfigure(t.Context(), &networkv1.Config{}); err != nil {
				t.Error(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, &networkv1.Config{Egress: loopback()})
			stream := openTunnel(t, dial(t, c))
			end(c, connections(t, c)[0].GetId())
			if _, err := stream.Recv(); status.Code(err) != codes.Aborted {
				t.Errorf("got %v, want Aborted", err)
			}
			if left := connections(t, c); len(left) > 0 {
				t.Errorf("left open: %v", left)
			}
		})
	}
}

func TestABadTunnelSaysWhatIsWrong(t *testing.T) {
	c := start(t, &networkv1.Config{Egress: loopback(), MaxConnections: 1})
	client := dial(t, c)
	for name, test := range map[string]struct {
		first *networkv1.TunnelRequest
		want  codes.Code
	}{
		"no host":      {&networkv1.TunnelRequest{Port: 1}, codes.InvalidArgument},
		"no port":      {&networkv1.TunnelRequest{Host: "a.example"}, codes.InvalidArgument},
		"content":      {&networkv1.TunnelRequest{Host: "a.example", Port: 1, Content: []byte("x")}, codes.InvalidArgument},
		"a rule":       {&networkv1.TunnelRequest{Host: "10.0.0.1", Port: 1}, codes.PermissionDenied},
		"nobody there": {&networkv1.TunnelRequest{Host: "127.0.0.1", Port: 1}, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			stream, err := client.Tunnel(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			_ = stream.Send(test.first)
			if _, err := stream.Recv(); status.Code(err) != test.want {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
	stream := openTunnel(t, client)
	second, err := client.Tunnel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = second.Send(&networkv1.TunnelRequest{Host: "127.0.0.1", Port: 1})
	if _, err := second.Recv(); status.Code(err) != codes.ResourceExhausted || !strings.Contains(err.Error(), "max_connections") {
		t.Errorf("one too many: got %v, want ResourceExhausted by max_connections", err)
	}
	_ = stream.Send(&networkv1.TunnelRequest{Host: "again"})
	if _, err := stream.Recv(); status.Code(err) != codes.InvalidArgument {
		t.Errorf("a second target: got %v, want InvalidArgument", err)
	}
}

func TestACallerThatGoesTakesItsTunnelAlong(t *testing.T) {
	c := start(t, &networkv1.Config{Egress: loopback()})
	client := dial(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	address := strings.TrimPrefix(server(t), "http://127.0.0.1:")
	var port uint32
	_, _ = fmt.Sscan(address, &port)
	stream, err := client.Tunnel(ctx)
	if err != nil {
		t.Fatal(err)
	}
	_ = stream.Send(&networkv1.TunnelRequest{Host: "127.0.0.1", Port: port})
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	cancel()
	for deadline := time.Now().Add(5 * time.Second); len(connections(t, c)) > 0; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("the connection is still open")
		}
	}
}

func TestATunnelWhoseCallerReadsNothingEndsWithItsConnection(t *testing.T) {
	c := start(t, &networkv1.Config{Egress: loopback()})
	ended := make(chan error, 1)
	client := dial(t, c, grpc.StreamInterceptor(func(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
		err := handle(service, stream)
		ended <- err
		return err
	}))
	listener, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	const much = 64 << 20 // more than all windows and buffers between have room for
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		host, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = host.Write(make([]byte, much))
		host.Close()
	}()
	t.Cleanup(func() { listener.Close(); <-flooded })
	stream, err := client.Tunnel(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	port := uint32(listener.Addr().(*net.TCPAddr).Port)
	if err := stream.Send(&networkv1.TunnelRequest{Host: "127.0.0.1", Port: port}); err != nil {
		t.Fatal(err)
	}
	// It is stuck when nothing more comes from the host.
	if err := c.Reconfigure(t.Context(), &networkv1.Config{Egress: loopback(), IdleTimeout: durationpb.New(50 * time.Millisecond)}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if status.Code(err) != codes.Aborted || !strings.Contains(err.Error(), "idle") {
			t.Errorf("got %v, want Aborted by idle", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the call goes on without its connection")
	}
}

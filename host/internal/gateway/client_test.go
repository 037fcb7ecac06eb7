package gateway

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/access"
	"github.com/gaia-go/gaia/host/internal/config"
	"github.com/gaia-go/gaia/host/internal/telemetry"
	"github.com/gaia-go/gaia/sdk/link"
)

// clientsOf are the clients of a config.
func clientsOf(t testing.TB, text string) *access.Clients {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, report := config.Load(path, nil)
	if report.HasErrors() {
		t.Fatal(report.Err())
	}
	log := access.OpenLog(hclog.NewNullLogger(), func(int) {})
	t.Cleanup(log.Close)
	clients := access.New(telemetry.New("test"), log)
	clients.Set(config.Token{}, cfg.Clients)
	return clients
}

const ciToken = "0123456789abcdef"

func bearing(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+token)
}

func TestAPluginLearnsWhichClientCallsAndNothingThatACallerMadeUp(t *testing.T) {
	overEach(t, func(t trial) {
		seen := make(chan metadata.MD, 1)
		i := serveEcho(t, echo{
			unary: func(ctx context.Context, r *wrapperspb.BytesValue) (*wrapperspb.BytesValue, error) {
				md, _ := metadata.FromIncomingContext(ctx)
				seen <- md
				return r, nil
			},
			stream: func(stream grpc.ServerStream) error {
				md, _ := metadata.FromIncomingContext(stream.Context())
				seen <- md
				return nil
			},
		})
		h := startHost(t, Options{Clients: clientsOf(t, "client \"ci\" {\n  token = \""+ciToken+"\"\n  allow = [\"echo.*\"]\n}\n")},
			&Subsystem{Name: "echo", Instances: always(i)})
		forged := metadata.AppendToOutgoingContext(t.Context(), "gaia-client", "root", "mine", "kept")
		for want, ctx := range map[string]context.Context{"ci": bearing(forged, ciToken), "": forged} {
			if _, err := h.call(ctx, []byte("x")); err != nil {
				t.Fatal(err)
			}
			unary := <-seen
			stream := h.open(ctx, bothMethod)
			_, _ = receive(stream)
			for _, md := range []metadata.MD{unary, <-seen} {
				if got := strings.Join(md.Get("gaia-client"), ","); got != want || len(md.Get("authorization")) > 0 || len(md.Get("mine")) != 1 {
					t.Errorf("the plugin got %v, want the client %q", md, want)
				}
			}
		}
	})
}

func TestAnOpenStreamHoldsAPlaceOfItsClient(t *testing.T) {
	i := serveEcho(t, echo{})
	h := startHost(t, Options{Clients: clientsOf(t, "client \"ci\" {\n  token = \""+ciToken+"\"\n  allow = [\"echo.*\"]\n  limits { concurrency = 1 }\n}\n")},
		&Subsystem{Name: "echo", Instances: always(i)})
	ctx, cancel := context.WithCancel(bearing(t.Context(), ciToken))
	stream := h.open(ctx, bothMethod)
	if err := stream.SendMsg(wrapperspb.Bytes([]byte("x"))); err != nil {
		t.Fatal(err)
	}
	if got, err := receive(stream); got != "x" || err != nil {
		t.Fatal(got, err)
	}
	if _, err := h.call(ctx, nil); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("beside it: %v", err)
	}
	if _, err := h.call(t.Context(), nil); err != nil {
		t.Errorf("of the operator: %v", err)
	}
	cancel()
	eventually(t, "its place is free", func() bool {
		_, err := h.call(bearing(t.Context(), ciToken), nil)
		return err == nil
	})
}

func TestAStreamOfTheHostsOwnEndsWithItsClient(t *testing.T) {
	clients := clientsOf(t, "client \"ci\" {\n  token = \""+ciToken+"\"\n  allow = [\"echo.*\"]\n}\n")
	h := startHost(t, Options{Clients: clients}, &Subsystem{Name: "echo", Instances: always(serveEcho(t, echo{}))})
	stream, err := grpc_reflection_v1.NewServerReflectionClient(h).ServerReflectionInfo(bearing(t.Context(), ciToken))
	if err != nil {
		t.Fatal(err)
	}
	ask := &grpc_reflection_v1.ServerReflectionRequest{MessageRequest: &grpc_reflection_v1.ServerReflectionRequest_ListServices{}}
	if err := stream.Send(ask); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	clients.Set(config.Token{}, nil)
	if _, err := stream.Recv(); status.Code(err) != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
}

func TestAStreamByTheLinkIsRefusedToClientsToo(t *testing.T) {
	h := startHost(overLink(t), Options{Clients: clientsOf(t, "client \"ci\" {\n  token = \""+ciToken+"\"\n  allow = [\"echo.*\"]\n}\n")},
		&Subsystem{Name: "echo", Instances: always(serveEcho(overLink(t), echo{}))})
	err := h.Invoke(bearing(t.Context(), ciToken), downMethod, wrapperspb.Bytes(nil), new(wrapperspb.BytesValue))
	if status.Code(err) != codes.Unimplemented {
		t.Errorf("got %v", err)
	}
}

// What the operator pays for there being clients is the look at the metadata.
func TestCallsWithoutATokenAllocateNothingForClients(t *testing.T) {
	md := metadata.Pairs("gaia-subsystem", "echo", "mine", "kept")
	encoded, err := link.AppendMetadata(nil, md)
	if err != nil {
		t.Fatal(err)
	}
	if got := testing.AllocsPerRun(100, func() {
		if name, shows, err := namedIn(encoded, "echo"); name != "echo" || shows || err != nil {
			t.Errorf("got %q, %v, %v", name, shows, err)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

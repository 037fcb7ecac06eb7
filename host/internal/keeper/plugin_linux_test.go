package keeper

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"

	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/wire"
)

// bePlugin is a plugin as its author writes it.
func bePlugin() error {
	sdk.Serve(func(r grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(r, &manager{}) })
	return nil
}

type manager struct {
	grpc_testing.UnimplementedTestServiceServer
}

func (m *manager) UnaryCall(ctx context.Context, r *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	text, err := m.do(ctx, string(r.GetPayload().GetBody()))
	return &grpc_testing.SimpleResponse{Username: text}, err
}

func (*manager) do(ctx context.Context, what string) (string, error) {
	switch what {
	case "start":
		r, w, err := os.Pipe()
		if err != nil {
			return "", err
		}
		defer r.Close()
		_, err = runKept("exits-7", []byte("a state"), nil, w)
		_ = w.Close()
		_, _ = r.Read(make([]byte, 100)) // until it is ready
		return "", err
	case "note":
		return "", sdk.KeepData(web1, []byte("another state"))
	case "kept":
		entries, err := sdk.Kept()
		if err != nil || len(entries) != 1 {
			return "", fmt.Errorf("kept: %v, error %w", entries, err)
		}
		defer entries[0].Close()
		return fmt.Sprintf("%s %q %d", entries[0].Name, entries[0].Data, len(entries[0].Files)), nil
	case "exit":
		entries, err := sdk.Kept()
		if err != nil {
			return "", err
		}
		defer entries[0].Close()
		if err := unix.PidfdSendSignal(int(entries[0].Files[0].Fd()), unix.SIGTERM, nil, 0); err != nil {
			return "", err
		}
		status, err := sdk.AwaitExit(ctx, web1)
		return status.String(), err
	}
	return "", fmt.Errorf("cannot %q", what)
}

func TestAPluginThatWasStartedByTheHandshakeKeeps(t *testing.T) {
	store := start(t).Store("process_manager")
	binary := filepath.Join(t.TempDir(), "plugin")
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(executable, binary); err != nil {
		t.Fatal(err)
	}
	sockets, err := os.MkdirTemp("", "gaia")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(sockets)
	life := func(requests map[string]string, order ...string) {
		session, err := store.Open()
		if err != nil {
			t.Fatal(err)
		}
		served := make(chan error, 1)
		go func() { served <- session.Serve(context.WithoutCancel(t.Context())) }()
		p, err := wire.Start(t.Context(), wire.Command{
			Path: binary, SocketDir: sockets,
			Env:        append(session.Env(3), "PATH="+os.Getenv("PATH")),
			ExtraFiles: session.Files(),
			Launch:     session.Launch(nil),
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, request := range order {
			answer, err := grpc_testing.NewTestServiceClient(p.Conn()).UnaryCall(t.Context(), &grpc_testing.SimpleRequest{
				Payload: &grpc_testing.Payload{Body: []byte(request)},
			})
			if got, want := answer.GetUsername(), requests[request]; err != nil || got != want {
				t.Errorf("%s: got %q, error %v, want %q", request, got, err, want)
			}
		}
		p.Kill()
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		if orphans, err := session.Close(); err != nil || orphans > 0 {
			t.Errorf("%d orphans, error %v", orphans, err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	}
	life(nil, "start", "note")
	life(map[string]string{"kept": web1 + ` "another state" 1`, "exit": "exit code 7"}, "kept", "exit")
}

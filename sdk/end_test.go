package sdk

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"github.com/gaia-go/gaia/sdk/wire"
	"google.golang.org/grpc"
)

func TestTheServerStopsWhenTheHostsEndOfStdinCloses(t *testing.T) {
	proctest.LeavesNothing(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(wire.EnvWatchStdin, "1")
	stdin := os.Stdin
	os.Stdin = reader
	t.Cleanup(func() {
		os.Stdin = stdin
		if err := reader.Close(); err != nil {
			t.Error(err)
		}
	})
	var config net.ListenConfig
	listener, err := config.Listen(t.Context(), "unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	p := newStation(t)
	server := grpc.NewServer()
	p.register(server)
	stop := p.endWithHost()
	defer stop()
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	if err := writer.Close(); err != nil { // as the host's death does
		t.Error(err)
	}
	if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) {
		t.Errorf("got %v, want the server to be stopped", err)
	}
	if p.calls.Enter() {
		t.Error("a call was taken after the host's death")
	}
}

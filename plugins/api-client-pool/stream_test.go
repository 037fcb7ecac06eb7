package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	egressv1 "github.com/gaia-go/gaia/proto/gaia/egress/v1"
	"github.com/gaia-go/gaia/sdk/plugintest"
)

// loopback is a config under which tests reach their servers.
func loopback() *apiv1.Config {
	return &apiv1.Config{Egress: &egressv1.Egress{Rule: []*egressv1.Rule{{Action: egressv1.Rule_ALLOW, Addresses: []string{"loopback"}}}}}
}

// zeros is an endless body.
type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// serveZeros counts what it is sent, and sends as many zeros as the path says.
func serveZeros(tb testing.TB) *httptest.Server {
	tb.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			return
		}
		var size int64
		if _, err := fmt.Sscanf(r.URL.Path, "/%d", &size); err != nil {
			tb.Error(err)
		}
		w.Header().Set("X-Received", fmt.Sprint(n))
		w.Header().Set("Content-Length", fmt.Sprint(size))
		_, _ = io.CopyN(w, zeros{}, size)
	}))
	tb.Cleanup(server.Close)
	return server
}

// transfer sends up bytes, takes all that comes and returns how much it was.
func transfer(tb testing.TB, client apiv1.APIClientPoolClient, url string, up int) (down int) {
	tb.Helper()
	stream, err := client.Stream(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	if err := stream.Send(&apiv1.StreamRequest{Request: &apiv1.DoRequest{Method: "POST", Url: url}}); err != nil {
		tb.Fatal(err)
	}
	go func() {
		piece := make([]byte, 256<<10)
		for left := up; left > 0; left -= len(piece) {
			if err := stream.Send(&apiv1.StreamRequest{Body: piece[:min(left, len(piece))]}); err != nil {
				return
			}
		}
		_ = stream.CloseSend()
	}()
	for {
		message, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return down
		case err != nil:
			tb.Fatal(err)
		}
		down += len(message.GetBody())
		if end := message.GetEnd(); end != nil && end.GetSent() != uint64(up) {
			tb.Fatalf("sent %d bytes of %d", end.GetSent(), up)
		}
	}
}

func TestAStreamPassesThroughThePlugin(t *testing.T) {
	plugin := plugintest.Start(t, plugintest.Config(loopback()))
	client := apiv1.NewAPIClientPoolClient(plugin.Conn())
	const size = 20 << 20
	if got := transfer(t, client, fmt.Sprintf("%s/%d", serveZeros(t).URL, size), size+1); got != size {
		t.Errorf("got %d bytes, want %d", got, size)
	}
}

// BenchmarkStream moves 64 MiB in one direction.
func BenchmarkStream(b *testing.B) {
	plugin := plugintest.Start(b, plugintest.Config(loopback()))
	client := apiv1.NewAPIClientPoolClient(plugin.Conn())
	server := serveZeros(b)
	const size = 64 << 20
	for name, bytes := range map[string][2]int{"up": {size, 0}, "down": {0, size}} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			for b.Loop() {
				if got := transfer(b, client, fmt.Sprintf("%s/%d", server.URL, bytes[1]), bytes[0]); got != bytes[1] {
					b.Fatalf("got %d bytes, want %d", got, bytes[1])
				}
			}
		})
	}
}

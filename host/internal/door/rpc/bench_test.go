package rpc

import (
	"bytes"
	"io"
	"net/http"
	"testing"

	testpb "google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/protobuf/proto"
)

// BenchmarkUnary is one call of 64 bytes each way from a client in this process
// to a plugin in another: by JSON, by protobuf's binary form and by gRPC through
// the HTTP door, and by gRPC through the host's socket.
func BenchmarkUnary(b *testing.B) {
	h := startHouse(b)
	request := &testpb.SimpleRequest{ResponseSize: 64, Payload: &testpb.Payload{Body: bytes.Repeat([]byte("x"), 64)}}
	binary, err := proto.Marshal(request)
	if err != nil {
		b.Fatal(err)
	}
	const text = `{"responseSize":64,"payload":{"body":"eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eA=="}}`
	b.Run("http/json", func(b *testing.B) { h.benchHTTP(b, "application/json", []byte(text)) })
	b.Run("http/proto", func(b *testing.B) { h.benchHTTP(b, "application/proto", binary) })
	for name, address := range map[string]string{"http/grpc": h.http, "socket/grpc": "unix:" + h.socket} {
		b.Run(name, func(b *testing.B) {
			client := testpb.NewTestServiceClient(h.dial(b, address))
			b.ReportAllocs()
			b.SetParallelism(16)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					if _, err := client.UnaryCall(b.Context(), request); err != nil {
						b.Error(err)
						return
					}
				}
			})
		})
	}
}

func (h *house) benchHTTP(b *testing.B, kind string, body []byte) {
	b.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	b.ReportAllocs()
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+h.http+testService+"UnaryCall", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			r.Header = http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {kind}}
			w, err := transport.RoundTrip(r)
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, w.Body)
			if w.Body.Close(); w.StatusCode != http.StatusOK {
				b.Errorf("status %d", w.StatusCode)
				return
			}
		}
	})
}

package gateway

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/host/internal/gate"
)

// BenchmarkUnary64B is one call through the gateway beside the same call made
// to the instance directly.
func BenchmarkUnary64B(b *testing.B) {
	sub := &Subsystem{Name: "echo", Gate: gate.New(gate.Config{Limits: gate.Limits{Concurrency: 1000, Queue: 1000}}, nil)}
	i := serveEcho(b, echo{})
	sub.Instances = always(i)
	h := startHost(b, Options{}, sub)
	call := func(ctx context.Context, conn grpc.ClientConnInterface, request *wrapperspb.BytesValue) error {
		return conn.Invoke(ctx, unaryMethod, request, new(wrapperspb.BytesValue))
	}
	for _, callers := range []int{1, 64} {
		for _, to := range []struct {
			name string
			conn grpc.ClientConnInterface
		}{{"direct", i}, {"gateway", h}} {
			b.Run(fmt.Sprintf("%s/callers=%d", to.name, callers), func(b *testing.B) {
				ctx, request := b.Context(), wrapperspb.Bytes(make([]byte, 64))
				b.ReportAllocs()
				if callers == 1 {
					for b.Loop() {
						if err := call(ctx, to.conn, request); err != nil {
							b.Fatal(err)
						}
					}
					return
				}
				b.SetParallelism(callers / 2) // times GOMAXPROCS
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						if err := call(ctx, to.conn, request); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

package link_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hashicorp/go-hclog"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/sdk/link"
)

const echoMethod = "/test.Echo/Call"

func echoService() *grpc.ServiceDesc {
	return &grpc.ServiceDesc{
		ServiceName: "test.Echo",
		HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Call", Handler: func(_ any, ctx context.Context, decode func(any) error, i grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.BytesValue)
			if err := decode(in); err != nil {
				return nil, err
			}
			return in, nil
		}}},
	}
}

// BenchmarkCall is a unary call over one hop, within one process.
func BenchmarkCall(b *testing.B) {
	for _, inline := range []bool{true, false} {
		for _, callers := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("link/inline=%v/callers=%d", inline, callers), func(b *testing.B) {
				dir, err := os.MkdirTemp("", "l")
				if err != nil {
					b.Fatal(err)
				}
				defer os.RemoveAll(dir)
				lis, err := net.Listen("unix", filepath.Join(dir, "s"))
				if err != nil {
					b.Fatal(err)
				}
				s := link.NewServer(link.ServerOptions{Logger: hclog.NewNullLogger(), IsNonBlocking: func(string) bool { return inline }})
				s.RegisterService(echoService(), nil)
				var serving sync.WaitGroup
				defer serving.Wait()
				ctx, stop := context.WithCancel(context.Background())
				defer stop()
				serving.Go(func() { s.Serve(ctx, lis) })
				raw, err := net.Dial("unix", lis.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				conn, err := link.Open(b.Context(), raw)
				if err != nil {
					b.Fatal(err)
				}
				defer conn.Close()
				benchmarkCall(b, conn, callers)
			})
		}
	}
	for _, callers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("grpc/callers=%d", callers), func(b *testing.B) {
			dir, err := os.MkdirTemp("", "l")
			if err != nil {
				b.Fatal(err)
			}
			defer os.RemoveAll(dir)
			lis, err := net.Listen("unix", filepath.Join(dir, "s"))
			if err != nil {
				b.Fatal(err)
			}
			s := grpc.NewServer()
			s.RegisterService(echoService(), nil)
			go s.Serve(lis)
			defer s.Stop()
			conn, err := grpc.NewClient("unix:"+lis.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close()
			benchmarkCall(b, conn, callers)
		})
	}
}

func benchmarkCall(b *testing.B, conn grpc.ClientConnInterface, callers int) {
	ctx := context.Background()
	payload := make([]byte, 64)
	b.ReportAllocs()
	b.ResetTimer()
	var group sync.WaitGroup
	for i := range callers {
		n := b.N / callers
		if i < b.N%callers {
			n++
		}
		group.Go(func() {
			in, out := wrapperspb.Bytes(payload), new(wrapperspb.BytesValue)
			for range n {
				out.Value = nil
				if err := conn.Invoke(ctx, echoMethod, in, out); err != nil || len(out.Value) != len(payload) {
					b.Errorf("%v, %d bytes", err, len(out.Value))
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

package link_test

import (
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
)

// BenchmarkCall is a unary call of 64 bytes over one hop, with both ends in this
// process.
func BenchmarkCall(b *testing.B) {
	for _, each := range transports() {
		for _, callers := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("%s/callers=%d", each.name, callers), func(b *testing.B) {
				ends := pair(b)
				conn, _ := each.start(b, ends, station{echo: echo}.register, serverOptions{})
				benchmarkCall(b, conn, callers)
			})
		}
	}
}

// pair is a connection through a socket that has a name.
func pair(b *testing.B) cable {
	b.Helper()
	name := &net.UnixAddr{Net: "unix", Name: filepath.Join(proctest.LeavesNothing(b), "s")}
	listener, err := net.ListenUnix(name.Net, name)
	if err != nil {
		b.Fatal(err)
	}
	defer listener.Close()
	client, err := net.DialUnix(name.Net, nil, name)
	if err != nil {
		b.Fatal(err)
	}
	server, err := listener.AcceptUnix()
	if err != nil {
		b.Fatal(err)
	}
	return cable{client: client, server: server}
}

func benchmarkCall(b *testing.B, conn grpc.ClientConnInterface, callers int) {
	b.Helper()
	b.ReportAllocs()
	b.ResetTimer()
	var group sync.WaitGroup
	for i := range callers {
		calls := b.N / callers
		if i < b.N%callers {
			calls++
		}
		group.Go(func() {
			in := wrapperspb.Bytes(make([]byte, 64))
			for range calls {
				out := new(wrapperspb.BytesValue)
				if err := conn.Invoke(b.Context(), methodEcho, in, out); err != nil || len(out.GetValue()) != 64 {
					b.Errorf("%v, %d bytes", err, len(out.GetValue()))
					return
				}
			}
		})
	}
	group.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}

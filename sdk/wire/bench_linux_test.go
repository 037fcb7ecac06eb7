package wire

import (
	"context"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/gaia-go/gaia/sdk/internal/proctest"
	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
)

// reportMedian replaces the mean, which one descheduled round can spoil.
func reportMedian(b *testing.B, took []time.Duration) {
	b.Helper()
	slices.Sort(took)
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(took[len(took)/2].Seconds()*1e3, "p50-ms/op")
	b.ReportMetric(took[len(took)*99/100].Seconds()*1e3, "p99-ms/op")
}

// BenchmarkCrashIsSeen measures kill -9 to Exited, while a grandchild holds the
// pipes. Plain go-plugin never sees such an exit: it waits for the end of the
// pipes.
func BenchmarkCrashIsSeen(b *testing.B) {
	c := command(b, proctest.LeavesNothing(b), "keeps-a-daemon")
	var took []time.Duration
	for b.Loop() {
		said := proctest.NewTranscript()
		c.Output = said.Add
		p, err := Start(b.Context(), c)
		if err != nil {
			b.Fatal(err)
		}
		daemon := number(b, said.Await(b, "daemon "))
		began := time.Now()
		p.Kill()
		<-p.Exited()
		took = append(took, time.Since(began))
		if err := unix.Kill(daemon, unix.SIGKILL); err != nil {
			b.Error(err)
		}
		closeIt(b, p)
	}
	reportMedian(b, took)
}

// BenchmarkStart measures exec to the answer to the first call.
func BenchmarkStart(b *testing.B) {
	b.Run("gaia", func(b *testing.B) {
		c := command(b, proctest.LeavesNothing(b), "well-behaved")
		measureStarts(b, func(b *testing.B) (grpc.ClientConnInterface, func()) {
			b.Helper()
			p, err := Start(b.Context(), c)
			if err != nil {
				b.Fatal(err)
			}
			return p.Conn(), func() { closeIt(b, p) }
		})
	})
	// The same program under the stock client: no peer credentials, no own
	// pipes, no process group.
	b.Run("go-plugin", func(b *testing.B) {
		path := proctest.Link(b, "well-behaved")
		measureStarts(b, func(b *testing.B) (grpc.ClientConnInterface, func()) {
			b.Helper()
			client := plugin.NewClient(&plugin.ClientConfig{
				HandshakeConfig:  Handshake(),
				Plugins:          plugin.PluginSet{pluginName: end{}},
				AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
				Cmd:              exec.CommandContext(context.WithoutCancel(b.Context()), path),
				Logger:           hclog.NewNullLogger(),
			})
			protocol, err := client.Client()
			if err != nil {
				b.Fatal(err)
			}
			return protocol.(*plugin.GRPCClient).Conn, client.Kill
		})
	})
}

func measureStarts(b *testing.B, start func(*testing.B) (grpc.ClientConnInterface, func())) {
	b.Helper()
	var took []time.Duration
	for b.Loop() {
		began := time.Now()
		conn, end := start(b)
		if _, err := do(b.Context(), conn, "getenv HOME"); err != nil {
			b.Error(err)
		}
		took = append(took, time.Since(began))
		end()
	}
	reportMedian(b, took)
}

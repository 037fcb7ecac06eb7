package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/gaia-go/gaia/sdk/wire"
)

const (
	// restartRounds is enough for a p99.
	restartRounds = 100

	// The plugin that is killed and its idempotent method. The host knows no
	// plugin's API; the number is that of the field `url` in its request.
	restartPlugin = "gaia-api-client-pool"
	restartMethod = "/gaia.api.v1.APIClientPool/Do"
	urlField      = 2
)

// killable lets an instance be killed again and again without backoff, and call
// the server beside it.
const killable = `
subsystem %q {
  plugin = "` + restartPlugin + `"
  config {
    egress {
      rule {
        action    = "allow"
        addresses = ["loopback"]
      }
    }
  }
  restart {
    stable_after = "0s"
    standby      = %d
    crash_loop { exits = 0 }
  }
}
`

// restart kills a plugin and calls at once, again and again: without a spare,
// with one, and with plain go-plugin in the place of the host.
func restart(ctx context.Context, o Options) (*Result, error) {
	rounds := o.Rounds
	if rounds <= 0 {
		rounds = restartRounds
	}
	url, stop, err := serve()
	if err != nil {
		return nil, err
	}
	defer stop()
	h, err := open(ctx, o, fmt.Sprintf(killable+killable, "cold", 0, "warm", 1))
	if err != nil {
		return nil, err
	}
	defer h.close() //nolint:errcheck // the figures are there or an error is
	times := Table{Columns: []Column{
		{Name: "rounds", Head: "ROUNDS"},
		{Name: "p50_ms", Head: "P50", Unit: "ms", Digits: 2},
		{Name: "p99_ms", Head: "P99", Unit: "ms", Digits: 2},
		{Name: "max_ms", Head: "MAX", Unit: "ms", Digits: 2},
	}}
	for _, m := range []struct {
		what    string
		measure func() (time.Duration, error)
	}{
		{"gaia", func() (time.Duration, error) { return h.killAndCall(ctx, "cold", 0, url) }},
		{"gaia, standby = 1", func() (time.Duration, error) { return h.killAndCall(ctx, "warm", 1, url) }},
		{"plain go-plugin, relaunch", relauncher(ctx, filepath.Join(o.PluginDir, restartPlugin), h.dir, url)},
	} {
		o.progress("restart: %s, %d rounds", m.what, rounds)
		samples := make([]time.Duration, 0, rounds)
		for range rounds {
			took, err := m.measure()
			if err != nil {
				return nil, fmt.Errorf("restart: %s: %w", m.what, err)
			}
			samples = append(samples, took)
		}
		slices.Sort(samples)
		times.Rows = append(times.Rows, Row{What: m.what, Figures: Figures{
			"rounds": float64(rounds),
			"p50_ms": milliseconds(quantile(samples, 0.50)),
			"p99_ms": milliseconds(quantile(samples, 0.99)),
			"max_ms": milliseconds(samples[rounds-1]),
		}})
	}
	return &Result{Name: "restart", Machine: machine(), Tables: []Table{times}}, nil
}

// serve answers HTTP requests on loopback until stop.
func serve() (url string, stop func(), err error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // does not wait for anything
	if err != nil {
		return "", nil, err
	}
	server := &http.Server{
		Handler:           http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
		ReadHeaderTimeout: time.Second,
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = server.Serve(lis) // until it is closed
	}()
	return "http://" + lis.Addr().String(), func() {
		_ = server.Close()
		<-ended
	}, nil
}

// killAndCall waits until a subsystem is well and has its spares, kills its
// instance, and returns how long the next call takes.
func (h *house) killAndCall(ctx context.Context, name string, spares uint32, url string) (time.Duration, error) {
	s, err := h.await(ctx, name, func(s *hostv1.Subsystem) bool {
		return s.GetState() == hostv1.State_READY && s.GetSpares() == spares
	})
	if err != nil {
		return 0, err
	}
	ctx = metadata.AppendToOutgoingContext(ctx, "gaia-subsystem", name)
	if err := call(ctx, h.conn, url); err != nil { // nothing is measured that only a first call has to do
		return 0, err
	}
	began := time.Now()
	if err := syscall.Kill(int(s.GetPid()), syscall.SIGKILL); err != nil {
		return 0, err
	}
	err = call(ctx, h.conn, url)
	return time.Since(began), err
}

// call makes one HTTP request through the plugin.
func call(ctx context.Context, conn grpc.ClientConnInterface, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	return conn.Invoke(ctx, restartMethod, fields(nil).text(urlField, url).message(), new(emptypb.Empty))
}

// relauncher does what a careful user of go-plugin does when a plugin has
// died: sees that it has, ends the client, and starts another one.
func relauncher(ctx context.Context, path, dir, url string) func() (time.Duration, error) {
	return func() (took time.Duration, err error) {
		first, _, err := launchByHand(ctx, path, dir)
		if err != nil {
			return 0, err
		}
		began := time.Now()
		if err := syscall.Kill(first.ReattachConfig().Pid, syscall.SIGKILL); err != nil {
			return 0, err
		}
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for !first.Exited() { // go-plugin has nothing to wait on
			<-tick.C
		}
		first.Kill()
		second, conn, err := launchByHand(ctx, path, dir)
		if err != nil {
			return 0, err
		}
		defer second.Kill()
		err = call(ctx, conn, url)
		return time.Since(began), err
	}
}

// toLoopback is the config of killable, by the numbers of its fields: an egress
// block with a rule that allows loopback addresses.
func toLoopback() []byte {
	rule := fields(nil).number(1, 1).text(3, "loopback")
	return fields(nil).text(10, string(fields(nil).text(1, string(rule))))
}

// launchByHand starts the plugin that is killed, without a host.
func launchByHand(ctx context.Context, path, dir string) (*plugin.Client, *grpc.ClientConn, error) {
	client, conn, err := launchPlain(exec.CommandContext(context.WithoutCancel(ctx), path), wire.Handshake(), dir)
	if err != nil {
		return nil, nil, err
	}
	_, err = pluginv1.NewPluginClient(conn).Configure(ctx, &pluginv1.ConfigureRequest{Subsystem: "bench", Config: toLoopback()})
	if err != nil {
		client.Kill()
		return nil, nil, errors.Join(errors.New("configure"), err)
	}
	return client, conn, nil
}

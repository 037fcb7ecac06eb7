package files

import (
	"context"

	"github.com/gaia-go/gaia/plugins/file-manager/internal/watch"
	filev1 "github.com/gaia-go/gaia/proto/gaia/file/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// defaultMaxWatched is what config.proto promises, in directories.
const defaultMaxWatched = 8192

// Watch reports changes until the caller leaves, or the manager is about to end.
func (m *Manager) Watch(request *filev1.WatchRequest, stream grpc.ServerStreamingServer[filev1.WatchResponse]) error {
	t, err := m.enter(stream.Context(), request.GetRoot())
	if err != nil {
		return err
	}
	defer t.leave()
	found, err := t.find(request.GetPath())
	if err != nil {
		return err
	}
	found.Close() // else it would stay in the file system for as long as it is watched
	ctx, stop := sdk.UntilDrain(stream.Context())
	defer stop()
	err = m.watches.Watch(ctx, t.jail, watch.Options{
		Path:      found.Path,
		Recursive: request.GetRecursive(),
		Existing:  request.GetExisting(),
		Hidden:    t.Hidden,
		Check:     t.stillThere,
		Entry:     t.entryFor,
	}, stream.Send)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return t.explain(request.GetPath(), err)
}

// stillThere is an error if the directory is not the root's any more.
func (t *tree) stillThere() error {
	t.root.mu.Lock()
	retired := t.retired
	t.root.mu.Unlock()
	if retired || !t.isAt(t.settings.path) {
		return status.Errorf(codes.Unavailable, "root %q cannot be used: its directory is not there", t.settings.name)
	}
	return nil
}

// registerWatches adds the metrics of all watches.
func registerWatches(registry prometheus.Registerer, watches *watch.Hub) {
	registry.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "gaia_file_watched_directories",
			Help: "Directories that watches look at, at most max_watched.",
		}, func() float64 { return float64(watches.Watched()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gaia_file_watch_events_total",
			Help: "Events that watches have reported.",
		}, func() float64 { return float64(watches.Events()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "gaia_file_watch_overflows_total",
			Help: "Times that a watch has dropped events and looked at everything anew.",
		}, func() float64 { return float64(watches.Overflows()) }),
	)
}

package app

import (
	"context"
	"errors"
	"fmt"
	"net"

	pluginv1 "github.com/gaia-go/gaia/proto/gaia/plugin/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/gaia-go/gaia/host/internal/door"
	"github.com/gaia-go/gaia/host/internal/door/bodies"
	"github.com/gaia-go/gaia/host/internal/door/rest"
	"github.com/gaia-go/gaia/host/internal/door/rpc"
	"github.com/gaia-go/gaia/host/internal/supervisor"
	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// openHTTP opens the HTTP listener, if there is to be one, and
// returns what serves it until ctx ends.
func (h *host) openHTTP() (serve func(ctx context.Context) error, err error) {
	address := h.config.Load().Host.HTTP
	if address == "" {
		return func(context.Context) error { return nil }, nil
	}
	listener, err := net.Listen("tcp", address) //nolint:noctx // does not wait for anything
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", address, err)
	}
	h.httpAddress = listener.Addr().String()
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	memory := bodies.New(bodies.Size)
	server := door.New(door.Config{
		Pages: telemetry.Pages(telemetry.PagesConfig{
			Metrics:    telemetry.NewMerger(h.metrics, h.sources, h.logger),
			Subsystems: h.states,
			Logger:     h.logger,
		}),
		Profiles: telemetry.Profiles(),
		RPC:      rpc.New(rpc.Config{Registry: h.registry, Gateway: h.gateway, Bodies: memory}),
		REST: rest.New(rest.Config{
			Calls:      h.gateway,
			Registry:   h.registry,
			Bodies:     memory,
			Subsystems: h.listed,
			Version:    h.options.Version,
		}),
		Authenticate: h.clients.Authenticate,
		Token:        h.token,
		Host:         name,
		Grace:        h.callGrace,
		Logger:       h.logger,
	})
	return func(ctx context.Context) error { return server.Serve(ctx, listener) }, nil
}

// states are what /readyz tells.
func (h *host) states() []telemetry.State {
	all := h.all()
	states := make([]telemetry.State, len(all))
	for i, s := range all {
		st := s.supervisor.Status()
		states[i] = telemetry.State{
			Name:   s.name,
			State:  st.State.String(),
			Reason: st.Reason,
			Ready:  st.State == supervisor.Ready,
		}
	}
	return states
}

// listed are what GET /v1 tells.
func (h *host) listed() []rest.State {
	all := h.all()
	states := make([]rest.State, len(all))
	for i, s := range all {
		st := s.supervisor.Status()
		states[i] = rest.State{Name: s.name, Plugin: st.File, State: st.State.String(), Reason: st.Reason}
	}
	return states
}

// sources are the ready instances' own metrics.
func (h *host) sources() []telemetry.Source {
	var sources []telemetry.Source
	for _, s := range h.all() {
		instance := s.supervisor.Instance()
		if instance == nil {
			continue
		}
		client := pluginv1.NewPluginClient(instance)
		sources = append(sources, telemetry.Source{
			Subsystem: s.name,
			Collect: func(ctx context.Context) (string, []byte, error) {
				r, err := client.CollectMetrics(ctx, &pluginv1.CollectMetricsRequest{})
				if status.Code(err) == codes.Unimplemented {
					return "text/plain", nil, nil // it has none
				}
				return r.GetContentType(), r.GetBody(), err
			},
		})
	}
	return sources
}

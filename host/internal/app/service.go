package app

import (
	"context"
	"os"
	"slices"
	"strings"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/gaia-go/gaia/host/internal/nearest"
	"github.com/gaia-go/gaia/host/internal/registry"
	"github.com/gaia-go/gaia/host/internal/supervisor"
)

// service is gaia.host.v1.Host: what operators ask a running host.
type service struct {
	hostv1.UnimplementedHostServer

	host *host
}

// Status reports the host and its subsystems.
func (s *service) Status(_ context.Context, r *hostv1.StatusRequest) (*hostv1.StatusResponse, error) {
	h := s.host
	response := &hostv1.StatusResponse{
		Version:   h.options.Version,
		Pid:       int32(os.Getpid()), //nolint:gosec // G115: a pid has 22 bits
		StartedAt: timestamppb.New(h.startedAt),
		Config:    h.config.Path,
		Socket:    h.config.Host.Socket,
		Http:      h.httpAddress,
	}
	if name := r.GetSubsystem(); name != "" {
		sub, err := h.find(name)
		if err != nil {
			return nil, err
		}
		response.Subsystems = []*hostv1.Subsystem{sub.status()}
		return response, nil
	}
	for _, sub := range h.subsystems {
		response.Subsystems = append(response.Subsystems, sub.status())
	}
	return response, nil
}

// Logs sends what a subsystem's instances logged.
func (s *service) Logs(r *hostv1.LogsRequest, stream grpc.ServerStreamingServer[hostv1.LogsResponse]) error {
	sub, err := s.host.find(r.GetSubsystem())
	if err != nil {
		return err
	}
	book := sub.supervisor.Logbook()
	next := book.Tail(int(r.GetTail()))
	for {
		entries, after, changed := book.Read(next)
		next = after
		for _, e := range entries {
			if err := stream.Send(logEntry(sub.config.Name, e)); err != nil {
				return err
			}
		}
		if !r.GetFollow() {
			return nil
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return status.FromContextError(stream.Context().Err()).Err()
		case <-s.host.stopping:
			return nil
		}
	}
}

func logEntry(subsystem string, e supervisor.Entry) *hostv1.LogsResponse {
	fields := make(map[string]string, len(e.Fields))
	for _, f := range e.Fields {
		fields[f.Key] = f.Value
	}
	return &hostv1.LogsResponse{
		Time:       timestamppb.New(e.Time),
		Level:      e.Level.String(),
		Subsystem:  subsystem,
		Generation: e.Generation,
		Pid:        int32(e.PID), //nolint:gosec // G115: a pid has 22 bits
		Message:    e.Message,
		Fields:     fields,
	}
}

// ListPlugins reports the executables in the plugin directory.
func (s *service) ListPlugins(context.Context, *hostv1.ListPluginsRequest) (*hostv1.ListPluginsResponse, error) {
	plugins, err := s.host.catalog.list(s.host.config.Subsystems)
	if err != nil {
		return nil, status.Error(codes.Internal, err.Error())
	}
	return &hostv1.ListPluginsResponse{Plugins: plugins}, nil
}

// Describe reports what a plugin serves.
func (s *service) Describe(ctx context.Context, r *hostv1.DescribeRequest) (*hostv1.DescribeResponse, error) {
	file, sha256, err := s.host.pluginFile(r.GetName())
	if err != nil {
		return nil, err
	}
	// Of a subsystem, what its instance serves counts, whatever has become of
	// the file.
	if sub, err := s.host.find(r.GetName()); err == nil {
		if d, sum := sub.description.Load(), sub.supervisor.Status().SHA256; d != nil && sum != "" {
			return description(file, sum, d), nil
		}
	}
	d, sum, err := s.host.catalog.describe(ctx, file, sha256)
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "describe %s: %v", file, err)
	}
	return description(file, sum, d), nil
}

func description(file, sum string, d *registry.Description) *hostv1.DescribeResponse {
	return &hostv1.DescribeResponse{
		File:          file,
		Name:          d.Name,
		Version:       d.Version,
		Sha256:        sum,
		Services:      d.Services,
		ConfigMessage: configName(d),
		Files:         d.Set,
	}
}

// configName is "" for a plugin that takes no config.
func configName(d *registry.Description) string {
	if m := d.ConfigMessage(); m != nil {
		return string(m.FullName())
	}
	return ""
}

// pluginFile finds the executable that a subsystem's or plugin's name means.
func (h *host) pluginFile(name string) (file, sha256 string, err error) {
	for _, sub := range h.subsystems {
		if sub.config.Name == name {
			return sub.config.Plugin, sub.config.SHA256, nil
		}
	}
	files, err := h.catalog.list(nil)
	if err != nil {
		return "", "", status.Error(codes.Internal, err.Error())
	}
	known := h.names()
	for _, f := range files {
		if f.GetFile() == name {
			return name, "", nil
		}
		known = append(known, f.GetFile())
	}
	return "", "", notFound("subsystem or plugin", name, known)
}

// find returns a subsystem by name.
func (h *host) find(name string) (*subsystem, error) {
	i := slices.IndexFunc(h.subsystems, func(s *subsystem) bool { return s.config.Name == name })
	if i < 0 {
		return nil, notFound("subsystem", name, h.names())
	}
	return h.subsystems[i], nil
}

func (h *host) names() []string {
	names := make([]string, len(h.subsystems))
	for i, s := range h.subsystems {
		names[i] = s.config.Name
	}
	return names
}

func notFound(kind, name string, known []string) error {
	if near, ok := nearest.Name(name, known); ok {
		return status.Errorf(codes.NotFound, "no %s %q; did you mean %q?", kind, name, near)
	}
	if len(known) == 0 {
		return status.Errorf(codes.NotFound, "no %s %q; there is none", kind, name)
	}
	return status.Errorf(codes.NotFound, "no %s %q; there are: %s", kind, name, strings.Join(known, ", "))
}

// status is the subsystem at this moment.
func (s *subsystem) status() *hostv1.Subsystem {
	st := s.supervisor.Status()
	out := &hostv1.Subsystem{
		Name:       s.config.Name,
		Plugin:     s.config.Plugin,
		Version:    st.Version,
		Sha256:     st.SHA256,
		State:      hostv1.State(st.State), //nolint:gosec // G115: the same numbers
		Reason:     st.Reason,
		Pid:        int32(st.PID), //nolint:gosec // G115: a pid has 22 bits
		Generation: st.Generation,
		Restarts:   st.Restarts,
		InFlight:   uint32(s.gate.InFlight()), //nolint:gosec // G115: bounded by limits.concurrency
		Queued:     uint32(s.gate.Queued()),   //nolint:gosec // G115: bounded by limits.queue
	}
	if d := s.description.Load(); d != nil {
		out.Services = d.Services
	}
	if !st.ReadySince.IsZero() {
		out.ReadySince = timestamppb.New(st.ReadySince)
		out.StartDuration = durationpb.New(st.StartDuration)
	}
	if wait := time.Until(st.NextStart); wait > 0 {
		out.Reason += "; next start in " + wait.Round(100*time.Millisecond).String()
	}
	return out
}

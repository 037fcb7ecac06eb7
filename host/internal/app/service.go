package app

import (
	"cmp"
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
		Config:    h.config.Load().Path,
		Socket:    h.config.Load().Host.Socket,
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
	for _, sub := range h.all() {
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
	return read(stream.Context(), s.host.stopping, sub.supervisor.Log(), int(r.GetTail()), r.GetFollow(), func(e supervisor.Entry) error {
		return stream.Send(logEntry(sub.name, e))
	})
}

// Events sends what happened to one subsystem, or to all and the host.
func (s *service) Events(r *hostv1.EventsRequest, stream grpc.ServerStreamingServer[hostv1.EventsResponse]) error {
	name := r.GetSubsystem()
	if name != "" {
		if _, err := s.host.find(name); err != nil {
			return err
		}
	}
	tail := int(r.GetTail())
	if name != "" {
		tail = s.host.tailOf(name, tail)
	}
	return read(stream.Context(), s.host.stopping, s.host.events, tail, r.GetFollow(), func(e supervisor.Event) error {
		if name != "" && e.Subsystem != name {
			return nil
		}
		return stream.Send(&hostv1.EventsResponse{
			Time:       timestamppb.New(e.Time),
			Subsystem:  e.Subsystem,
			Generation: e.Generation,
			Pid:        int32(e.PID), //nolint:gosec // G115: a pid has 22 bits
			Kind:       e.Kind,
			Reason:     e.Reason,
		})
	})
}

// tailOf is how many of the last events hold the last n of one subsystem.
func (h *host) tailOf(subsystem string, n int) int {
	events, _, _ := h.events.Read(0)
	if n == 0 {
		return 0
	}
	for i, e := range slices.Backward(events) {
		if e.Subsystem == subsystem {
			if n--; n == 0 {
				return len(events) - i
			}
		}
	}
	return 0
}

// read sends the last records of a book, all for a tail of 0, and those to
// come, if they are wanted, until the caller or the host has enough.
func read[R supervisor.Record](
	ctx context.Context, stopping <-chan struct{}, book *supervisor.Book[R], tail int, follow bool, send func(R) error,
) error {
	next := book.Tail(tail)
	for {
		records, after, changed := book.Read(next)
		next = after
		for _, r := range records {
			if err := send(r); err != nil {
				return err
			}
		}
		if !follow {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		case <-stopping:
			return nil
		}
	}
}

// Reload applies what has changed in the config file.
func (s *service) Reload(ctx context.Context, _ *hostv1.ReloadRequest) (*hostv1.ReloadResponse, error) {
	return s.host.reload(ctx), nil
}

// Restart replaces a subsystem's instance by one of the same executable.
func (s *service) Restart(ctx context.Context, r *hostv1.RestartRequest) (*hostv1.RestartResponse, error) {
	sub, err := s.host.replace(ctx, r.GetSubsystem(), "", "an operator asked for a restart")
	return &hostv1.RestartResponse{Subsystem: sub}, err
}

// Swap replaces a subsystem's instance by one of another executable.
func (s *service) Swap(ctx context.Context, r *hostv1.SwapRequest) (*hostv1.SwapResponse, error) {
	plugin := r.GetPlugin()
	if plugin != "" {
		if _, _, err := s.host.pluginFile(plugin); err != nil {
			return nil, err
		}
	}
	sub, err := s.host.replace(ctx, r.GetSubsystem(), plugin, "an operator asked for a swap")
	return &hostv1.SwapResponse{Subsystem: sub}, err
}

// replace lets the next generation take over. An empty plugin means the one
// that the subsystem runs.
func (h *host) replace(ctx context.Context, name, plugin, reason string) (*hostv1.Subsystem, error) {
	h.mu.Lock() // not while the config changes
	defer h.mu.Unlock()
	sub, err := h.find(name)
	if err != nil {
		return nil, err
	}
	plan := supervisor.NewPlan(sub.config.Load())
	plan.KeepSwap(cmp.Or(plugin, sub.supervisor.Status().File))
	if err := sub.supervisor.Swap(ctx, plan, reason); err != nil {
		return nil, status.Errorf(codes.FailedPrecondition, "%s: %v", name, err)
	}
	return sub.status(), nil
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
	users := make(map[string][]string)
	for _, sub := range s.host.all() {
		file, _ := sub.executable()
		users[file] = append(users[file], sub.name)
	}
	plugins, err := s.host.catalog.list(users)
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
	for _, sub := range h.all() {
		if sub.name == name {
			file, sha256 = sub.executable()
			return file, sha256, nil
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

// executable is what the subsystem runs, which may have been swapped, and the
// checksum that it must have; "" for any.
func (s *subsystem) executable() (file, sha256 string) {
	plan := supervisor.NewPlan(s.config.Load())
	plan.KeepSwap(s.supervisor.Status().File)
	return plan.File, plan.SHA256
}

// find returns a subsystem by name.
func (h *host) find(name string) (*subsystem, error) {
	all := h.all()
	i := slices.IndexFunc(all, func(s *subsystem) bool { return s.name == name })
	if i < 0 {
		return nil, notFound("subsystem", name, h.names())
	}
	return all[i], nil
}

func (h *host) names() []string {
	var names []string
	for _, s := range h.all() {
		names = append(names, s.name)
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
		Name:       s.name,
		Plugin:     st.File,
		Version:    st.Version,
		Sha256:     st.SHA256,
		State:      hostv1.State(st.State), //nolint:gosec // G115: the same numbers
		Reason:     st.Reason,
		Pid:        int32(st.PID), //nolint:gosec // G115: a pid has 22 bits
		Generation: st.Generation,
		Restarts:   st.Restarts,
		InFlight:   uint32(s.gate.InFlight()), //nolint:gosec // G115: bounded by limits.concurrency
		Queued:     uint32(s.gate.Queued()),   //nolint:gosec // G115: far fewer calls wait

		Spares:      uint32(st.Spares), //nolint:gosec // G115: bounded by restart.standby
		Confinement: st.Confinement,
		Attached:    st.Attached,
	}
	if i := s.supervisor.Instance(); i != nil {
		out.Transport = i.Transport()
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

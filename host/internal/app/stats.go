package app

import (
	"context"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/gaia-go/gaia/host/internal/telemetry"
)

// Stats reports what was counted and what is used.
func (s *service) Stats(ctx context.Context, _ *hostv1.StatsRequest) (*hostv1.StatsResponse, error) {
	now, err := s.Status(ctx, &hostv1.StatusRequest{})
	if err != nil {
		return nil, err
	}
	response := &hostv1.StatsResponse{Status: now, Uptime: durationpb.New(time.Since(s.host.startedAt))}
	for _, edge := range telemetry.Edges() {
		response.Edges = append(response.Edges, durationpb.New(edge))
	}
	all := s.host.metrics.Stats()
	for _, sub := range now.GetSubsystems() {
		out := subsystemStats(all[sub.GetName()])
		out.Name, out.Breaker = sub.GetName(), -1
		if known, err := s.host.find(sub.GetName()); err == nil { // else a reload has just removed it
			out.Limit = uint32(known.gate.Limit())     //nolint:gosec // G115: bounded by the config
			out.Breaker = int32(known.gate.Breakers()) //nolint:gosec // G115: from -1 to 2
		}
		response.Subsystems = append(response.Subsystems, out)
	}
	for _, c := range s.host.metrics.ClientStats() {
		response.Clients = append(response.Clients, &hostv1.ClientStats{
			Name: c.Name, Calls: c.Calls, Rejected: c.Rejected, InFlight: uint32(max(c.InFlight, 0)), //nolint:gosec // G115: far fewer
		})
	}
	return response, nil
}

func subsystemStats(s telemetry.Stats) *hostv1.SubsystemStats {
	out := &hostv1.SubsystemStats{
		Rejected:      s.Rejected,
		Retries:       s.Retries,
		Held:          s.Held,
		Measured:      s.Measured,
		CpuSeconds:    s.CPUSeconds,
		ResidentBytes: s.ResidentBytes,
		OpenFiles:     s.OpenFiles,
	}
	for _, m := range s.Methods {
		out.Methods = append(out.Methods, &hostv1.MethodStats{Name: m.Name, Calls: m.Calls, Failures: m.Failures, Buckets: m.Buckets})
	}
	return out
}

package telemetry

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// Stats is what a subsystem has counted since the host began, and what its
// processes use now: the metrics page for who reads it as values.
type Stats struct {
	Rejected map[string]uint64 // by policy; never nil
	Retries  uint64
	Held     uint64
	Methods  []MethodStats // those that were called, sorted by name

	Measured      bool // the system can tell what follows
	CPUSeconds    float64
	ResidentBytes uint64
	OpenFiles     uint64
}

// MethodStats is what one method has counted.
type MethodStats struct {
	Name     string   // "pkg.Service/Method"
	Calls    uint64   // all of them
	Failures uint64   // by which the service failed its callers
	Buckets  []uint64 // unary calls that were not rejected, by time: one for each of Edges, and one beyond
}

// Edges are the upper ends of the buckets of MethodStats, ascending.
func Edges() []time.Duration {
	edges := callEdges()
	return edges[:]
}

// Stats reads all subsystems, by name. It walks over all processes of the
// machine, as a scrape of /metrics does.
func (m *Metrics) Stats() map[string]Stats {
	all := make(map[string]Stats)
	used := m.live.measure()
	retries, held := m.bySubsystem(m.retries), m.bySubsystem(m.held)
	for _, s := range m.all() {
		u, measured := used[s.name]
		all[s.name] = Stats{
			Rejected:      make(map[string]uint64),
			Retries:       retries[s.name],
			Held:          held[s.name],
			Methods:       s.methodStats(),
			Measured:      measured,
			CPUSeconds:    u.cpuSeconds,
			ResidentBytes: uint64(max(u.resident, 0)),
			OpenFiles:     uint64(max(u.openFiles, 0)),
		}
	}
	for series := range read(m.rejected) {
		if s, known := all[label(series, subsystemLabel)]; known {
			s.Rejected[label(series, "policy")] = uint64(series.GetCounter().GetValue())
		}
	}
	return all
}

// ClientStats is what one client has done.
type ClientStats struct {
	Name            string
	Calls, Rejected uint64 // since the host began
	InFlight        int    // now
}

// ClientStats reads all clients, sorted by name.
func (m *Metrics) ClientStats() []ClientStats {
	byName := make(map[string]*ClientStats)
	for series := range read(m.clientInFlight) { // of each client from the first moment
		name := label(series, clientLabel)
		byName[name] = &ClientStats{Name: name, InFlight: int(series.GetGauge().GetValue())}
	}
	for series := range read(m.clientCalls) {
		if c := byName[label(series, clientLabel)]; c != nil {
			c.Calls += uint64(series.GetCounter().GetValue())
		}
	}
	for series := range read(m.clientRejected) {
		if c := byName[label(series, clientLabel)]; c != nil {
			c.Rejected += uint64(series.GetCounter().GetValue())
		}
	}
	all := make([]ClientStats, 0, len(byName))
	for _, name := range slices.Sorted(maps.Keys(byName)) {
		all = append(all, *byName[name])
	}
	return all
}

func (s *Subsystem) methodStats() []MethodStats {
	var all []MethodStats
	for _, m := range *s.methods.Load() {
		counted := m.tally.read()
		if calls := counted.calls(); calls > 0 {
			all = append(all, MethodStats{
				Name: m.label, Calls: calls, Failures: counted.failures(), Buckets: slices.Clone(counted.buckets[:]),
			})
		}
	}
	slices.SortFunc(all, func(a, b MethodStats) int { return strings.Compare(a.Name, b.Name) })
	return all
}

// bySubsystem reads counters that have no other label.
func (m *Metrics) bySubsystem(v *prometheus.CounterVec) map[string]uint64 {
	all := make(map[string]uint64)
	for series := range read(v) {
		all[label(series, subsystemLabel)] = uint64(series.GetCounter().GetValue())
	}
	return all
}

// read yields the series of a collector.
func read(c prometheus.Collector) func(yield func(*dto.Metric) bool) {
	return func(yield func(*dto.Metric) bool) {
		collected := make(chan prometheus.Metric)
		go func() {
			defer close(collected)
			c.Collect(collected)
		}()
		wanted := true
		for metric := range collected { // to the end: the collector waits for us
			var series dto.Metric
			if metric.Write(&series) == nil && wanted {
				wanted = yield(&series)
			}
		}
	}
}

func label(series *dto.Metric, name string) string {
	for _, pair := range series.GetLabel() {
		if pair.GetName() == name {
			return pair.GetValue()
		}
	}
	return ""
}

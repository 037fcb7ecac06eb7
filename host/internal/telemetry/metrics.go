// Package telemetry is what operators see of a running host over HTTP: its
// metrics with those of the plugins merged in, liveness, readiness, profiles.
package telemetry

import (
	"maps"
	"runtime"
	"slices"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Metrics is the host's own set of metrics. Safe for concurrent use.
//
// The names are a contract with dashboards and alerts, see docs/metrics.md.
// All labels are bounded: subsystems and methods are known to the host, codes,
// reasons and policies are fixed lists. A value of a request is never a label.
type Metrics struct {
	registry *prometheus.Registry
	own      names // of all that follows

	calls         *prometheus.CounterVec
	callSeconds   *prometheus.HistogramVec
	rejected      *prometheus.CounterVec
	held          *prometheus.CounterVec
	up            *prometheus.GaugeVec
	generation    *prometheus.GaugeVec
	starts        *prometheus.CounterVec
	exits         *prometheus.CounterVec
	startSeconds  *prometheus.HistogramVec
	scrapeErrors  *prometheus.CounterVec
	seriesDropped *prometheus.CounterVec

	mu         sync.Mutex
	subsystems map[string]*Subsystem
}

// callBuckets reach from a call that stays in the host's memory to the usual
// ceiling of limits.timeout. The edges 0.1 and 0.5 are SLOs of the shipped
// config: a percentile is exact only at an edge.
func callBuckets() []float64 {
	return []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
}

// startBuckets reach from a warm start (8 ms) to the start timeout (10 s).
func startBuckets() []float64 {
	return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

// names are what only the host may call a metric or, of a histogram, a sample.
type names map[string]bool

func (n names) add(name string) string {
	n[name] = true
	return name
}

func (n names) addHistogram(name string) string {
	for _, suffix := range []string{"_bucket", "_sum", "_count", "_created"} {
		n.add(name + suffix)
	}
	return n.add(name)
}

// New makes the metrics of a host of the given version.
func New(version string) *Metrics {
	own := make(names)
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: own.add(name), Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: own.add(name), Help: help}, labels)
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: own.addHistogram(name), Help: help, Buckets: buckets}, labels)
	}
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		own:      own,
		calls: counter("gaia_calls_total",
			"Calls that ended, by gRPC status code; rejected ones included.", "subsystem", "method", "code"),
		callSeconds: histogram("gaia_call_seconds",
			"Time from the arrival of a call at the host to its end, queues included; for streams their life.",
			callBuckets(), "subsystem", "method"),
		rejected: counter("gaia_rejected_total",
			"Calls that a policy of the gate turned away.", "subsystem", "policy"),
		held: counter("gaia_held_total",
			"Calls that waited for an instance to become ready.", "subsystem"),
		up: gauge("gaia_instance_up",
			"Whether the subsystem has an instance that is ready (1) or not (0).", "subsystem"),
		generation: gauge("gaia_instance_generation",
			"Serial number of the instance that was last ready; 0 before the first.", "subsystem"),
		starts: counter("gaia_instance_starts_total",
			"Instances started, ready or not, by reason: first or restart.", "subsystem", "reason"),
		exits: counter("gaia_instance_exits_total",
			"Instances ended, by reason: exit, signal, start (never became ready) or stop (as asked).", "subsystem", "reason"),
		startSeconds: histogram("gaia_instance_start_seconds",
			"Time from the execution of an instance to its being ready.", startBuckets(), "subsystem"),
		scrapeErrors: counter("gaia_plugin_scrape_errors_total",
			"Scrapes that lack some or all metrics of the subsystem's plugin, because it did not answer or answered wrongly.", "subsystem"),
		seriesDropped: counter("gaia_plugin_series_dropped_total",
			"Series left out of scrapes because the subsystem's plugin has too many.", "subsystem"),
		subsystems: make(map[string]*Subsystem),
	}
	build := gauge("gaia_build_info",
		"Version of the host and of the Go release it was built with; always 1.", "version", "go_version")
	build.WithLabelValues(version, runtime.Version()).Set(1)
	m.registry.MustRegister(
		m.calls, m.callSeconds, m.rejected, m.held, m.up, m.generation, m.starts, m.exits, m.startSeconds,
		m.scrapeErrors, m.seriesDropped, build, newLive(own, m.all),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// all returns the subsystems, sorted by name.
func (m *Metrics) all() []*Subsystem {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*Subsystem, 0, len(m.subsystems))
	for _, name := range slices.Sorted(maps.Keys(m.subsystems)) {
		all = append(all, m.subsystems[name])
	}
	return all
}

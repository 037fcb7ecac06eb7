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

	rejected        *prometheus.CounterVec
	held            *prometheus.CounterVec
	retries         *prometheus.CounterVec
	streamSeconds   *prometheus.HistogramVec
	up              *prometheus.GaugeVec
	generation      *prometheus.GaugeVec
	starts          *prometheus.CounterVec
	exits           *prometheus.CounterVec
	startSeconds    *prometheus.HistogramVec
	scrapeErrors    *prometheus.CounterVec
	seriesDropped   *prometheus.CounterVec
	reloads         *prometheus.CounterVec
	clientCalls     *prometheus.CounterVec
	clientRejected  *prometheus.CounterVec
	clientInFlight  *prometheus.GaugeVec
	unauthenticated *prometheus.CounterVec
	auditDropped    prometheus.Counter
	vectors         []vector // all of these

	lanes *lanes // of all methods
	live  *live

	mu         sync.Mutex
	subsystems map[string]*Subsystem
}

// vector is a metric with labels.
type vector interface {
	prometheus.Collector
	DeletePartialMatch(labels prometheus.Labels) int
}

// The results of a reload of the configuration.
const (
	ReloadApplied   = "applied"   // it runs now
	ReloadUnchanged = "unchanged" // it is what ran before
	ReloadRefused   = "refused"   // it is wrong; the old one runs on
)

// streamBuckets reach from a stream that carries one file to one that is
// followed for a day.
func streamBuckets() []float64 { return []float64{.01, .1, 1, 10, 60, 600, 3600, 86400} }

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
	m := &Metrics{
		registry:   prometheus.NewRegistry(),
		own:        make(names),
		lanes:      newLanes(runtime.GOMAXPROCS(0)),
		subsystems: make(map[string]*Subsystem),
	}
	m.rejected = m.counter("gaia_rejected_total",
		"Calls that a policy of the gate turned away.", "subsystem", "policy")
	m.held = m.counter("gaia_held_total",
		"Calls that waited for an instance to become ready.", "subsystem")
	m.retries = m.counter("gaia_retries_total",
		"Times that the host sent a call to an instance again.", "subsystem")
	m.streamSeconds = m.histogram("gaia_stream_seconds",
		"Life of a stream, from its arrival at the host to its end. Methods that were not called have no series.",
		streamBuckets(), "subsystem", "method")
	m.up = m.gauge("gaia_instance_up",
		"Whether the subsystem has an instance that is ready (1) or not (0).", "subsystem")
	m.generation = m.gauge("gaia_instance_generation",
		"Serial number of the instance that was last ready; 0 before the first.", "subsystem")
	m.starts = m.counter("gaia_instance_starts_total",
		"Instances started, ready or not, by reason: first, restart (after an exit), swap (to replace a running one), "+
			"standby (to be at hand) or trial (out of quarantine).", "subsystem", "reason")
	m.exits = m.counter("gaia_instance_exits_total",
		"Instances ended, by reason: exit, signal, start (never became ready), stop (as asked), health (hung, and killed) "+
			"or oom (out of memory).", "subsystem", "reason")
	m.startSeconds = m.histogram("gaia_instance_start_seconds",
		"Time from the execution of an instance to its being ready.", startBuckets(), "subsystem")
	m.scrapeErrors = m.counter("gaia_plugin_scrape_errors_total",
		"Scrapes that lack some or all metrics of the subsystem's plugin, because it did not answer or answered wrongly.", "subsystem")
	m.seriesDropped = m.counter("gaia_plugin_series_dropped_total",
		"Series left out of scrapes because the subsystem's plugin has too many.", "subsystem")
	m.reloads = m.counter("gaia_config_reloads_total",
		"Reloads of the configuration, by result: applied, unchanged or refused.", "result")
	for _, result := range []string{ReloadApplied, ReloadUnchanged, ReloadRefused} {
		m.reloads.WithLabelValues(result)
	}
	m.clientMetrics()
	m.gauge("gaia_build_info",
		"Version of the host and of the Go release it was built with; always 1.", "version", "go_version").
		WithLabelValues(version, runtime.Version()).Set(1)
	m.live = newLive(m.own, m.all)
	m.registry.MustRegister(
		newCalls(m.own, m.all), m.live, newSLO(m.own, m.all),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func (m *Metrics) counter(name, help string, labels ...string) *prometheus.CounterVec {
	v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: m.own.add(name), Help: help}, labels)
	m.register(v)
	return v
}

func (m *Metrics) gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	v := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.own.add(name), Help: help}, labels)
	m.register(v)
	return v
}

func (m *Metrics) histogram(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	v := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: m.own.addHistogram(name), Help: help, Buckets: buckets}, labels)
	m.register(v)
	return v
}

func (m *Metrics) register(v vector) {
	m.registry.MustRegister(v)
	m.vectors = append(m.vectors, v)
}

// Reloaded counts a reload that ended with one of Reload….
func (m *Metrics) Reloaded(result string) { m.reloads.WithLabelValues(result).Inc() }

// Remove takes the series of a subsystem that is no longer configured off the
// page. Call it when nothing of the subsystem runs any more: what is counted
// later would bring single series back.
func (m *Metrics) Remove(subsystem string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.subsystems, subsystem)
	for _, v := range m.vectors {
		v.DeletePartialMatch(prometheus.Labels{subsystemLabel: subsystem})
	}
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

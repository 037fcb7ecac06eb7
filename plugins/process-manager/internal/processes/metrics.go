package processes

import (
	"github.com/gaia-go/gaia/plugins/process-manager/internal/life"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the manager's. Labels have few values: never the name of a process
// or of a command.
type metrics struct {
	registry *prometheus.Registry
	starts   prometheus.Counter
	restarts prometheus.Counter
	exits    *prometheus.CounterVec // by cause
	runs     *prometheus.CounterVec // by cause
	seconds  prometheus.Histogram   // of runs
	adopted  prometheus.Counter
}

func newMetrics(m *Manager) *metrics {
	x := &metrics{
		registry: prometheus.NewRegistry(),
		starts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_process_starts_total",
			Help: "Supervised processes started, restarts included.",
		}),
		restarts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_process_restarts_total",
			Help: "Supervised processes started again.",
		}),
		exits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gaia_process_exits_total",
			Help: "Ends of supervised processes by cause.",
		}, []string{"cause"}),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gaia_process_runs_total",
			Help: "Calls of Run by the cause of the end of their process.",
		}, []string{"cause"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gaia_process_run_seconds",
			Help:    "Time from the start of a Run's process to the end of its output.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300},
		}),
		adopted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_process_adopted_total",
			Help: "Processes taken over from an earlier instance of the plugin.",
		}),
	}
	for cause := life.CauseUnknown; cause <= life.CauseNotStarted; cause++ {
		x.exits.WithLabelValues(cause.String())
		x.runs.WithLabelValues(cause.String())
	}
	x.registry.MustRegister(x.starts, x.restarts, x.exits, x.runs, x.seconds, x.adopted, &gauges{m})
	return x
}

// moved counts what a step of a machine is.
func (x *metrics) moved(before, after life.Machine) {
	if after.Restarts != before.Restarts {
		x.restarts.Inc()
	}
	if after.Exit != before.Exit {
		x.exits.WithLabelValues(after.Exit.Cause.String()).Inc()
	}
}

// gauges are counted when somebody asks.
type gauges struct{ manager *Manager }

func (*gauges) states() *prometheus.Desc {
	return prometheus.NewDesc("gaia_process_processes", "Supervised processes by state.", []string{"state"}, nil)
}

func (*gauges) inFlight() *prometheus.Desc {
	return prometheus.NewDesc("gaia_process_runs_in_flight", "Calls of Run under way.", nil, nil)
}

func (*gauges) logBytes() *prometheus.Desc {
	return prometheus.NewDesc("gaia_process_log_bytes", "Output that is kept of all processes.", nil, nil)
}

func (*gauges) dropped() *prometheus.Desc {
	return prometheus.NewDesc("gaia_process_log_dropped_bytes",
		"Output that was dropped because the disk did not keep up, of the processes that are supervised.", nil, nil)
}

// Describe sends what Collect measures.
func (g *gauges) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{g.states(), g.inFlight(), g.logBytes(), g.dropped()} {
		to <- d
	}
}

// Collect measures.
func (g *gauges) Collect(to chan<- prometheus.Metric) {
	counts := g.manager.states()
	for state := life.Starting; state <= life.Failed; state++ {
		to <- prometheus.MustNewConstMetric(g.states(), prometheus.GaugeValue, float64(counts[state]), state.String())
	}
	to <- prometheus.MustNewConstMetric(g.inFlight(), prometheus.GaugeValue, float64(g.manager.runs.Load()))
	var kept, dropped int64
	for _, p := range g.manager.all() {
		if log := p.openedLog(); log != nil {
			start, end, lost := log.Bounds()
			kept += end - start
			dropped += lost
		}
	}
	to <- prometheus.MustNewConstMetric(g.logBytes(), prometheus.GaugeValue, float64(kept))
	to <- prometheus.MustNewConstMetric(g.dropped(), prometheus.GaugeValue, float64(dropped))
}

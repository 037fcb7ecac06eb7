package files

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the manager's own. What calls there are, and how long they take, is
// in the host's.
type metrics struct {
	registry  *prometheus.Registry
	read      prometheus.Counter
	written   prometheus.Counter
	streams   prometheus.Gauge
	syncs     prometheus.Histogram
	conflicts prometheus.Counter
	swept     prometheus.Counter

	mu    sync.Mutex
	roots []*root // of which rootsCollector tells
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		read: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_file_read_bytes_total",
			Help: "Bytes of content read from files.",
		}),
		written: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_file_written_bytes_total",
			Help: "Bytes of content written to files, those included that were then discarded.",
		}),
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gaia_file_streams_open",
			Help: "Read and Write streams that are open.",
		}),
		syncs: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gaia_file_sync_seconds",
			Help:    "Time that bringing a file or directory to the disk has taken.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_file_conflicts_total",
			Help: "Changes refused because the file was not the one that if_match or if_size names.",
		}),
		swept: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_file_swept_total",
			Help: "Temporary files of a crashed instance that were removed.",
		}),
	}
	m.registry.MustRegister(m.read, m.written, m.streams, m.syncs, m.conflicts, m.swept, newRootsCollector(m))
	return m
}

// use sets the roots that are told of.
func (m *metrics) use(roots []*root) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.roots = roots
}

// timeSync observes how long a sync takes.
func (m *metrics) timeSync(sync func() error) error {
	begun := time.Now()
	err := sync()
	m.syncs.Observe(time.Since(begun).Seconds())
	return err
}

// rootsCollector tells of the roots when it is asked. There are as many series as
// the configuration has roots.
type rootsCollector struct {
	metrics                        *metrics
	up, used, files, quota, leases *prometheus.Desc
}

func newRootsCollector(m *metrics) *rootsCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"root"}, nil)
	}
	return &rootsCollector{
		metrics: m,
		up:      desc("gaia_file_root_up", "Whether the root's directory is there."),
		used:    desc("gaia_file_root_used_bytes", "Size of all files of the root, trash included; without a quota as of the latest call of Roots."),
		files:   desc("gaia_file_root_files", "Number of these files."),
		quota:   desc("gaia_file_root_quota_bytes", "Quota of the root; 0 for none."),
		leases:  desc("gaia_file_root_locks", "Locks that are held in the root."),
	}
}

// Describe names the series.
func (c *rootsCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.used, c.files, c.quota, c.leases} {
		out <- d
	}
}

// Collect reads what the roots know, and opens nothing.
func (c *rootsCollector) Collect(out chan<- prometheus.Metric) {
	c.metrics.mu.Lock()
	roots := c.metrics.roots
	c.metrics.mu.Unlock()
	for _, r := range roots {
		up, used, files, leases := r.figures()
		for desc, value := range map[*prometheus.Desc]float64{
			c.up: up, c.used: used, c.files: files, c.leases: leases, c.quota: float64(r.settings.quota),
		} {
			out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, r.settings.name)
		}
	}
}

// figures are the root's metrics.
func (r *root) figures() (up, used, files, leases float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t := r.tree
	if t == nil {
		return 0, 0, 0, 0
	}
	bytes, count := t.account.Used()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.state != nil {
		leases = float64(t.state.leases.Len(time.Now()))
	}
	return 1, float64(bytes), float64(count), leases
}

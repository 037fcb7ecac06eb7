package coordinator

import (
	"strings"
	"time"

	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/admit"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/conn"
	"github.com/gaia-go/gaia/plugins/network-coordinator/internal/resolver"
	networkv1 "github.com/gaia-go/gaia/proto/gaia/network/v1"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the coordinator's counters. No label has what a client or a host
// can choose: rules, limits, reasons and doors are few.
type metrics struct {
	registry *prometheus.Registry
	open     map[networkv1.Door]prometheus.Gauge // bound at the start, as opened and ended are
	opened   map[networkv1.Door]prometheus.Counter
	ended    map[conn.Reason]prometheus.Counter
	denied   *prometheus.CounterVec
	refused  *prometheus.CounterVec
	seconds  prometheus.Histogram
}

func newMetrics(c *Coordinator) *metrics {
	open := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "gaia_network_connections_open",
		Help: "Connections to hosts that are open, by the door they were asked for through.",
	}, []string{"door"})
	opened := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaia_network_connections_opened_total",
		Help: "Connections to hosts that were opened, by door.",
	}, []string{"door"})
	ended := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaia_network_connections_closed_total",
		Help: "Connections to hosts that have ended, by why.",
	}, []string{"reason"})
	m := &metrics{
		registry: prometheus.NewRegistry(),
		open:     map[networkv1.Door]prometheus.Gauge{},
		opened:   map[networkv1.Door]prometheus.Counter{},
		ended:    map[conn.Reason]prometheus.Counter{},
		denied: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gaia_network_denied_total",
			Help: "Connections that a rule denies, by rule; with report_only they are opened all the same.",
		}, []string{"rule"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gaia_network_refused_total",
			Help: "Connections that were one too many, by the limit's field.",
		}, []string{"limit"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gaia_network_connect_seconds",
			Help:    "Time to open a connection, from asking the rules to its being open, names resolved; of those that were opened.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}),
	}
	for _, door := range []networkv1.Door{networkv1.Door_CONNECT, networkv1.Door_HTTP, networkv1.Door_SOCKS5, networkv1.Door_TUNNEL} {
		label := strings.ToLower(door.String())
		m.open[door], m.opened[door] = open.WithLabelValues(label), opened.WithLabelValues(label)
	}
	for _, why := range conn.Reasons() {
		m.ended[why] = ended.WithLabelValues(string(why))
	}
	m.denied.WithLabelValues("default")
	for _, limit := range []admit.Limit{
		admit.MaxConnections, admit.ConnectionsPerHost, admit.ConnectionsPerClient, admit.ClientConnections, admit.NewConnections, admit.ClientNewConnections,
	} {
		m.refused.WithLabelValues(string(limit))
	}
	m.registry.MustRegister(open, opened, ended, m.denied, m.refused, m.seconds, newLive(c))
	return m
}

// Connected counts a connection that is open now.
func (m *metrics) Connected(door networkv1.Door, took time.Duration) {
	m.open[door].Inc()
	m.opened[door].Inc()
	m.seconds.Observe(took.Seconds())
}

// Ended counts a connection that was open.
func (m *metrics) Ended(door networkv1.Door, why conn.Reason) {
	m.open[door].Dec()
	m.ended[why].Inc()
}

// Refused counts a connection that was one too many.
func (m *metrics) Refused(refusal *admit.Refusal) {
	m.refused.WithLabelValues(string(refusal.Limit)).Inc()
}

// live are the metrics that are looked up when somebody asks for them: what is
// carried moves counters of the connections, and names are the resolver's.
type live struct {
	coordinator *Coordinator
	bytes       *prometheus.Desc
	names       []nameMetric
}

// nameMetric is a number of the resolver's.
type nameMetric struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(resolver.Stats) float64
}

func newLive(c *Coordinator) *live {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("gaia_network_"+name, help, labels, nil)
	}
	return &live{
		coordinator: c,
		bytes:       describe("bytes_total", "Bytes that connections have carried, sent to hosts and received from them.", "direction"),
		names: []nameMetric{
			{describe("dns_hits_total", "Names answered from the cache, stale ones included."), prometheus.CounterValue, func(s resolver.Stats) float64 { return float64(s.Hits) }},
			{describe("dns_misses_total", "Names for which an upstream was waited for."), prometheus.CounterValue, func(s resolver.Stats) float64 { return float64(s.Misses) }},
			{describe("dns_stale_total", "Hits past their time to live."), prometheus.CounterValue, func(s resolver.Stats) float64 { return float64(s.Stale) }},
			{describe("dns_prefetched_total", "Names asked for anew before their time had ended."), prometheus.CounterValue, func(s resolver.Stats) float64 { return float64(s.Prefetched) }},
			{describe("dns_queries_total", "Queries sent to upstreams."), prometheus.CounterValue, func(s resolver.Stats) float64 { return float64(s.Queries) }},
			{describe("dns_failures_total", "Queries without a usable answer."), prometheus.CounterValue, func(s resolver.Stats) float64 { return float64(s.Failures) }},
			{describe("dns_entries", "Answers in the cache."), prometheus.GaugeValue, func(s resolver.Stats) float64 { return float64(s.Entries) }},
		},
	}
}

// Describe is of prometheus.Collector.
func (l *live) Describe(to chan<- *prometheus.Desc) {
	to <- l.bytes
	for _, n := range l.names {
		to <- n.desc
	}
}

// Collect is of prometheus.Collector.
func (l *live) Collect(to chan<- prometheus.Metric) {
	sent, received := l.coordinator.table.Carried()
	to <- prometheus.MustNewConstMetric(l.bytes, prometheus.CounterValue, float64(sent), "sent")
	to <- prometheus.MustNewConstMetric(l.bytes, prometheus.CounterValue, float64(received), "received")
	var stats resolver.Stats
	if now := l.coordinator.current.Load(); now != nil {
		stats = now.names.Stats()
	}
	for _, n := range l.names {
		to <- prometheus.MustNewConstMetric(n.desc, n.kind, n.value(stats))
	}
}

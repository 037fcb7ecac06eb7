package telemetry

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// calls collects gaia_calls_total and gaia_call_seconds, which methods count by
// themselves.
type calls struct {
	subsystems func() []*Subsystem

	total, seconds *prometheus.Desc
}

func newCalls(own names, subsystems func() []*Subsystem) *calls {
	return &calls{
		subsystems: subsystems,
		total: prometheus.NewDesc(own.add("gaia_calls_total"),
			"Calls that ended, by gRPC status code; rejected ones and streams included.",
			[]string{"subsystem", "method", "code"}, nil),
		seconds: prometheus.NewDesc(own.addHistogram("gaia_call_seconds"),
			"Time from the arrival of a unary call at the host to its end, queues included. Rejected calls are not in it.",
			[]string{"subsystem", "method"}, nil),
	}
}

// presetCodes have a series from the beginning: increase() does not see the
// first value of a series, and a failure must not be overlooked for being the
// first. A series for each of the 17 codes of each method would be most of the
// page; the others appear when they occur.
func presetCodes() []codes.Code {
	return append([]codes.Code{codes.OK, codes.Canceled}, failureCodes()...)
}

// Describe implements prometheus.Collector.
func (c *calls) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.total
	ch <- c.seconds
}

// Collect implements prometheus.Collector.
func (c *calls) Collect(ch chan<- prometheus.Metric) {
	preset := presetCodes()
	for _, s := range c.subsystems() {
		for _, m := range *s.methods.Load() {
			counted := m.tally.read()
			for i, n := range counted.byCode {
				code := codes.Code(i)
				if n > 0 || slices.Contains(preset, code) {
					ch <- prometheus.MustNewConstMetric(c.total, prometheus.CounterValue, float64(n), s.name, m.label, code.String())
				}
			}
			ch <- histogram(c.seconds, counted, s.name, m.label)
		}
	}
}

// histogram counts in each bucket the calls of those below it, too.
func histogram(desc *prometheus.Desc, c counts, labels ...string) prometheus.Metric {
	buckets, below := make(map[float64]uint64, edgeCount), uint64(0)
	for i, edge := range callEdges() {
		below += c.buckets[i]
		buckets[edge.Seconds()] = below
	}
	return prometheus.MustNewConstHistogram(desc, c.timed(), c.seconds, buckets, labels...)
}

package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// MaxP95 is the largest objective for a p95 that can be watched: the last edge
// of gaia_call_seconds. Beyond it all calls look the same.
const MaxP95 = 30 * time.Second

// latencyShare is the share of calls that Objectives.P95 is about.
const latencyShare = 0.95

// The values of the label "slo".
const (
	sloSuccess  = "success"
	sloP95      = "p95"
	sloInFlight = "in_flight"
)

// Objectives are what an operator promises of a subsystem in its slo block.
type Objectives struct {
	Success  float64       // share of calls that do not fail, in (0, 1]; 0: none
	P95      time.Duration // 95 % of unary calls take this at most; up to MaxP95; 0: none
	InFlight int           // calls at once, at most; 0: none
}

// failureCodes are the codes by which a service fails its callers. A call that
// ends with another one counts as a success: the rest are the callers' own
// mistakes (InvalidArgument), what they asked for (Canceled), and facts they
// wanted to learn (NotFound).
func failureCodes() []codes.Code {
	return []codes.Code{
		codes.Unknown, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Unavailable, codes.DataLoss,
	}
}

// SetObjectives replaces the subsystem's objectives; of one that is zero there
// are no series.
func (s *Subsystem) SetObjectives(o Objectives) { s.objectives.Store(&o) }

// slo collects what is promised and what is held.
type slo struct {
	subsystems func() []*Subsystem

	objective, current *prometheus.Desc
}

func newSLO(own names, subsystems func() []*Subsystem) *slo {
	labels := []string{"subsystem", "slo"}
	return &slo{
		subsystems: subsystems,
		objective: prometheus.NewDesc(own.add("gaia_slo_objective"),
			"Objectives of the slo block: success (least share of calls that do not fail), p95 (most seconds), in_flight (most calls).",
			labels, nil),
		current: prometheus.NewDesc(own.add("gaia_slo_current"),
			"What the objectives are about as it is: success and p95 over the last 5 minutes, absent when no call ended in them; in_flight now.",
			labels, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *slo) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.objective
	ch <- c.current
}

// Collect implements prometheus.Collector.
func (c *slo) Collect(ch chan<- prometheus.Metric) {
	for _, s := range c.subsystems() {
		c.collect(s, func(desc *prometheus.Desc, value float64, slo string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, s.name, slo)
		})
	}
}

func (c *slo) collect(s *Subsystem, put func(desc *prometheus.Desc, value float64, slo string)) {
	o := s.objectives.Load()
	if o == nil {
		return
	}
	recent := s.recent(time.Now())
	if o.Success > 0 {
		put(c.objective, o.Success, sloSuccess)
		// Without calls there is nothing to say: 1 would hide an outage that
		// keeps all callers away, 0 would invent one.
		if n := recent.calls(); n > 0 {
			put(c.current, float64(n-recent.failures())/float64(n), sloSuccess)
		}
	}
	if o.P95 > 0 {
		put(c.objective, o.P95.Seconds(), sloP95)
		if recent.timed() > 0 {
			put(c.current, recent.quantile(latencyShare).Seconds(), sloP95)
		}
	}
	if o.InFlight > 0 {
		put(c.objective, float64(o.InFlight), sloInFlight)
		if from := s.live.Load(); from != nil && from.InFlight != nil {
			put(c.current, float64(from.InFlight()), sloInFlight)
		}
	}
}

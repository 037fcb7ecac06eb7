package resend

import "github.com/prometheus/client_golang/prometheus"

// reason is why a request was sent again.
type reason uint8

const (
	forUnsent reason = iota // nothing of it had left
	forBroken               // there was no complete response
	forStatus               // it was 429, 502, 503 or 504
	forHedge                // the response had not begun in time
	reasons
)

// Metrics count what Resenders do. They outlive them.
type Metrics struct {
	resent            [reasons]prometheus.Counter
	refusedByBudget   prometheus.Counter
	refusedByDeadline prometheus.Counter
	waitedForPause    prometheus.Counter
	refusedByPause    prometheus.Counter
	hedgesWon         prometheus.Counter
}

// NewMetrics returns metrics that are exposed by registry.
func NewMetrics(registry prometheus.Registerer) *Metrics {
	repetitions := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaia_api_repetitions_total",
		Help: "Requests sent again, by why: nothing of it had left, the exchange broke, the status asked for it, or no response had begun in time.",
	}, []string{"reason"})
	refused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaia_api_repetitions_refused_total",
		Help: "Repetitions that HTTP allowed and that were not made, because of the domain's budget or the call's deadline.",
	}, []string{"reason"})
	paused := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaia_api_paused_total",
		Help: "Requests held back by a pause that a server had asked for: those that waited, and those refused because it ends after their deadline.",
	}, []string{"result"})
	m := &Metrics{
		resent: [reasons]prometheus.Counter{
			forUnsent: repetitions.WithLabelValues("unsent"),
			forBroken: repetitions.WithLabelValues("broken"),
			forStatus: repetitions.WithLabelValues("status"),
			forHedge:  repetitions.WithLabelValues("hedge"),
		},
		refusedByBudget:   refused.WithLabelValues("budget"),
		refusedByDeadline: refused.WithLabelValues("deadline"),
		waitedForPause:    paused.WithLabelValues("waited"),
		refusedByPause:    paused.WithLabelValues("refused"),
		hedgesWon: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_api_hedges_won_total",
			Help: "Second copies of a request whose response began first.",
		}),
	}
	registry.MustRegister(repetitions, refused, paused, m.hedgesWon)
	return m
}

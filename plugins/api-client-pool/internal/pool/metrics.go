package pool

import (
	"time"

	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/cache"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/call"
	"github.com/gaia-go/gaia/plugins/api-client-pool/internal/resend"
	apiv1 "github.com/gaia-go/gaia/proto/gaia/api/v1"
	"github.com/gaia-go/gaia/sdk"
	"github.com/gaia-go/gaia/sdk/egress"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// metrics are the pool's counters. Every call is counted in requests once, with
// one result, so that the results add up to the calls. The children of the
// vectors are bound at the start: a look-up by label costs 20 times as much,
// and a series that exists from the start is a 0, not a gap.
type metrics struct {
	registry *prometheus.Registry
	results  map[codes.Code]prometheus.Counter // of calls without a response
	limited  prometheus.Counter                // of them those refused by a pause or a rate
	classes  [6]prometheus.Counter             // of responses, by the first digit of their status
	failures [call.Phases]prometheus.Counter
	seconds  prometheus.Histogram
	warm     prometheus.Counter
	cold     prometheus.Counter
	opened   prometheus.Counter
	open     prometheus.Gauge
	received prometheus.Counter
	sent     prometheus.Counter
	cache    *cache.Metrics
	shared   prometheus.Counter
	denials  *prometheus.CounterVec
	resend   *resend.Metrics
}

func newMetrics() *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaia_api_requests_total",
		Help: "Calls by result: the class of the response's status, or why there is none.",
	}, []string{"result"})
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaia_api_failures_total",
		Help: "Requests that were begun and got no complete response, by the phase that did not succeed.",
	}, []string{"phase"})
	exchanges := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "gaia_api_exchanges_total",
		Help: "Requests put on a connection, each redirect one more, by whether it was new or reused.",
	}, []string{"connection"})
	m := &metrics{
		registry: prometheus.NewRegistry(),
		results: map[codes.Code]prometheus.Counter{
			codes.InvalidArgument:   requests.WithLabelValues("invalid"),
			codes.PermissionDenied:  requests.WithLabelValues("denied"),
			codes.ResourceExhausted: requests.WithLabelValues("too_large"),
			codes.Canceled:          requests.WithLabelValues("canceled"),
			codes.DeadlineExceeded:  requests.WithLabelValues("timeout"),
			codes.Unavailable:       requests.WithLabelValues("unavailable"),
		},
		limited: requests.WithLabelValues("limited"),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "gaia_api_request_seconds",
			Help:    "Time from the start of a call to the last byte of its response, waiting for a connection and redirects included; complete responses only.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60},
		}),
		warm: exchanges.WithLabelValues("reused"),
		cold: exchanges.WithLabelValues("new"),
		opened: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_api_connections_opened_total",
			Help: "Connections opened to servers.",
		}),
		open: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gaia_api_connections_open",
			Help: "Connections to servers that are open, busy or idle.",
		}),
		shared: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_api_shared_total",
			Help: "Requests that got the response to an identical one, which was under way.",
		}),
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_api_received_bytes_total",
			Help: "Bytes read from servers' connections, headers and TLS included.",
		}),
		sent: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "gaia_api_sent_bytes_total",
			Help: "Bytes written to servers' connections, headers and TLS included.",
		}),
		denials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "gaia_api_egress_denied_total",
			Help: "Connections that an egress rule denied, or would have but for report_only, by the rule.",
		}, []string{"rule"}),
	}
	m.denials.WithLabelValues("default")
	for digit, class := range map[int]string{2: "2xx", 3: "3xx", 4: "4xx", 5: "5xx"} {
		m.classes[digit] = requests.WithLabelValues(class)
	}
	for p := range call.Phases {
		m.failures[p] = failures.WithLabelValues(p.String())
	}
	m.resend = resend.NewMetrics(m.registry)
	m.registry.MustRegister(requests, failures, exchanges, m.seconds, m.opened, m.open, m.received, m.sent, m.denials, m.shared)
	m.cache = cache.NewMetrics(m.registry)
	return m
}

// record counts a call of Do that has ended.
func (m *metrics) record(t *trace, answer *apiv1.DoResponse, err error) {
	if err == nil {
		m.seconds.Observe(time.Since(t.begun).Seconds())
	}
	m.count(t, answer.GetStatus(), err)
}

// count counts a call by its result: the status code of its response, or err.
func (m *metrics) count(t *trace, code uint32, err error) {
	if err == nil {
		m.classes[code/100].Inc()
		return
	}
	result := m.results[status.Code(err)]
	if result == nil { // of a stream that broke, not of its exchange
		result = m.results[codes.Unavailable]
	}
	if t.limited {
		result = m.limited
	}
	result.Inc()
	if t.method != "" { // it was begun
		m.failures[t.failed].Inc()
	}
}

// denied counts a connection that egress rules did not allow, or would not have.
func (m *metrics) denied(d *egress.Denied) {
	m.denials.WithLabelValues(d.Rule).Inc()
	if d.Passed {
		sdk.Logger().Info("egress would be denied", "profile", d.Client, "err", d.Error())
	}
}

// connected counts an exchange that has got a connection.
func (m *metrics) connected(reused bool) {
	if reused {
		m.warm.Inc()
	} else {
		m.cold.Inc()
	}
}

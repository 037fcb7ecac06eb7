package pool

import (
	"sync/atomic"
	"time"

	"github.com/gaia-go/gaia/plugins/browser-pool/internal/page"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/session"
	"github.com/gaia-go/gaia/plugins/browser-pool/internal/slot"
	browserv1 "github.com/gaia-go/gaia/proto/gaia/browser/v1"
	"github.com/gaia-go/gaia/sdk/egress"
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the pool's counters.
type metrics struct {
	registry *prometheus.Registry
	slots    atomic.Pointer[slot.Pool]

	starts, made, load, wipe    prometheus.Histogram
	recycles, crashes           *prometheus.CounterVec
	retries, denials            prometheus.Counter
	requests, received, seconds prometheus.Counter
	memory, clients             prometheus.Gauge
	messages, bytes             *prometheus.CounterVec
	sessions                    prometheus.Gauge
	opened                      prometheus.Counter
	ended                       *prometheus.CounterVec
	actions                     *prometheus.HistogramVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		starts:   histogram("gaia_browser_start_seconds", "Time until a new browser answered."),
		made:     histogram("gaia_browser_slot_seconds", "Time until a new tab in a context of its own was ready."),
		load:     histogram("gaia_browser_page_load_seconds", "Time from the begin of a page until what its caller waits for held; pages that were opened only."),
		wipe:     histogram("gaia_browser_wipe_seconds", "Time to wipe a tab for the next job of its client."),
		recycles: counters("gaia_browser_recycles_total", "Tabs that were thrown away, by reason.", "reason",
			"strict", "uses", "age", "idle", "room", "memory", "crash", "hung", "wipe", "unwipeable", "closed"),
		crashes:  counters("gaia_browser_crashes_total", "Browsers and pages that died unasked.", "what", "browser", "page"),
		retries:  counter("gaia_browser_retries_total", "Jobs that were repeated after a crash."),
		denials:  counter("gaia_browser_egress_denied_total", "Connections of pages that an egress rule denied, or would without report_only."),
		requests: counter("gaia_browser_requests_total", "Requests that pages made."),
		received: counter("gaia_browser_received_bytes_total", "Bytes that pages received over the network."),
		seconds:  counter("gaia_browser_cpu_seconds_total", "Processor time of the renderers of pages, as far as it is known."),
		memory: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gaia_browser_memory_bytes", Help: "Memory of all browsers together (proportional set size), as measured each second.",
		}),
		clients:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "gaia_browser_cdp_clients", Help: "Clients of the door for scripts."}),
		messages: counters("gaia_browser_cdp_messages_total", "Messages that passed the door for scripts.", "from", "client", "browser"),
		bytes:    counters("gaia_browser_cdp_bytes_total", "Bytes of messages that passed the door for scripts.", "from", "client", "browser"),
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "gaia_browser_sessions", Help: "Sessions that are open."}),
		opened:   counter("gaia_browser_sessions_opened_total", "Sessions that were opened."),
		ended: counters("gaia_browser_sessions_ended_total", "Sessions that have ended, by reason.", "reason",
			session.Closed, session.Idle, session.Crashed, session.Draining),
		actions: actions("gaia_browser_action_seconds", "Time that actions on sessions and steps of a Run took, those that failed too."),
	}
	m.registry.MustRegister(m.starts, m.made, m.load, m.wipe, m.recycles, m.crashes, m.retries, m.denials, m.requests, m.received, m.seconds, m.memory, m.clients, m.messages, m.bytes, m.sessions, m.opened, m.ended, m.actions)
	m.gauge("gaia_browser_browsers", "Browsers that run or start.", nil, func(c slot.Counts) int { return c.Browsers })
	m.gauge("gaia_browser_tabs", "Tabs, each in a context of its own.", nil, func(c slot.Counts) int { return c.Tabs })
	for state, count := range map[string]func(slot.Counts) int{
		"warm":  func(c slot.Counts) int { return c.Warm },
		"wiped": func(c slot.Counts) int { return c.Wiped },
		"used":  func(c slot.Counts) int { return c.Used },
	} {
		m.gauge("gaia_browser_slots", "Tabs by state: warm (nobody has used it), wiped (ready for its client), used.", prometheus.Labels{"state": state}, count)
	}
	return m
}

func (m *metrics) gauge(name, help string, labels prometheus.Labels, count func(slot.Counts) int) {
	m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, func() float64 {
		if slots := m.slots.Load(); slots != nil {
			return float64(count(slots.Counts()))
		}
		return 0
	}))
}

// seconds are those of a histogram: pages take milliseconds to half a minute.
func seconds(name, help string) prometheus.HistogramOpts {
	return prometheus.HistogramOpts{Name: name, Help: help, Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}}
}

func histogram(name, help string) prometheus.Histogram {
	return prometheus.NewHistogram(seconds(name, help))
}

// actions are made with all actions, so that each is a 0 from the start.
func actions(name, help string) *prometheus.HistogramVec {
	vector := prometheus.NewHistogramVec(seconds(name, help), []string{"action"})
	fields := (*browserv1.Step)(nil).ProtoReflect().Descriptor().Oneofs().ByName("action").Fields()
	for i := range fields.Len() {
		vector.WithLabelValues(string(fields.Get(i).Name()))
	}
	return vector
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

// counters are made with all their values, so that each is a 0 from the start.
func counters(name, help, label string, values ...string) *prometheus.CounterVec {
	vector := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
	for _, value := range values {
		vector.WithLabelValues(value)
	}
	return vector
}

// watch counts the parts of a pool from here on.
func (m *metrics) watch(slots *slot.Pool) { m.slots.Store(slots) }

func (m *metrics) denied(*egress.Denied) { m.denials.Inc() }

// done counts a job that has ended well.
func (m *metrics) done(cost *browserv1.Cost) {
	m.requests.Add(float64(cost.GetRequests()))
	m.received.Add(float64(cost.GetReceived()))
	m.seconds.Add(cost.GetCpu().AsDuration().Seconds())
}

func (m *metrics) action(name string, took time.Duration) {
	m.actions.WithLabelValues(name).Observe(took.Seconds())
}

// The methods of session.Meter.

// SessionOpened counts a session.
func (m *metrics) SessionOpened() {
	m.opened.Inc()
	m.sessions.Inc()
}

// SessionEnded counts the end of a session, and what its pages have used.
func (m *metrics) SessionEnded(reason string, used page.Usage) {
	m.sessions.Dec()
	m.ended.WithLabelValues(reason).Inc()
	m.requests.Add(float64(used.Requests))
	m.received.Add(float64(used.Received))
}

// The methods of slot.Meter.

// Started counts a browser.
func (m *metrics) Started(took time.Duration) { m.starts.Observe(took.Seconds()) }

// Made counts a slot.
func (m *metrics) Made(took time.Duration) { m.made.Observe(took.Seconds()) }

// Wiped counts a slot that is ready again.
func (m *metrics) Wiped(took time.Duration) { m.wipe.Observe(took.Seconds()) }

// Recycled counts a slot that is thrown away.
func (m *metrics) Recycled(reason string) { m.recycles.WithLabelValues(reason).Inc() }

// Crashed counts a browser or a page that died.
func (m *metrics) Crashed(what string) { m.crashes.WithLabelValues(what).Inc() }

// Sampled notes the memory of all browsers.
func (m *metrics) Sampled(memory uint64) { m.memory.Set(float64(memory)) }

// The methods of door.Meter.

// Client counts a client that has come, or with -1 one that has gone.
func (m *metrics) Client(more int) { m.clients.Add(float64(more)) }

// Message counts one that has passed.
func (m *metrics) Message(fromClient bool, bytes int) {
	from := "browser"
	if fromClient {
		from = "client"
	}
	m.messages.WithLabelValues(from).Inc()
	m.bytes.WithLabelValues(from).Add(float64(bytes))
}

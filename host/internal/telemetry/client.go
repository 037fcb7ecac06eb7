package telemetry

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

const clientLabel = "client"

// clientMetrics makes the metrics of who calls with credentials.
func (m *Metrics) clientMetrics() {
	m.clientCalls = m.counter("gaia_client_calls_total",
		"Calls of a client that ended, by gRPC status code; rejected ones and streams included.", clientLabel, "code")
	m.clientRejected = m.counter("gaia_client_rejected_total",
		"Calls of a client that were turned away before they came to a subsystem: it may not make them (allow), or its own rate or limits were used up.",
		clientLabel, "policy")
	m.clientInFlight = m.gauge("gaia_client_in_flight",
		"Calls of a client that are under way, open streams included.", clientLabel)
	m.unauthenticated = m.counter("gaia_unauthenticated_total",
		"Calls that were refused because nobody knows who made them, by door: grpc and link (on the socket), tcp (gRPC on host.grpc) or http.", "door")
	m.auditDropped = prometheus.NewCounter(prometheus.CounterOpts{Name: m.own.add("gaia_audit_dropped_total"),
		Help: "Audit lines that were lost because they could not be written, or not fast enough."})
	m.registry.MustRegister(m.auditDropped)
}

// Doors makes the series of the doors by which calls come.
func (m *Metrics) Doors(names ...string) {
	for _, name := range names {
		m.unauthenticated.WithLabelValues(name)
	}
}

// Unauthenticated counts a call by a door that was refused because of its
// credentials.
func (m *Metrics) Unauthenticated(door string) { m.unauthenticated.WithLabelValues(door).Inc() }

// AuditDropped counts lines of the audit log that are lost.
func (m *Metrics) AuditDropped(lines int) { m.auditDropped.Add(float64(lines)) }

// Client is the metrics of one client. Safe for concurrent use; no method
// blocks.
type Client struct {
	metrics  *Metrics
	name     string
	inFlight prometheus.Gauge

	mu      sync.Mutex
	removed bool
}

// Client returns the metrics of a client that has none yet, or had them
// removed. Its series start at zero.
func (m *Metrics) Client(name string) *Client {
	c := &Client{metrics: m, name: name, inFlight: m.clientInFlight.WithLabelValues(name)}
	for _, code := range append(presetCodes(), codes.PermissionDenied) {
		m.clientCalls.WithLabelValues(name, code.String())
	}
	return c
}

// Policies makes the series of policies that may reject calls from now on.
func (c *Client) Policies(names ...string) {
	for _, policy := range names {
		c.metrics.clientRejected.WithLabelValues(c.name, policy)
	}
}

// Remove takes the series off the page. What is counted later is lost, so that
// it brings no single series back.
func (c *Client) Remove() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.removed = true
	for _, v := range []vector{c.metrics.clientCalls, c.metrics.clientRejected, c.metrics.clientInFlight} {
		v.DeletePartialMatch(prometheus.Labels{clientLabel: c.name})
	}
}

// Rejected counts a call that a policy turned away.
func (c *Client) Rejected(policy string) { c.count(c.metrics.clientRejected, policy) }

// Retried does nothing: calls are repeated behind the gate of a subsystem.
func (c *Client) Retried() {}

// Entered counts a call that is under way until Left.
func (c *Client) Entered() { c.inFlight.Inc() }

// Left is the end of Entered.
func (c *Client) Left() { c.inFlight.Dec() }

// Ended counts a call that has ended with code, rejected ones included.
func (c *Client) Ended(code codes.Code) { c.count(c.metrics.clientCalls, defined(code).String()) }

func (c *Client) count(v *prometheus.CounterVec, label string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.removed {
		v.WithLabelValues(c.name, label).Inc()
	}
}

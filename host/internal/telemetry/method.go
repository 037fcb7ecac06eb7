package telemetry

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// Method is the metrics of one method of one subsystem. Each call that ends is
// told to one of Observe, ObserveRejected and ObserveStream; the first two look
// nothing up and allocate nothing. Safe for concurrent use.
type Method struct {
	label   string // "pkg.Service/Method"
	tally   tally
	streams func(label string) prometheus.Observer
}

func newMethod(m *Metrics, subsystem, name string) *Method {
	return &Method{
		label: strings.TrimPrefix(name, "/"),
		tally: newTally(m.lanes),
		streams: func(label string) prometheus.Observer {
			return m.streamSeconds.WithLabelValues(subsystem, label)
		},
	}
}

// Observe counts a unary call that ended with code, took after its arrival. A
// code that gRPC does not define, which a plugin may well send, is counted as
// Unknown.
func (m *Method) Observe(code codes.Code, took time.Duration) {
	m.tally.addTimed(defined(code), took)
}

// ObserveRejected counts a call that ended with code before it was forwarded.
// It says nothing about how quick the service is, so it has no part in
// gaia_call_seconds: turning away a thousand calls in a microsecond each would
// make a slow service look fast.
func (m *Method) ObserveRejected(code codes.Code) { m.tally.add(defined(code)) }

// ObserveStream counts a stream that ended with code after life. How long a
// watch or a log is followed is up to its reader, so it has no part in
// gaia_call_seconds, which SLOs are about.
func (m *Method) ObserveStream(code codes.Code, life time.Duration) {
	m.tally.add(defined(code))
	m.streams(m.label).Observe(life.Seconds())
}

func defined(code codes.Code) codes.Code {
	if int(code) >= codeCount {
		return codes.Unknown
	}
	return code
}

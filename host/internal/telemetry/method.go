package telemetry

import (
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/grpc/codes"
)

// codeCount is how many status codes gRPC defines, OK to Unauthenticated.
const codeCount = int(codes.Unauthenticated) + 1

// Method is the metrics of one method of one subsystem, with its children
// bound beforehand: observing looks nothing up and allocates nothing. Safe for
// concurrent use.
type Method struct {
	calls   *prometheus.CounterVec
	byCode  [codeCount]prometheus.Counter
	seconds prometheus.Observer
}

// presetCodes have a series from the beginning: success, and what the host
// itself makes of an overload or a crash. A series for each of the 17 codes of
// each method would be most of the page; the others appear when they occur.
func presetCodes() []codes.Code {
	return []codes.Code{
		codes.OK, codes.Canceled, codes.DeadlineExceeded, codes.ResourceExhausted, codes.Internal, codes.Unavailable,
	}
}

func newMethod(m *Metrics, subsystem, name string) *Method {
	label := strings.TrimPrefix(name, "/")
	method := &Method{
		calls:   m.calls.MustCurryWith(prometheus.Labels{"subsystem": subsystem, "method": label}),
		seconds: m.callSeconds.WithLabelValues(subsystem, label),
	}
	for _, code := range presetCodes() {
		method.byCode[code] = method.calls.WithLabelValues(code.String())
	}
	return method
}

// Observe counts a call that ended with code after took. A code that gRPC does
// not define, which a plugin may well send, is counted as Unknown.
func (m *Method) Observe(code codes.Code, took time.Duration) {
	m.seconds.Observe(took.Seconds())
	if int(code) >= codeCount {
		code = codes.Unknown
	}
	if counter := m.byCode[code]; counter != nil {
		counter.Inc()
		return
	}
	m.calls.WithLabelValues(code.String()).Inc()
}

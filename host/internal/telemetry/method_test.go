package telemetry

import (
	"testing"
	"time"

	"google.golang.org/grpc/codes"
)

func TestCallsAreCountedByMethodAndCode(t *testing.T) {
	m := New("dev")
	s := m.Subsystem("s")
	do := s.Method("/p.v1.S/Do")
	if s.Method("/p.v1.S/Do") != do {
		t.Error("the same method gave other metrics")
	}
	do.Observe(codes.OK, time.Millisecond)
	do.Observe(codes.OK, 20*time.Millisecond)
	do.Observe(codes.NotFound, time.Second)
	do.Observe(codes.Code(4711), time.Second) // not a gRPC code
	expect(t, m, `
# HELP gaia_calls_total Calls that ended, by gRPC status code; rejected ones and streams included.
# TYPE gaia_calls_total counter
gaia_calls_total{code="Canceled",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="DataLoss",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="DeadlineExceeded",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="Internal",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="NotFound",method="p.v1.S/Do",subsystem="s"} 1
gaia_calls_total{code="OK",method="p.v1.S/Do",subsystem="s"} 2
gaia_calls_total{code="ResourceExhausted",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="Unavailable",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="Unknown",method="p.v1.S/Do",subsystem="s"} 1
`, "gaia_calls_total")
}

// A rejected call is quick, and a stream lasts as long as its reader likes:
// neither says how fast the service is.
func TestOnlyUnaryCallsThatWereForwardedAreTimed(t *testing.T) {
	m := New("dev")
	do := m.Subsystem("s").Method("/p.v1.S/Do")
	do.Observe(codes.OK, 100*time.Millisecond) // an edge is in its bucket
	do.Observe(codes.Internal, 90*time.Second)
	do.ObserveRejected(codes.ResourceExhausted)
	do.ObserveRejected(codes.Code(4711))
	do.ObserveStream(codes.OK, time.Hour)
	got := do.tally.read()
	for code, want := range map[codes.Code]uint64{codes.OK: 2, codes.Internal: 1, codes.ResourceExhausted: 1, codes.Unknown: 1} {
		if got.byCode[code] != want {
			t.Errorf("%d calls ended with %v, want %d", got.byCode[code], code, want)
		}
	}
	expect(t, m, `
# HELP gaia_call_seconds Time from the arrival of a unary call at the host to its end, queues included. Rejected calls are not in it.
# TYPE gaia_call_seconds histogram
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.0001"} 0
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.00025"} 0
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.0005"} 0
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.001"} 0
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.0025"} 0
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.005"} 0
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.01"} 0
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.025"} 0
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.05"} 0
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.1"} 1
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.25"} 1
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.5"} 1
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="1"} 1
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="2.5"} 1
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="5"} 1
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="10"} 1
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="30"} 1
gaia_call_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="+Inf"} 2
gaia_call_seconds_sum{method="p.v1.S/Do",subsystem="s"} 90.1
gaia_call_seconds_count{method="p.v1.S/Do",subsystem="s"} 2
# HELP gaia_stream_seconds Life of a stream, from its arrival at the host to its end. Methods that were not called have no series.
# TYPE gaia_stream_seconds histogram
gaia_stream_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.01"} 0
gaia_stream_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="0.1"} 0
gaia_stream_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="1"} 0
gaia_stream_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="10"} 0
gaia_stream_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="60"} 0
gaia_stream_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="600"} 0
gaia_stream_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="3600"} 1
gaia_stream_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="86400"} 1
gaia_stream_seconds_bucket{method="p.v1.S/Do",subsystem="s",le="+Inf"} 1
gaia_stream_seconds_sum{method="p.v1.S/Do",subsystem="s"} 3600
gaia_stream_seconds_count{method="p.v1.S/Do",subsystem="s"} 1
`, "gaia_call_seconds", "gaia_stream_seconds")
}

func TestObservingAllocatesNothing(t *testing.T) {
	s := New("dev").Subsystem("s")
	s.Methods([]string{"/p.v1.S/Do"})
	if n := testing.AllocsPerRun(1000, func() {
		s.Method("/p.v1.S/Do").Observe(codes.OK, time.Millisecond)
		s.Method("/p.v1.S/Do").ObserveRejected(codes.ResourceExhausted)
	}); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

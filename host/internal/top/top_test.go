package top

import (
	"testing"
	"time"

	hostv1 "github.com/gaia-go/gaia/proto/gaia/host/v1"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// started is when the host of these readings began.
func started() time.Time { return time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC) }

// answer is a reading of a host with one subsystem, so long after its start.
func answer(uptime time.Duration, s *hostv1.SubsystemStats) *hostv1.StatsResponse {
	s.Name = "files"
	return &hostv1.StatsResponse{
		Status: &hostv1.StatusResponse{
			Version: "v1.2.3", Pid: 4242, StartedAt: timestamppb.New(started()),
			Subsystems: []*hostv1.Subsystem{{Name: "files", State: hostv1.State_READY, InFlight: 3, ReadySince: timestamppb.New(started())}},
		},
		Uptime:     durationpb.New(uptime),
		Edges:      []*durationpb.Duration{durationpb.New(10 * time.Millisecond), durationpb.New(100 * time.Millisecond)},
		Subsystems: []*hostv1.SubsystemStats{s},
	}
}

func TestRatesAreOfTheTimeBetweenTwoReadings(t *testing.T) {
	t.Parallel()
	before := answer(time.Hour, &hostv1.SubsystemStats{
		Rejected: map[string]uint64{"bulkhead": 5, "rate.global": 2}, CpuSeconds: 100, Measured: true, Retries: 1,
		Methods: []*hostv1.MethodStats{{Name: "f.v1.F/Read", Calls: 1_000_000, Failures: 10, Buckets: []uint64{1_000_000, 0, 0}}},
	})
	now := answer(time.Hour+2*time.Second, &hostv1.SubsystemStats{
		Rejected: map[string]uint64{"bulkhead": 9, "rate.global": 2}, CpuSeconds: 103, Measured: true, Retries: 3,
		ResidentBytes: 1 << 20, OpenFiles: 7, Limit: 10, Breaker: 2,
		Methods: []*hostv1.MethodStats{
			{Name: "f.v1.F/Idle", Calls: 0},
			{Name: "f.v1.F/Read", Calls: 1_000_010, Failures: 12, Buckets: []uint64{1_000_000, 10, 0}},
			{Name: "f.v1.F/Write", Calls: 30, Buckets: []uint64{30, 0, 0}},
		},
	})
	got := Compare(before, now, started().Add(time.Hour)).Subsystems[0]
	want := Subsystem{
		Name: "files", State: "ready", ReadySeconds: 3600, InFlight: 3, Limit: 10, Breaker: "open",
		CallsPerSecond: 20, FailuresPerSecond: 1, RetriesPerSecond: 1,
		RejectedPerSecond: 2, Rejected: map[string]float64{"bulkhead": 2},
		P95Seconds: new(0.01 + 0.09*8/10), // 38 of 40 calls: the eighth of ten in the second bucket
		CPU:        new(1.5), MemoryBytes: new(uint64(1 << 20)), OpenFiles: new(uint64(7)),
		Methods: []Method{
			{Name: "f.v1.F/Write", CallsPerSecond: 15, P95Seconds: new(0.0095)},
			{Name: "f.v1.F/Read", CallsPerSecond: 5, FailuresPerSecond: 1, P95Seconds: new(0.01 + 0.09*0.95)},
		},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b float64) bool { return max(a, b)-min(a, b) < 1e-9 })); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestAFirstReadingHasNoRates(t *testing.T) {
	t.Parallel()
	counted := &hostv1.SubsystemStats{Methods: []*hostv1.MethodStats{{Name: "f.v1.F/Read", Calls: 1000, Buckets: []uint64{1000, 0, 0}}}}
	otherRun := answer(time.Hour, &hostv1.SubsystemStats{})
	otherRun.Status.StartedAt = timestamppb.New(started().Add(-time.Hour))
	for name, before := range map[string]*hostv1.StatsResponse{"nothing before": nil, "another run before": otherRun} {
		got := Compare(before, answer(time.Minute, counted), started())
		if s := got.Subsystems[0]; got.Seconds != 0 || s.CallsPerSecond != 0 || s.P95Seconds != nil || s.CPU != nil || len(s.Methods) != 0 {
			t.Errorf("%s: %+v, want no rates", name, got)
		}
	}
}

func TestACounterThatFellBeganAnew(t *testing.T) {
	t.Parallel()
	method := func(calls uint64) *hostv1.SubsystemStats {
		return &hostv1.SubsystemStats{Methods: []*hostv1.MethodStats{{Name: "f.v1.F/Read", Calls: calls, Buckets: []uint64{calls, 0, 0}}}}
	}
	got := Compare(answer(time.Minute, method(500)), answer(time.Minute+time.Second, method(7)), started())
	if got.CallsPerSecond != 7 || got.Subsystems[0].P95Seconds == nil {
		t.Errorf("%+v, want 7 calls/s: the subsystem was taken away and came back", got.Subsystems[0])
	}
}

func TestAQuantileIsAtMostTheLastEdge(t *testing.T) {
	t.Parallel()
	edges := answer(0, &hostv1.SubsystemStats{}).GetEdges()
	if got := quantile(0.95, []uint64{0, 0, 4}, edges); *got != 0.1 {
		t.Errorf("%v, want 0.1: beyond the last edge nothing is known", *got)
	}
	if got := quantile(0.95, []uint64{0, 0, 0}, edges); got != nil {
		t.Errorf("%v for no call, want nil", *got)
	}
}

func TestUnitsFitTheirColumns(t *testing.T) {
	t.Parallel()
	for want, got := range map[string]string{
		"0": rate(0), "0.3": rate(0.3), "10": rate(9.96), "12345": rate(12345), "100k": rate(99_999.9), "1.2M": rate(1.2e6),
		"-": seconds(nil), "88µs": seconds(new(88e-6)), "1.3ms": seconds(new(1.26e-3)), "250ms": seconds(new(.25)), "2.5s": seconds(new(2.5)),
		"512KiB": size(new(uint64(512 << 10))), "20MiB": size(new(uint64(20 << 20))), "1.5GiB": size(new(uint64(3 << 29))),
		"150%": cores(new(1.5)), "5s": span(5.9), "1m01s": span(61), "2h03m": span(7380), "3d04h": span(76 * 3600),
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestASpanHasItsTwoLargestUnits(t *testing.T) {
	t.Parallel()
	tests := []struct {
		given time.Duration
		want  string
	}{
		{-time.Second, "0s"},
		{0, "0s"},
		{59*time.Second + 999*time.Millisecond, "59s"},
		{time.Minute, "1m00s"},
		{time.Hour - time.Second, "59m59s"},
		{25 * time.Hour, "1d01h"},
		{23*time.Hour + 59*time.Minute, "23h59m"},
		{400 * 24 * time.Hour, "400d00h"},
	}
	for _, tt := range tests {
		if got := Span(tt.given); got != tt.want {
			t.Errorf("Span(%v) = %q, want %q", tt.given, got, tt.want)
		}
	}
}

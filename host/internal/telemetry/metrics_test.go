package telemetry

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	"google.golang.org/grpc/codes"
)

var update = flag.Bool("update", false, "rewrite docs")

// used is a set of metrics with something in every series.
func used(t *testing.T) *Metrics {
	t.Helper()
	m := New("v1.2.3")
	s := m.Subsystem("api_client_pool", "bulkhead")
	s.Methods([]string{"/gaia.api.v1.APIClientPool/Do"})
	s.Bind(func() int { return 3 }, func() int { return 2 }, os.Getpid)
	return m
}

// metricsDoc is docs/metrics.md.
func metricsDoc(t *testing.T, m *Metrics) string {
	t.Helper()
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`# Metrics

<!-- Printed from the registry; a test in host/internal/telemetry compares it. Do not edit. -->

What the host says at ` + "`/metrics`" + `, besides the usual ` + "`go_…` and `process_…`" + ` of its own
process. The metrics of each plugin follow under a ` + "`subsystem`" + ` label; its
README lists them. A key, such as a domain or a path, is never a label.

| name | type | labels | meaning |
| --- | --- | --- | --- |
`)
	for _, f := range families {
		if !strings.HasPrefix(f.GetName(), "gaia_") {
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", f.GetName(), typeName(f), strings.Join(labels, ", "), f.GetHelp())
	}
	return b.String()
}

func TestTheDocsOfTheMetricsAreThoseOfTheRegistry(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("gaia_process_… are measured on Linux only")
	}
	got := metricsDoc(t, used(t))
	path := filepath.Join("..", "..", "..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
		t.Errorf("%s (-want +got); make generate rewrites it:\n%s", path, diff)
	}
}

func TestTheMetricsFollowTheNamingRules(t *testing.T) {
	families, err := used(t).registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestSeriesStartAtZero(t *testing.T) {
	m := New("dev")
	s := m.Subsystem("s", "deadline", "bulkhead")
	s.Methods([]string{"/p.v1.S/M"})
	for name, want := range map[string]int{
		"gaia_calls_total":                 len(presetCodes()),
		"gaia_call_seconds":                1,
		"gaia_rejected_total":              2,
		"gaia_held_total":                  1,
		"gaia_instance_up":                 1,
		"gaia_instance_generation":         1,
		"gaia_instance_starts_total":       2,
		"gaia_instance_exits_total":        4,
		"gaia_instance_start_seconds":      1,
		"gaia_plugin_scrape_errors_total":  1,
		"gaia_plugin_series_dropped_total": 1,
	} {
		got, err := testutil.GatherAndCount(m.registry, name)
		if err != nil || got != want {
			t.Errorf("%s has %d series, want %d (%v)", name, got, want, err)
		}
	}
}

// expect compares the series whose lines begin with one of the names.
func expect(t *testing.T, m *Metrics, want string, names ...string) {
	t.Helper()
	if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
}

func TestTheLifeOfAnInstanceIsCounted(t *testing.T) {
	m := New("dev")
	s := m.Subsystem("s")
	s.Started(StartFirst)
	s.Ready(1, 8*time.Millisecond)
	s.Exited(ExitSignal)
	s.Started(StartRestart)
	s.Exited(ExitStart)
	s.Started(StartRestart)
	s.Ready(3, 9*time.Millisecond)
	s.Held()
	s.Rejected("bulkhead")
	if again := m.Subsystem("s"); again != s {
		t.Error("the same name gave other metrics")
	}
	expect(t, m, `
# HELP gaia_held_total Calls that waited for an instance to become ready.
# TYPE gaia_held_total counter
gaia_held_total{subsystem="s"} 1
# HELP gaia_instance_exits_total Instances ended, by reason: exit, signal, start (never became ready) or stop (as asked).
# TYPE gaia_instance_exits_total counter
gaia_instance_exits_total{reason="exit",subsystem="s"} 0
gaia_instance_exits_total{reason="signal",subsystem="s"} 1
gaia_instance_exits_total{reason="start",subsystem="s"} 1
gaia_instance_exits_total{reason="stop",subsystem="s"} 0
# HELP gaia_instance_generation Serial number of the instance that was last ready; 0 before the first.
# TYPE gaia_instance_generation gauge
gaia_instance_generation{subsystem="s"} 3
# HELP gaia_instance_starts_total Instances started, ready or not, by reason: first or restart.
# TYPE gaia_instance_starts_total counter
gaia_instance_starts_total{reason="first",subsystem="s"} 1
gaia_instance_starts_total{reason="restart",subsystem="s"} 2
# HELP gaia_instance_up Whether the subsystem has an instance that is ready (1) or not (0).
# TYPE gaia_instance_up gauge
gaia_instance_up{subsystem="s"} 1
# HELP gaia_rejected_total Calls that a policy of the gate turned away.
# TYPE gaia_rejected_total counter
gaia_rejected_total{policy="bulkhead",subsystem="s"} 1
`, "gaia_held_total", "gaia_instance_exits_total", "gaia_instance_generation", "gaia_instance_starts_total",
		"gaia_instance_up", "gaia_rejected_total")
	s.Exited(ExitStop)
	expect(t, m, `
# HELP gaia_instance_up Whether the subsystem has an instance that is ready (1) or not (0).
# TYPE gaia_instance_up gauge
gaia_instance_up{subsystem="s"} 0
`, "gaia_instance_up")
}

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
# HELP gaia_calls_total Calls that ended, by gRPC status code; rejected ones included.
# TYPE gaia_calls_total counter
gaia_calls_total{code="Canceled",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="DeadlineExceeded",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="Internal",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="NotFound",method="p.v1.S/Do",subsystem="s"} 1
gaia_calls_total{code="OK",method="p.v1.S/Do",subsystem="s"} 2
gaia_calls_total{code="ResourceExhausted",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="Unavailable",method="p.v1.S/Do",subsystem="s"} 0
gaia_calls_total{code="Unknown",method="p.v1.S/Do",subsystem="s"} 1
`, "gaia_calls_total")
}

func TestObservingAllocatesNothing(t *testing.T) {
	s := New("dev").Subsystem("s")
	s.Methods([]string{"/p.v1.S/Do"})
	if n := testing.AllocsPerRun(1000, func() { s.Method("/p.v1.S/Do").Observe(codes.OK, time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations, want 0", n)
	}
}

func BenchmarkObserve(b *testing.B) {
	m := New("dev").Subsystem("s").Method("/p.v1.S/Do")
	b.ReportAllocs()
	for b.Loop() {
		m.Observe(codes.OK, time.Millisecond)
	}
}

func TestTheGateIsReadAtEachScrape(t *testing.T) {
	m := New("dev")
	m.Subsystem("unbound") // has no gate yet: nothing to read
	inFlight := 0
	m.Subsystem("s").Bind(func() int { return inFlight }, func() int { return 2 * inFlight }, func() int { return 0 })
	for inFlight = range 3 {
		expect(t, m, fmt.Sprintf(`
# HELP gaia_calls_in_flight Calls admitted by the bulkhead that have not ended.
# TYPE gaia_calls_in_flight gauge
gaia_calls_in_flight{subsystem="s"} %d
# HELP gaia_calls_queued Calls waiting for the bulkhead.
# TYPE gaia_calls_queued gauge
gaia_calls_queued{subsystem="s"} %d
`, inFlight, 2*inFlight), "gaia_calls_in_flight", "gaia_calls_queued")
	}
}

func TestCPUTimeIsACounterAcrossInstances(t *testing.T) {
	l := newLive(make(names), nil)
	var got []float64
	for _, step := range []struct {
		pid int
		cpu float64
	}{
		{0, 0},             // not started
		{10, 1}, {10, 1.5}, // an instance
		{10, 1.2}, {10, 1.4}, // a child left the tree
		{0, 0},   // between two instances
		{11, .5}, // the next one
	} {
		got = append(got, l.spend("s", step.pid, step.cpu))
	}
	want := []float64{0, 1, 1.5, 1.5, 1.7, 1.7, 2.2}
	if !slices.EqualFunc(got, want, func(a, b float64) bool { return a-b < 1e-9 && b-a < 1e-9 }) {
		t.Errorf("got %v, want %v", got, want)
	}
}

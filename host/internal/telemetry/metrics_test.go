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
	s.Bind(Live{
		InFlight: func() int { return 3 },
		Queued:   func() int { return 2 },
		PID:      os.Getpid,
		Breaker:  func() int { return 1 },
	})
	s.SetObjectives(Objectives{Success: .99, P95: 100 * time.Millisecond, InFlight: 450})
	s.Method("/gaia.api.v1.APIClientPool/Do").Observe(codes.OK, 20*time.Millisecond)
	s.Method("/gaia.api.v1.APIClientPool/Stream").ObserveStream(codes.OK, time.Minute)
	m.Client("ci").Policies("allow")
	m.Doors("http")
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
[how-to/scrape-and-alert.md](how-to/scrape-and-alert.md) makes alerts of them.

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
	s.Policies("bulkhead", "rate global") // as a reload may add
	s.Methods([]string{"/p.v1.S/M"})
	for name, want := range map[string]int{
		"gaia_calls_total":                 len(presetCodes()),
		"gaia_call_seconds":                1,
		"gaia_rejected_total":              3,
		"gaia_held_total":                  1,
		"gaia_instance_up":                 1,
		"gaia_instance_generation":         1,
		"gaia_retries_total":               1,
		"gaia_config_reloads_total":        3,
		"gaia_instance_starts_total":       5,
		"gaia_instance_exits_total":        6,
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
	s.StartTook(8 * time.Millisecond)
	s.Serving(1)
	s.Serving(0)
	s.Exited(ExitSignal)
	s.Started(StartRestart)
	s.Exited(ExitStart)
	s.Started(StartRestart)
	s.StartTook(9 * time.Millisecond)
	s.Serving(3)
	s.Exited(ExitStop) // of an older one, in whose place it is
	s.Held()
	s.Rejected("bulkhead")
	s.Retried()
	m.Reloaded(ReloadRefused)
	if again := m.Subsystem("s"); again != s {
		t.Error("the same name gave other metrics")
	}
	expect(t, m, `
# HELP gaia_config_reloads_total Reloads of the configuration, by result: applied, unchanged or refused.
# TYPE gaia_config_reloads_total counter
gaia_config_reloads_total{result="applied"} 0
gaia_config_reloads_total{result="refused"} 1
gaia_config_reloads_total{result="unchanged"} 0
# HELP gaia_held_total Calls that waited for an instance to become ready.
# TYPE gaia_held_total counter
gaia_held_total{subsystem="s"} 1
# HELP gaia_instance_exits_total Instances ended, by reason: exit, signal, start (never became ready), stop (as asked), health (hung, and killed) or oom (out of memory).
# TYPE gaia_instance_exits_total counter
gaia_instance_exits_total{reason="exit",subsystem="s"} 0
gaia_instance_exits_total{reason="health",subsystem="s"} 0
gaia_instance_exits_total{reason="oom",subsystem="s"} 0
gaia_instance_exits_total{reason="signal",subsystem="s"} 1
gaia_instance_exits_total{reason="start",subsystem="s"} 1
gaia_instance_exits_total{reason="stop",subsystem="s"} 1
# HELP gaia_instance_generation Serial number of the instance that was last ready; 0 before the first.
# TYPE gaia_instance_generation gauge
gaia_instance_generation{subsystem="s"} 3
# HELP gaia_instance_starts_total Instances started, ready or not, by reason: first, restart (after an exit), swap (to replace a running one), standby (to be at hand) or trial (out of quarantine).
# TYPE gaia_instance_starts_total counter
gaia_instance_starts_total{reason="first",subsystem="s"} 1
gaia_instance_starts_total{reason="restart",subsystem="s"} 2
gaia_instance_starts_total{reason="standby",subsystem="s"} 0
gaia_instance_starts_total{reason="swap",subsystem="s"} 0
gaia_instance_starts_total{reason="trial",subsystem="s"} 0
# HELP gaia_instance_up Whether the subsystem has an instance that is ready (1) or not (0).
# TYPE gaia_instance_up gauge
gaia_instance_up{subsystem="s"} 1
# HELP gaia_rejected_total Calls that a policy of the gate turned away.
# TYPE gaia_rejected_total counter
gaia_rejected_total{policy="bulkhead",subsystem="s"} 1
# HELP gaia_retries_total Times that the host sent a call to an instance again.
# TYPE gaia_retries_total counter
gaia_retries_total{subsystem="s"} 1
`, "gaia_config_reloads_total", "gaia_held_total", "gaia_instance_exits_total", "gaia_instance_generation", "gaia_instance_starts_total",
		"gaia_instance_up", "gaia_rejected_total", "gaia_retries_total")
	s.Serving(0)
	expect(t, m, `
# HELP gaia_instance_up Whether the subsystem has an instance that is ready (1) or not (0).
# TYPE gaia_instance_up gauge
gaia_instance_up{subsystem="s"} 0
`, "gaia_instance_up")
}

func TestTheGateIsReadAtEachScrape(t *testing.T) {
	m := New("dev")
	m.Subsystem("unbound") // has no gate yet: nothing to read
	inFlight := 0
	m.Subsystem("s").Bind(Live{InFlight: func() int { return inFlight }, Queued: func() int { return 2 * inFlight }})
	for inFlight = range 3 {
		expect(t, m, fmt.Sprintf(`
# HELP gaia_calls_in_flight Calls admitted by the bulkhead that have not ended.
# TYPE gaia_calls_in_flight gauge
gaia_calls_in_flight{subsystem="s"} %d
# HELP gaia_calls_queued Calls waiting for a bulkhead, the one of all calls or that of a key.
# TYPE gaia_calls_queued gauge
gaia_calls_queued{subsystem="s"} %d
`, inFlight, 2*inFlight), "gaia_calls_in_flight", "gaia_calls_queued")
	}
}

func TestABreakerThatIsNotThereHasNoState(t *testing.T) {
	m := New("dev")
	state := -1
	m.Subsystem("s").Bind(Live{Breaker: func() int { return state }})
	for _, want := range []int{0, 1, 1, 1} {
		if got, err := testutil.GatherAndCount(m.registry, "gaia_breaker_state"); err != nil || got != want {
			t.Errorf("state %d: %d series, want %d (%v)", state, got, want, err)
		}
		state++
	}
}

func TestASubsystemThatIsRemovedLeavesThePage(t *testing.T) {
	m := used(t)
	m.Remove("api_client_pool")
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, series := range f.GetMetric() {
			if key := labelsKey(series); strings.Contains(key, "api_client_pool") {
				t.Errorf("%s{%s} is still there", f.GetName(), key)
			}
		}
	}
	// It may come back, and begins anew.
	s := m.Subsystem("api_client_pool")
	s.SetObjectives(Objectives{Success: .99})
	if got, err := testutil.GatherAndCount(m.registry, "gaia_calls_total", "gaia_slo_current"); err != nil || got != 0 {
		t.Errorf("%d old series (%v)", got, err)
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

func TestAClientThatIsRemovedLeavesNoSeries(t *testing.T) {
	m := New("v1")
	gone, stays := m.Client("gone"), m.Client("stays")
	for _, c := range []*Client{gone, stays} {
		c.Policies("rate")
		c.Entered()
	}
	gone.Remove()
	gone.Left() // a call that was under way
	gone.Ended(codes.OK)
	gone.Rejected("rate")
	stays.Ended(codes.Code(99)) // which gRPC does not define
	families, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, series := range f.GetMetric() {
			for _, l := range series.GetLabel() {
				if l.GetValue() == "gone" || strings.HasPrefix(l.GetValue(), "Code(") {
					t.Errorf("%s has %v", f.GetName(), series)
				}
			}
		}
	}
}

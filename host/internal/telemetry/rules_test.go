package telemetry

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/go-hclog"
)

// shipped are the objectives of the file that is kept in testdata.
func shipped() []NamedObjectives {
	return []NamedObjectives{
		{"api_client_pool", Objectives{Success: .99, P95: 100 * time.Millisecond, InFlight: 450}},
		{"hello", Objectives{}},
		{"process_manager", Objectives{P95: 120 * time.Millisecond}},
	}
}

func TestRulesArePrintedAsTheyWere(t *testing.T) {
	got := Rules(shipped())
	path := filepath.Join("testdata", "slo.rules.yml")
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" {
		t.Errorf("%s (-want +got); go test -update rewrites it:\n%s", path, diff)
	}
}

// promtool runs Prometheus' own judge of what it is given.
func promtool(t *testing.T, stdin []byte, args ...string) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed, so this was not tried on a Prometheus: apt-get install --no-install-recommends prometheus")
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

func writeFile(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPrometheusTakesTheRules(t *testing.T) {
	for name, given := range map[string][]NamedObjectives{
		"all kinds":       shipped(),
		"none":            nil,
		"no objectives":   {{"hello", Objectives{}}},
		"unwatchable p95": {{"s", Objectives{P95: time.Hour}}},
		"extremes":        {{"s", Objectives{Success: .00001, P95: time.Microsecond, InFlight: 1}}, {"t", Objectives{Success: 1, P95: MaxP95}}},
	} {
		t.Run(name, func(t *testing.T) {
			path := writeFile(t, t.TempDir(), "rules.yml", Rules(given))
			promtool(t, nil, "check", "rules", "--lint=all", "--lint-fatal", path)
		})
	}
}

// burn is a subsystem with objectives, what happens to it for two hours, and
// the alerts that fire by then, as "severity slo".
type burn struct {
	name   string
	given  Objectives
	series []string // as promtool writes them, of %s
	want   []string

	recorded bool // there are ratios
}

// ended are n calls a minute that end with code; fractions are fine.
func ended(code string, n float64) string {
	return fmt.Sprintf(`gaia_calls_total{subsystem="%%s",method="m",code=%q} 0+%vx120`, code, n)
}

// took are 1000 calls a minute, below of which take no longer than le.
func took(le string, below int) []string {
	return []string{
		fmt.Sprintf(`gaia_call_seconds_bucket{subsystem="%%s",method="m",le=%q} 0+%dx120`, le, below),
		`gaia_call_seconds_count{subsystem="%s",method="m"} 0+1000x120`,
	}
}

func burns() []burn {
	threeNines, hundredMillis := Objectives{Success: .999}, Objectives{P95: 100 * time.Millisecond}
	return []burn{
		{"errors_2_percent", threeNines, []string{ended("OK", 980), ended("Unavailable", 20)}, []string{"page success", "ticket success"}, true},
		{"errors_0_001_percent", threeNines, []string{ended("OK", 99999), ended("Unavailable", 1)}, nil, true},
		{"errors_2_percent_of_99", Objectives{Success: .99}, []string{ended("OK", 980), ended("Unknown", 20)}, []string{"ticket success"}, true},
		{"rejected", threeNines, []string{ended("OK", 500), ended("ResourceExhausted", 500)}, []string{"page success", "ticket success"}, true},
		{"callers_mistakes", threeNines, []string{ended("OK", 1), ended("InvalidArgument", 500), ended("NotFound", 500), ended("Canceled", 500), ended("Unknown", 0)}, nil, true},
		{"no_calls", threeNines, []string{ended("OK", 0), ended("Unavailable", 0)}, nil, false},
		{"not_there", threeNines, nil, nil, false},
		{"outage_of_80", Objectives{Success: .8}, []string{ended("OK", 0), ended("Internal", 10)}, []string{"page success", "ticket success"}, true},
		{"errors_70_percent_of_80", Objectives{Success: .8}, []string{ended("OK", 30), ended("Internal", 70)}, []string{"ticket success"}, true},
		{"slow_80_percent", hundredMillis, took("0.1", 200), []string{"page p95", "ticket p95"}, true},
		{"slow_10_percent", hundredMillis, took("0.1", 900), []string{"ticket p95"}, true},
		{"slow_4_percent", hundredMillis, took("0.1", 960), nil, true},
		{"not_called", hundredMillis, []string{`gaia_call_seconds_count{subsystem="%s",method="m"} 0x120`}, nil, false},
		{"between_edges", Objectives{P95: 120 * time.Millisecond}, append(took("0.1", 0), took("0.25", 1000)[0]), nil, true},
		{"whole_edge", Objectives{P95: time.Second}, took("1", 0), []string{"page p95", "ticket p95"}, true},
		{"whole_edge_of_prometheus_3", Objectives{P95: time.Second}, took("1.0", 0), []string{"page p95", "ticket p95"}, true},
		{"crowded", Objectives{InFlight: 450}, []string{`gaia_calls_in_flight{subsystem="%s"} 451x120`}, []string{"ticket in_flight"}, false},
		{"crowded_of_late", Objectives{InFlight: 450}, []string{`gaia_calls_in_flight{subsystem="%s"} 450x112 500x7`}, nil, false},
	}
}

func TestAlertsFireWhenTheBudgetBurnsAndOnlyThen(t *testing.T) {
	var given []NamedObjectives
	var series, firing, recorded strings.Builder
	for _, b := range burns() {
		given = append(given, NamedObjectives{b.name, b.given})
		for _, s := range b.series {
			name, values, _ := strings.Cut(fmt.Sprintf(s, b.name), "} ")
			fmt.Fprintf(&series, "      - series: '%s,instance=\"host:4242\"}'\n        values: '%s'\n", name, values)
		}
		for _, w := range b.want {
			severity, slo, _ := strings.Cut(w, " ")
			fmt.Fprintf(&firing, "          - labels: '{severity=%q,slo=%q,subsystem=%q}'\n            value: 1\n", severity, slo, b.name)
		}
		if b.recorded {
			fmt.Fprintf(&recorded, "          - labels: '{subsystem=%q}'\n            value: %d\n", b.name, len(burnWindows()))
		}
	}
	tests := `rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
` + series.String() + `    promql_expr_test:
      - expr: count by (severity, slo, subsystem) (ALERTS{alertstate="firing",instance="host:4242"})
        eval_time: 2h
        exp_samples:
` + firing.String() + `      - expr: count by (subsystem) ({__name__=~"instance_subsystem:.+"})
        eval_time: 2h
        exp_samples:
` + recorded.String()
	dir := t.TempDir()
	writeFile(t, dir, "rules.yml", Rules(given))
	promtool(t, nil, "test", "rules", writeFile(t, dir, "tests.yml", []byte(tests)))
}

func TestThePageIsWhatPrometheusReads(t *testing.T) {
	promtool(t, []byte(scrape(t, NewMerger(used(t), nil, hclog.NewNullLogger()))), "check", "metrics")
}

func TestAnObjectiveIsWatchedAtTheNextEdge(t *testing.T) {
	for given, want := range map[time.Duration]time.Duration{
		time.Nanosecond:          100 * time.Microsecond,
		100 * time.Millisecond:   100 * time.Millisecond, // of the shipped config
		500 * time.Millisecond:   500 * time.Millisecond,
		500*time.Millisecond + 1: time.Second,
		MaxP95:                   MaxP95,
		MaxP95 + 1:               0,
	} {
		got, ok := edgeFor(given)
		if ok != (want != 0) || ok && got != want {
			t.Errorf("%v: got %v, %t; want %v", given, got, ok, want)
		}
	}
	if !slices.IsSorted(slices.Collect(edges)) {
		t.Error("the edges are not in order")
	}
}

func TestNumbersAreWrittenAsPeopleDo(t *testing.T) {
	for given, want := range map[float64]string{
		1 - .99: "0.01", 1 - .999: "0.001", 1 - .99999: "0.00001", 100 * .999: "99.9", 14.4: "14.4", 3: "3", 0: "0", -1e-17: "0",
	} {
		if got := number(given); got != want {
			t.Errorf("%v: got %s, want %s", given, got, want)
		}
	}
}

// sloTable is the generated part of docs/how-to/scrape-and-alert.md.
func sloTable() string {
	var b strings.Builder
	b.WriteString("`GaiaCallsFail` and `GaiaCallsSlow` fire when the month's budget of bad calls is\nspent faster than evenly:\n\n" +
		"| severity | times as fast | over | and still over | by then gone of the budget |\n| --- | --- | --- | --- | --- |\n")
	for _, r := range burnRates() {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.severity, number(r.factor), promDuration(r.long), promDuration(r.short), percent(r.spent()))
	}
	fmt.Fprintf(&b, "\n`GaiaCallsInFlight`, a %s, fires when for %s there were more calls than `in_flight`.\n\n", severityTicket, crowdedFor)
	fmt.Fprintf(&b, "The budget of `success` is the share of calls that may fail: %s of `\"99%%\"`. Those\n", percent(1-.99))
	fmt.Fprintf(&b, "fail that end with %s.\n", strings.Join(failureNames(), ", "))
	b.WriteString("The callers' own mistakes do not, nor what they cancel; a call that the gate\nrejects because it is too many does.\n\n")
	fmt.Fprintf(&b, "The budget of `p95` is the %s of the unary calls that may take longer. A\n", percent(1-latencyShare))
	b.WriteString("histogram tells exactly only for the edges of its buckets, so the rules take the\nnext one that is not below the objective, and say so:\n")
	var all []string
	for edge := range edges {
		all = append(all, edge.String())
	}
	fmt.Fprintf(&b, "%s.\n", strings.Join(all, ", "))
	b.WriteString("Streams and rejected calls have no part in it.\n")
	return b.String()
}

func TestTheDocsOfTheAlertsAreThoseOfTheRules(t *testing.T) {
	const begin, end = "<!-- slo:begin -->\n", "<!-- slo:end -->"
	path := filepath.Join("..", "..", "..", "docs", "how-to", "scrape-and-alert.md")
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(content), begin)
	old, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q … %q", path, begin, end)
	}
	want := sloTable()
	if *update {
		if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
		old = want
	}
	if diff := cmp.Diff(old, want); diff != "" {
		t.Errorf("%s (-want +got); make generate rewrites it:\n%s", path, diff)
	}
}

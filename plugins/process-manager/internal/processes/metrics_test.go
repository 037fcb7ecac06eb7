package processes

import (
	"fmt"
	"os"
	"strings"
	"testing"

	processv1 "github.com/gaia-go/gaia/proto/gaia/process/v1"
	"google.golang.org/grpc/codes"
)

// gather reads the metrics as "name{label="value"}" → value; of the histogram the
// count.
func (b *bench) gather() map[string]float64 {
	b.t.Helper()
	families, err := b.manager.Metrics().Gather()
	if err != nil {
		b.t.Fatal(err)
	}
	all := map[string]float64{}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			name := family.GetName()
			for _, label := range m.GetLabel() {
				name += fmt.Sprintf("{%s=%q}", label.GetName(), label.GetValue())
			}
			all[name] = m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
		}
	}
	return all
}

func TestEveryStartAndEndIsCountedOnce(t *testing.T) {
	b := open(t, testConfig(t))
	b.start(&processv1.StartRequest{Name: "loop", Spec: shell("echo 12345; exit 1"), Restart: always(.001, 3)})
	b.wait("loop")
	b.start(&processv1.StartRequest{Name: "asked", Spec: shell("sleep 60")})
	b.stop("asked", nil)
	b.start(&processv1.StartRequest{Name: "runs", Spec: shell("sleep 60")})
	_, err := b.Start(b.context(), &processv1.StartRequest{Name: "none", Spec: &processv1.Spec{Command: "missing"}})
	refused(t, err, codes.FailedPrecondition)
	b.run(&processv1.RunRequest{Spec: shell("exit 0")})
	b.run(&processv1.RunRequest{Spec: shell("sleep 60"), Timeout: seconds(.05)})
	got := b.gather()
	for name, want := range map[string]float64{
		`gaia_process_starts_total`:                     5,
		`gaia_process_restarts_total`:                   2,
		`gaia_process_exits_total{cause="exit"}`:        3,
		`gaia_process_exits_total{cause="requested"}`:   1,
		`gaia_process_exits_total{cause="not_started"}`: 1,
		`gaia_process_exits_total{cause="oom"}`:         0,
		`gaia_process_processes{state="RUNNING"}`:       1,
		`gaia_process_processes{state="EXITED"}`:        1,
		`gaia_process_processes{state="FAILED"}`:        2,
		`gaia_process_runs_total{cause="exit"}`:         1,
		`gaia_process_runs_total{cause="timeout"}`:      1,
		`gaia_process_run_seconds`:                      2,
		`gaia_process_runs_in_flight`:                   0,
		`gaia_process_log_bytes`:                        18,
	} {
		if value, ok := got[name]; !ok || value != want {
			t.Errorf("%s: got %v (%v), want %v", name, value, ok, want)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range got {
		name, _, _ = strings.Cut(name, "{")
		if !strings.Contains(string(readme), "`"+name+"`") {
			t.Errorf("README.md does not mention %s", name)
		}
	}
}

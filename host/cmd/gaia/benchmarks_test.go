package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// benchResult is what `gaia bench --json` prints.
type benchResult struct {
	Name   string `json:"name"`
	Tables []struct {
		Title   string `json:"title"`
		Columns []struct {
			Name string `json:"name"`
			Head string `json:"head"`
		} `json:"columns"`
		Rows []struct {
			What    string               `json:"what"`
			Figures map[string]float64   `json:"figures"`
			Rounds  []map[string]float64 `json:"rounds"`
		} `json:"rows"`
	} `json:"tables"`
	Counted *struct {
		Calls  uint64 `json:"calls"`
		Metric uint64 `json:"gaia_calls_total"`
	} `json:"counted"`
}

// benchCommand is `gaia bench ARGS` in a directory with nothing but binaries
// and a config. Its temporary files are in the directory tmp.
func benchCommand(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	dir := newHouse(t)
	if err := os.WriteFile(filepath.Join(dir, "config.hcl"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	temp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "bin/gaia"), append([]string{"bench"}, args...)...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	return cmd
}

// runBench runs a benchmark of a few short rounds.
func runBench(t *testing.T, args ...string) benchResult {
	t.Helper()
	cmd := benchCommand(t, append(args, "--json")...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		t.Fatalf("gaia bench %s: %v\n%s", args, err, &stderr)
	}
	var r benchResult
	if err := json.Unmarshal(stdout, &r); err != nil {
		t.Fatalf("%v in %s", err, stdout)
	}
	if r.Name != args[0] {
		t.Errorf("got a result of %q, want %q", r.Name, args[0])
	}
	wantNothingLeft(t, cmd)
	return r
}

// wantNothingLeft looks for directories and processes of a benchmark that has
// ended.
func wantNothingLeft(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	left, err := os.ReadDir(filepath.Join(cmd.Dir, "tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left in the temporary directory: %v, %v", left, err)
	}
	executables, err := filepath.Glob("/proc/*/exe") // none where there is no /proc
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range executables {
		if path, err := os.Readlink(link); err == nil && strings.HasPrefix(path, cmd.Dir) {
			t.Errorf("%s still runs: %s", path, link)
		}
	}
}

func TestBenchDispatchCountsWhatTheHostCounts(t *testing.T) {
	r := runBench(t, "dispatch", "--callers", "3", "--size", "100", "-n", "2", "--round", "20ms")
	if r.Counted == nil || r.Counted.Calls == 0 || r.Counted.Calls != r.Counted.Metric {
		t.Errorf("counted: got %+v, want two equal numbers", r.Counted)
	}
	if len(r.Tables) != 1 || len(r.Tables[0].Rows) < 2 {
		t.Fatalf("got %+v, want one table with a row for each contestant", r.Tables)
	}
	for i, row := range r.Tables[0].Rows {
		if len(row.Rounds) != 2 {
			t.Errorf("%s: got %d rounds, want 2", row.What, len(row.Rounds))
		}
		for _, column := range r.Tables[0].Columns {
			figure, known := row.Figures[column.Name]
			switch {
			case column.Name == "callers" && figure != 3:
				t.Errorf("%s: got %v callers, want 3", row.What, figure)
			case column.Name == "host_allocs" && i == 0, // it has no host
				column.Name == "cpu_us" && runtime.GOOS != "linux":
				if known {
					t.Errorf("%s: got %s %v, want none", row.What, column.Name, figure)
				}
			case column.Name == "host_allocs" && row.What == "gaia, link":
				if !known || figure < 0 { // it has none, but for what the runtime does meanwhile
					t.Errorf("%s: got %v allocations of the host a call", row.What, figure)
				}
			case figure <= 0 || column.Head == "":
				t.Errorf("%s: got %s %v under %q, want a figure and a heading", row.What, column.Name, figure, column.Head)
			}
		}
	}
	if first := r.Tables[0].Rows[0]; first.What != "plain go-plugin" || first.Figures["ratio"] != 1 {
		t.Errorf("got %+v first, want the baseline", first)
	}
}

func TestBenchGateHasAPeerInEachTable(t *testing.T) {
	r := runBench(t, "gate", "-n", "1", "--round", "5ms")
	if len(r.Tables) != 3 {
		t.Fatalf("got %d tables, want one for each number of keys", len(r.Tables))
	}
	for _, table := range r.Tables {
		if len(table.Rows) < 2 {
			t.Errorf("%s: got %+v, want a peer and us", table.Title, table.Rows)
		}
		for _, row := range table.Rows {
			if row.Figures["call_ns"] <= 0 || row.Figures["ratio"] <= 0 {
				t.Errorf("%s, %s: got %v", table.Title, row.What, row.Figures)
			}
		}
	}
}

func TestBenchRestartHasARowForEachWay(t *testing.T) {
	r := runBench(t, "restart", "-n", "2")
	if len(r.Tables) != 1 || len(r.Tables[0].Rows) != 3 {
		t.Fatalf("got %+v, want one table with three rows", r.Tables)
	}
	for _, row := range r.Tables[0].Rows {
		if row.Figures["rounds"] != 2 || row.Figures["p50_ms"] <= 0 || row.Figures["max_ms"] < row.Figures["p50_ms"] {
			t.Errorf("%s: got %v", row.What, row.Figures)
		}
	}
}

func TestAnInterruptedBenchmarkLeavesNothing(t *testing.T) {
	cmd := benchCommand(t, "dispatch", "--callers", "1", "--round", "1m")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stderr := &buffer{}
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(stderr.String(), "dispatch:") {
		select {
		case <-tick.C:
		case err := <-ended:
			t.Fatalf("it ended with %v\n%s", err, stderr)
		}
	}
	// To all in the group, as a terminal does.
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if code := cmd.ProcessState.ExitCode(); code != 130 {
			t.Errorf("got %v, want exit code 130\n%s", err, stderr)
		}
	case <-time.After(patience):
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		t.Fatalf("it still ran %v after SIGINT\n%s", patience, stderr)
	}
	wantNothingLeft(t, cmd)
}

func TestBenchmarksOfSubsystemsMeasureAllThatTheyName(t *testing.T) {
	mayBeZero := map[string]bool{"host_allocs": true, "cpu_seconds_per_gb": true, "kb_per_child": true,
		"lost": true, "upstream": true, "kb_per_tunnel": true, "failed": true, "kills": true}
	all := map[string][]string{
		"files":     {"64 callers read files", "as a stream", "500 callers at once"},
		"processes": {"200 children", "kill -9 of a child", "a child writes", "run `true`"},
		"http":      {"callers GET", "one after the other"},
		"proxy":     {"1 tunnels download", "16 tunnels download", "open tunnels", "2000 idle tunnels"},
		"dns":       {"1000 names in the cache"},
	}
	if _, err := os.Stat(headlessShell); err == nil {
		all["browser"] = []string{"4 callers open a page", "8 callers open a page", "kill -9 of a browser", "100 isolated tabs", "to the first picture"}
	}
	for name, titles := range all {
		r := runBench(t, name, "-n", "1", "--round", "20ms")
		if len(r.Tables) != len(titles) {
			t.Fatalf("%s: got %d tables, want %d", name, len(r.Tables), len(titles))
		}
		for i, table := range r.Tables {
			if !strings.Contains(table.Title, titles[i]) || len(table.Rows) == 0 {
				t.Errorf("%s: got table %q with %d rows, want %q with some", name, table.Title, len(table.Rows), titles[i])
			}
			for _, row := range table.Rows {
				for figure, value := range row.Figures {
					if value <= 0 && !mayBeZero[figure] {
						t.Errorf("%s: %s: %s: got %s %v", name, table.Title, row.What, figure, value)
					}
				}
			}
		}
	}
}
